"""Supervisor: forks the workers, keeps their number, and ends them.

It is one thread. Its reactor brings it the time, the signals and the messages of the workers; it
forks between two turns, never in a callback. A worker whose supervisor is gone drains and ends.
group.py draws the life of a worker and of a slot; README.md says what a crash or a signal does.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterable, Sequence
from functools import partial

from ..errors import TremoloError
from ..loop import ListenError, Reactor
from ..loop.signals import is_ignored
from ..loop.timers import NEVER
from ..settings import Address, Settings
from ..systemd.manager import Manager
from ..typed import Callable
from .announcer import Announcer
from .channel import (
    CONNECTION,
    HAND_OVER,
    LEAVING,
    LISTENER,
    NAMED,
    READY,
    RENEW,
    SECURE,
    TAKES_NAMED,
    TAKES_OVER,
    Channel,
)
from .delay import DrainDelay
from .dismissal import GRACE, SOON, Dismissal
from .fork import SIGNALS, children, ended, fork_worker
from .group import ENDING, OUTDATED, SERVING, STARTING, WANTED, Group, SlotState, Worker
from .program import Beside, Program
from .renewal import why_renewed
from .slot import Slot
from .standing_in import StandingIn
from .terminal import MOMENT, Terminal
from .watch import Watch

_log = logging.getLogger('tremolo')

_SETTLED = 10.0    # A worker that has lived for so many seconds did not crash at its start.
_TOLD_ANEW = 60.0    # Seconds until the log says again that no worker can be forked.


class Supervisor:
    """Runs workers until a signal ends it.

        status = Supervisor(settings, addresses, Program(work)).run()

    The `manager` is told how we are; what is `beside` the workers runs on our reactor. Raises
    `ListenError` if the system refuses an address or the first fork.
    """

    def __init__(self, settings: Settings, addresses: Iterable[Address],
                 program: Program, manager: Manager | None = None,
                 beside: Sequence[Beside] = ()) -> None:
        self._settings = settings
        self._manager = manager or Manager({})    # The service manager: it is told how we are.
        self._addresses = addresses
        self._program = program
        self._beside = beside
        self._not_ours = children()    # What the program has started itself, and waits for.
        self._afresh = False    # Whether new workers start the program: after SIGHUP.
        self._reactor = Reactor(debug=settings.debug)
        self._group = Group(settings)
        self._announcer = Announcer(self._reactor, self._group, self._manager)
        self._delay = DrainDelay(self._reactor, self._group, self._manager, settings)
        self._standing_in = StandingIn(self._reactor, self._group, program.stand_in)
        self._dismissal = Dismissal(self._reactor, self._group, settings.shutdown_timeout,
                                    SOON if settings.reload else GRACE)
        self._announced = False    # Whether a worker has been ready, and the address is printed.
        self._tell_refusal = 0.0    # When the log may say (again) that a fork was refused.
        self._ending = False
        self._status = 0    # The exit status.

    def run(self) -> int:
        """Run until all workers have ended; return the exit status."""
        reactor = self._reactor
        with reactor:
            settings = self._settings
            self._group.open(self._addresses, settings.workers or 1, self._manager.given)
            for name in SIGNALS:
                signum = getattr(signal, name)
                # (`nohup` lets SIGHUP be ignored, and means it.)
                if signum != signal.SIGHUP or not is_ignored(signum):
                    reactor.add_signal(signum, partial(self._signalled, signum))
            self._terminal = Terminal(reactor)
            if settings.worker_timeout:
                Watch(reactor, self._group, settings.worker_timeout, self._dismissal.kill)
            try:
                for each in self._beside:
                    each.begin(reactor, self._group)
                while not (self._ending and not self._group.workers):
                    self._fork_wanted()
                    self._announcer.look()
                    reactor.step()
            finally:
                self._group.stop_listening()
                for each in self._beside:
                    each.close()
        return self._status

    # -- forking --------------------------------------------------------------------------------

    def _fork_wanted(self) -> None:
        for slot in self._group.slots:
            # The first worker starts alone: an error that all workers would meet is reported once.
            alone = not self._announced and self._group.workers
            if slot.state is WANTED and not alone and not self._ending and not self._fork(slot):
                break
            if slot.lacks and not self._ending:
                slot.stands_in(self._forked(slot, self._standing_in.work))

    def _fork(self, slot: SlotState) -> bool:
        """Fork a worker that runs the program; return whether the system did not refuse it."""
        self._standing_in.begins()
        if (worker := self._forked(slot, self._be_worker)) is None:
            return False
        slot.fill(worker)
        self._standing_in.expect(worker)
        self._group.lend_unserved(slot)
        return True

    def _forked(self, slot: SlotState, work: Callable[[Slot], int]) -> Worker | None:
        """Fork a worker; return it, or None if the system refused that."""
        others = self._group.other_slots(slot)
        channels = [worker.channel for worker in self._group.workers.values()]
        try:
            pid, channel_end = fork_worker(
                slot.slot, work, (
                    # (The reactor first: its poller is shared with this process until it is closed,
                    # and what is closed after it takes nothing from that.)
                    self._reactor, *self._beside, self._manager, *channels, *others))
        except OSError as error:
            problem = f'cannot fork a worker: {error.strerror}'
            if not self._announced:
                raise ListenError(problem) from error
            self._fork_refused(problem)
            return None
        worker = Worker(pid, slot.slot, self._reactor.time())
        worker.channel = Channel(
            self._reactor, channel_end, partial(self._heard, worker), lambda: None)
        self._group.workers[pid] = worker
        return worker

    def _fork_refused(self, problem: str) -> None:
        """Pause all slots that want a worker: the next fork would be refused, too."""
        wanted = [slot for slot in self._group.slots if slot.state is WANTED]
        if self._reactor.time() >= self._tell_refusal:
            self._tell_refusal = self._reactor.time() + _TOLD_ANEW
            _log.error('%s (%d of %d workers run)', problem, len(self._group.workers),
                       len(self._group.slots))
        for slot in wanted:
            slot.pause(self._reactor)
        self._group.lend()

    def _be_worker(self, slot: Slot) -> int:
        """Work, in the child; return the exit status."""
        program = self._program
        afresh = self._afresh if program.moved is None else program.moved()
        if afresh and program.command is not None:
            try:
                slot.start_afresh(program.command)
            except OSError as error:
                _log.error('the program cannot be started afresh: %s', error)
                return 1
        return program.work(slot)

    # -- what happens to workers ----------------------------------------------------------------

    def _heard(self, worker: Worker, kind: bytes, sock: socket.socket | None,
               carried: bytes = b'') -> None:
        """Act on a message of a worker."""
        worker.heard(self._reactor.time())
        if kind == READY:
            self._ready(worker)
        elif kind == RENEW:
            slot = self._group.slot_of(worker)
            if slot is not None and worker.state is not ENDING:
                slot.want(why_renewed(self._settings, worker.pid))
        elif kind == LEAVING:
            self._leaves(worker)
        elif kind in (TAKES_NAMED, TAKES_OVER):
            worker.knows(kind)
        elif kind == HAND_OVER and worker.state is ENDING:
            worker.hand_over(self._group.heir(worker.slot, [worker]))
        elif kind in (CONNECTION, NAMED) and sock is not None:
            self._group.pass_on(worker, kind, sock, carried)
        elif kind in (LISTENER, SECURE) and sock is not None:
            worker.listens(sock, kind == SECURE)
        elif kind in (CONNECTION, NAMED):
            _log.error('a connection is lost: no descriptor is left for it')

    def _ready(self, worker: Worker) -> None:
        """Let a new worker take the place of its predecessor."""
        if worker.state is not STARTING or worker.pid not in self._group.workers:
            # It was told to end, and drains; or it has ended already. So it takes no place.
            self._dismissal.stop_again(worker)
            outdated = self._group.slot_of(worker)
            if outdated is not None and outdated.state is OUTDATED:
                outdated.fall_back(worker.predecessor)
            return
        worker.state = SERVING
        self._delay.tell(worker)
        if not self._announced:
            self._announced = True
            self._announcer.ready(worker)
        slot = self._group.slot_of(worker)
        if slot is not None:
            slot.ready()
        for each in self._standing_in.ready(worker, slot):
            self._dismissal.dismiss(each)
        predecessor, worker.predecessor = worker.predecessor, None
        if predecessor is not None:
            self._dismissal.dismiss(predecessor)
        self._group.lend()

    # -- how a worker ends: all of them by one of these -------------------------------------------

    def _leaves(self, worker: Worker) -> None:
        """Replace a worker that drains by itself: another program told it to, or `app.stop`."""
        if worker.state is ENDING or self._ending:
            return
        slot = self._group.slot_of(worker) or self._group.slot_after(worker)
        worker.state = ENDING
        self._dismissal.kill_late(worker, self._settings.shutdown_timeout)
        if slot is not None and slot.worker is worker and not self._delay.begun:
            slot.want('stopped')
        elif slot is not None:
            slot.lent = True
        self._group.lend()

    def _reap(self) -> None:
        """Take the exit status of each process that has ended."""
        for pid, code in ended(self._not_ours):
            worker = self._group.workers.pop(pid, None)
            if worker is not None:
                self._ended(worker, code)

    def _ended(self, worker: Worker, code: int) -> None:
        worker.channel.finish()
        self._standing_in.cut(code)
        slot = self._group.slot_of(worker)
        told, begun, worker.state = worker.state is ENDING, worker.state is not STARTING, ENDING
        if not (told or begun or self._ending or slot is None) \
                and self._standing_in.failed(slot, worker, code, not self._announced):
            return
        if not told:
            self._announcer.ended(worker, code, self._afresh and not (code or begun))
        if self._ending:
            return
        if slot is None:
            self._standing_in.ended(worker)
            # Its successor may be long in starting: until then its clients get another worker.
            self._group.lend_unserved(self._group.slot_after(worker))
            return
        slot.worker = None
        predecessor = worker.predecessor
        if predecessor is not None and predecessor.state is SERVING:
            slot.fall_back(predecessor)
            if not told:
                _log.error('worker %d goes on in its place', predecessor.pid)
        elif slot.state is OUTDATED:
            slot.want()
        elif not self._announced:
            # No worker has ever been ready: the next one would fail, too. (A status of 0 is no
            # success: nothing was served.)
            self._end(128 - code if code < 0 else code or 1)
        elif told or self._reactor.time() - worker.began > _SETTLED:
            slot.forget_crashes()
            slot.want()
        else:
            slot.pause(self._reactor)
        self._group.lend_unserved(slot)

    # -- signals --------------------------------------------------------------------------------

    def _signalled(self, signum: int) -> None:
        if signum == signal.SIGCHLD:
            self._reap()
        elif signum == signal.SIGUSR2:
            for worker in self._group.workers.values():
                # (Before READY a worker may not be able to report yet.)
                if worker.beat < NEVER:
                    os.kill(worker.pid, signum)
        elif signum == signal.SIGQUIT or (
                signum == signal.SIGINT and (self._ending or self._delay.begun)):
            self._force(signum)
        elif signum == signal.SIGHUP:
            self._reactor.call_later(MOMENT if self._terminal.recent else 0, self._hang_up)
        elif signum in (signal.SIGTERM, signal.SIGINT):
            if (signum == signal.SIGTERM and self._announced and not self._ending
                    and self._delay.begin(self._end)):
                return
            self._end(0, '; a second Ctrl-C ends them at once' if signum == signal.SIGINT else '')
        elif not self._ending:
            if signum == signal.SIGTTIN:
                self._group.add()
            else:
                leaving = self._group.remove()
                # The heir needs the listeners before it gets the first connection.
                self._group.lend(leaving)
                for worker in leaving:
                    self._dismissal.dismiss(worker)

    def _end(self, status: int, more: str = '') -> None:
        """Let all workers finish what is in flight, and end."""
        if self._ending:
            return
        self._ending = True
        self._manager.stopping()
        self._status = status
        if not status:
            _log.info('stopping: the workers finish what is in flight, for at most %g s%s',
                      self._settings.shutdown_timeout, more)
        # A client that connects from now on is refused; in an open queue it would wait in vain. And
        # what came after a worker's last `accept` would be reset with our copy of its socket.
        self._group.stop_listening()
        self._dismissal.stop_all()

    def _force(self, signum: int) -> None:
        """End all workers at once."""
        self._ending = True
        self._manager.stopping()
        self._status = 128 + signum
        self._dismissal.stop_all(at_once=True)

    def _hang_up(self) -> None:
        """Do what SIGHUP means."""
        if self._terminal.hung_up():
            self._end(0, '; the terminal is gone')
        else:
            self.renew()

    def renew(self) -> None:
        """Fork a new worker for each slot; the old worker ends when the new one is ready."""
        if self._ending or self._delay.begun:
            return
        if self._announced:
            self._announcer.reloading()
        try:
            program = self._program
            if program.where is not None:
                _log.info('new workers start in %s', program.where())
            if program.command is None or (program.moved is not None and not program.moved()):
                program.renew()
        except TremoloError as error:
            # (The service manager is told so after this turn.)
            _log.error('no renewal, the old workers go on: %s', error)
            return
        self._afresh = True
        for slot in self._group.slots:
            worker = slot.worker
            if slot.state is OUTDATED:
                continue    # (Its worker was told to end; another one follows, with newer code.)
            if worker is not None and worker.state is STARTING:
                slot.outdate()
                self._dismissal.dismiss(worker)
            else:
                # (Also in a pause: the code may be good now.)
                slot.forget_crashes()
                slot.want('reload')

"""Supervisor: forks the workers, keeps their number, and ends them.

It is one thread, with a reactor for its clock, its signals and the lines to the workers; it forks
between two turns, and never in a callback. A worker that loses it drains and leaves. README.md
tells what it does about crashes and signals.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from functools import partial
from typing import Any, Callable

from ..loop import ListenError, Reactor
from ..loop.timers import NEVER, Timer
from ..server import announce
from ..settings import Address, Settings
from .channel import CONNECTION, HAND_OVER, LISTENER, READY, RENEW, Channel, copy_of
from .lock import open_locks
from .slot import Slot, leave_to_supervisor, open_first, open_next

_log = logging.getLogger('tremolo')

# Seconds until a crashed worker's slot is filled again: the first, and the most.
_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
_SETTLED = 10.0    # One that has lived so long did not crash at its start.
# What is left when it should have ended by itself is killed after so many seconds more.
_GRACE = 5.0
_LAST_WORDS = 0.5    # Seconds for the report of one that hangs.
_HOPELESS = (1, 2, 3, 4)    # Statuses of a worker that will not do better next time.
_SIGNALS = (
    'SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR2', 'SIGCHLD')


class _Worker:
    """A process, as the supervisor sees it."""

    channel: Channel

    def __init__(self, pid: int, slot: Slot, began: float) -> None:
        self.pid = pid
        self.slot = slot
        self.began = began
        self.ready = False
        self.beat = began    # When its last sign of life came, once it is ready.
        self.ending = False    # Whether it was told to end.
        # The one that it takes the place of, when it is ready.
        self.before: _Worker | None = None

    def tell(self, signum: int) -> None:
        self.ending = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def hand_over(self) -> None:
        """Let it give its connections to others, and end."""
        self.ending = True
        self.channel.send(HAND_OVER)


class _Place:
    """A slot, its worker, and when the next may come."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.worker: _Worker | None = None
        self.wanted = True    # Whether another is to be forked now.
        self.pause = _PAUSE    # The pause after a crash, and what ends it.
        self.timer: Timer | None = None
        self.lent = False    # Whether others have its sockets while it has no worker; who has.
        self.heir: _Worker | None = None
        # Whether its worker is to be renewed as soon as it is ready, or fails to be.
        self.outdated = False


class Supervisor:
    """Runs workers until a signal ends it.

        status = Supervisor(settings, addresses, work).run()

    `work(slot)` is called in each worker, and gives its exit status; after SIGHUP they start the
    program afresh instead, if there is one. Raises `ListenError` for what the system refuses at
    the start: an address, or the first fork.
    """

    def __init__(self, settings: Settings, addresses: Iterable[Address],
                 work: Callable[[Slot], int], program: list[str] | None = None) -> None:
        self._settings = settings
        self._addresses = addresses
        self._work = work
        self._program = program
        self._afresh = False
        self._reactor = Reactor(debug=settings.debug)
        self._places: list[_Place] = []
        self._workers: dict[int, _Worker] = {}
        self._spare: list[_Place] = []    # Not wanted now: who is in their queues is not lost.
        self._looked = NEVER    # When all were looked at.
        self._announced = False
        # Whether it ends; the signal that forced that; the status that all ends with.
        self._ending = False
        self._forced = self._status = 0

    def run(self) -> int:
        """Run until all is over; return the exit status."""
        reactor = self._reactor
        with reactor:
            settings = self._settings
            first = open_first(self._addresses, settings.backlog, settings.shared_socket)
            self._places = [_Place(Slot(first, open_locks()))]
            for _ in range(1, settings.workers or 1):
                self._add()
            for name in _SIGNALS:
                signum = getattr(signal, name)
                reactor.add_signal(signum, partial(self._signalled, signum))
            if settings.worker_timeout:
                self._look_after()
            try:
                while not (self._ending and not self._workers):
                    self._fork_wanted()
                    reactor.step()
            finally:
                self._stop_listening()
        return 128 + self._forced if self._forced else self._status

    # -- forking --------------------------------------------------------------------------------

    def _fork_wanted(self) -> None:
        for place in self._places:
            # The first goes ahead alone: what is wrong with all is said once.
            if place.wanted and not self._ending and (self._announced or not self._workers):
                place.wanted = place.outdated = place.lent = False
                self._fork(place)

    def _fork(self, place: _Place) -> None:
        _flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pair: tuple[socket.socket, ...] = ()
        try:
            try:
                ours, theirs = pair = socket.socketpair()
                pid = os.fork()
            except OSError as error:
                for each in pair:
                    each.close()
                problem = f'cannot fork a worker: {error.strerror}'
                if not self._announced:
                    raise ListenError(problem) from error
                _log.error(problem)
                self._wait_and_fork(place)
                return
            if not pid:
                self._be_worker(place.slot, theirs, ours, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        worker = _Worker(pid, place.slot, self._reactor.time())
        worker.channel = Channel(self._reactor, ours, partial(self._heard, worker), lambda: None)
        worker.before, place.worker = place.worker, worker
        self._workers[pid] = worker

    def _be_worker(self, slot: Slot, line: socket.socket, other: socket.socket, mask: Any) -> None:
        """Be a worker, and never return. Nothing of the supervisor's goes on here."""
        status = 1
        inherited = _processes()
        try:
            self._forget(slot, other)
            for name in _SIGNALS:
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            leave_to_supervisor()
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            slot.channel_end = line
            if self._afresh and self._program is not None:
                slot.start_afresh(self._program)
            status = self._work(slot)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
            if status and status is not error.code:
                print(error.code, file=sys.stderr)
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        except BaseException:
            traceback.print_exc()
        finally:
            # Nothing else would end these.
            for process in _processes() - inherited:
                with contextlib.suppress(Exception):
                    process.terminate()
                    process.join(_GRACE)
                    process.kill()
            _flush()
            os._exit(status)

    def _forget(self, slot: Slot, other: socket.socket) -> None:
        """Close what the supervisor had open: its poller, its lines, the sockets of other slots."""
        other.close()
        self._reactor.close()
        for worker in self._workers.values():
            worker.channel.close()
        for place in (*self._places, *self._spare):
            if place.slot is not slot:
                place.slot.close()

    # -- what happens to workers ----------------------------------------------------------------

    def _heard(self, worker: _Worker, kind: bytes, sock: socket.socket | None) -> None:
        """A worker is ready, or leaves a connection to the next one."""
        worker.beat = self._reactor.time()
        place = next((each for each in self._places if each.worker is worker), None)
        if kind == READY:
            worker.ready = True
            if not self._announced:
                self._announced = True
                announce(sock.getsockname() for sock in worker.slot)
            before, worker.before = worker.before, None
            if before is not None and before.pid in self._workers:
                before.hand_over()
            self._lend()
        if kind == RENEW or (kind == READY and place is not None and place.outdated):
            if place is not None and not worker.ending:
                place.wanted = True
        elif kind == CONNECTION and sock is not None:
            heir = self._heir(worker.slot)
            if heir is not None:
                heir.channel.send(CONNECTION, sock)
            else:
                sock.close()
        elif kind == CONNECTION:
            _log.error('a connection is lost: no descriptor is left for it')

    def _heir(self, slot: Slot) -> _Worker | None:
        """Return the worker that takes over what another of this slot leaves, if there is one."""
        heirs = [each for each in self._workers.values() if each.ready and not each.ending]
        return next((each for each in heirs if each.slot is slot), heirs[0] if heirs else None)

    def _reap(self) -> None:
        """Take note of all that have ended, and of nobody twice."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        worker.channel.finish()
        place = next((each for each in self._places if each.slot is worker.slot), None)
        if not worker.ending:
            how = f'was ended by signal {-code}' if code < 0 else f'ended with status {code}'
            _log.error('worker %d %s', worker.pid, how)
        if self._ending:
            return
        self._lend()
        if place is None or place.worker is not worker:
            return
        place.worker = None
        if worker.before is not None and worker.before.pid in self._workers:
            # The new one did not come up: the old one stays.
            place.worker = worker.before
            place.wanted = place.outdated
            _log.error('worker %d goes on in its place', place.worker.pid)
        elif not self._announced and code in _HOPELESS:
            self._end(code)
        elif worker.ending or self._reactor.time() - worker.began > _SETTLED:
            place.pause = _PAUSE
            place.wanted = True
        else:
            self._wait_and_fork(place)

    def _wait_and_fork(self, place: _Place) -> None:
        """Fill a slot again after a pause; if it is long, another worker has its sockets too."""
        def now() -> None:
            place.wanted = True

        place.wanted = False
        place.timer = self._reactor.call_later(place.pause, now)
        place.lent = place.pause > _PAUSE
        place.pause = min(2 * place.pause, _LONGEST_PAUSE)
        self._lend()

    def _lend(self) -> None:
        """Let other workers accept on the sockets of the slots that have none."""
        for place in (*self._places, *self._spare):
            heir = place.heir
            if place.lent and (heir is None or heir.ending or heir.pid not in self._workers):
                place.heir = heir = self._heir(place.slot)
                for sock in place.slot if heir is not None else ():
                    # (What all share each has already.)
                    if heir and sock.family != socket.AF_UNIX and not self._settings.shared_socket:
                        with contextlib.suppress(OSError):
                            heir.channel.send(LISTENER, copy_of(sock))

    def _look_after(self) -> None:
        """Replace workers whose loop does not turn; first they say where they hang."""
        now, timeout = self._reactor.time(), self._settings.worker_timeout
        if now - self._looked > timeout / 2:
            # All of us stood still: what they said meanwhile is heard next.
            for worker in self._workers.values():
                worker.beat = now
        self._looked, late = now, now - timeout
        for worker in list(self._workers.values()):
            if worker.ready and worker.beat < late:
                _log.error('worker %d does not answer (worker_timeout), and is killed when it has '
                           'said where it hangs', worker.pid)
                worker.ready = False
                os.kill(worker.pid, signal.SIGUSR2)
                self._reactor.call_later(_LAST_WORDS, self._kill, [worker])
        self._reactor.call_later(min(self._settings.worker_timeout / 4, 1.0), self._look_after)

    # -- signals --------------------------------------------------------------------------------

    def _signalled(self, signum: int) -> None:
        if signum == signal.SIGCHLD:
            self._reap()
        elif signum == signal.SIGUSR2:
            for worker in filter(lambda each: each.ready, self._workers.values()):
                os.kill(worker.pid, signum)
        elif signum == signal.SIGQUIT or (signum == signal.SIGINT and self._ending):
            self._force(signum)
        elif signum in (signal.SIGTERM, signal.SIGINT):
            self._end(0)
        elif not self._ending:
            if signum == signal.SIGHUP:
                self._renew()
            elif signum == signal.SIGTTIN:
                self._add()
            else:
                self._remove()

    def _end(self, status: int) -> None:
        """Let all finish what is in flight, and end."""
        if self._ending:
            return
        self._ending = True
        self._status = status
        if not status:
            _log.info('stopping: the workers finish what is in flight')
        for worker in self._workers.values():
            worker.tell(signal.SIGTERM)
        # Who comes now is refused, and does not wait in a queue that nobody sees to any more.
        self._stop_listening()
        self._reactor.call_later(self._settings.shutdown_timeout + _GRACE, self._kill)

    def _stop_listening(self) -> None:
        for place in (*self._places, *self._spare):
            place.slot.discard()

    def _force(self, signum: int) -> None:
        """End all at once."""
        self._ending = True
        self._forced = signum
        for worker in self._workers.values():
            worker.tell(signal.SIGQUIT)
        self._reactor.call_later(_GRACE, self._kill)

    def _kill(self, workers: Iterable[_Worker] | None = None) -> None:
        """Kill these, or all, if they are there yet."""
        for worker in self._workers.values() if workers is None else workers:
            if worker.pid in self._workers:
                _log.error('worker %d did not end, and is killed', worker.pid)
                worker.tell(signal.SIGKILL)

    def _renew(self) -> None:
        """Give each slot a new worker; the old ones end when those are ready."""
        self._afresh = True
        for place in self._places:
            if place.worker is not None:
                place.wanted = place.worker.ready
                # One that is not ready may have read the code of before: it is next.
                place.outdated = not place.worker.ready

    def _add(self) -> None:
        if self._spare:
            self._places.append(self._spare.pop())
            self._places[-1].wanted = True
            return
        try:
            first = self._places[0].slot
            sockets = open_next(
                first.sockets, self._settings.backlog, self._settings.shared_socket)
        except OSError as error:
            _log.error('no socket for another worker: %s', error.strerror)
        else:
            self._places.append(_Place(Slot(sockets, first.locks)))

    def _remove(self) -> None:
        """Let one worker go; who waits in its queue is taken by another."""
        if len(self._places) < 2:
            return
        place = self._places.pop()
        self._spare.append(place)
        if place.timer is not None:
            place.timer.cancel()
        worker, place.worker = place.worker, None
        both = [each for each in (worker, worker and worker.before) if each is not None]
        for each in both:
            each.ending = True
        place.lent = True
        self._lend()
        for each in both:
            each.hand_over()


def _flush() -> None:
    """Write what is buffered: it would be written by both sides of a fork."""
    for stream in (sys.stdout, sys.stderr):
        # (There may be none, nobody who reads, or no room.)
        with contextlib.suppress(Exception):
            stream.flush()


def _processes() -> set[Any]:
    """Return what runs of multiprocessing's."""
    module = sys.modules.get('multiprocessing')
    return set(module.active_children()) if module is not None else set()

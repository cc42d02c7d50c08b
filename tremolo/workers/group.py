"""Group: the slots and the workers of one supervisor, each with its state.

    a worker:  STARTING --READY--> SERVING --the supervisor tells it to end--> ENDING
               STARTING --the supervisor tells it to end--> ENDING
               SERVING --no sign of life in worker_timeout--> HUNG --killed--> ENDING

    a slot:    WANTED --forked--> FILLED --RENEW, SIGHUP, or its worker was killed--> WANTED
               FILLED --SIGHUP before READY--> OUTDATED --its worker has ended--> WANTED
               FILLED --crash, or no fork--> PAUSED --timer--> WANTED
               any    --SIGTTOU--> SPARE --SIGTTIN--> WANTED

Beside its state a slot is *lent* while no worker of its own accepts from its queues: after a crash,
as a spare one, and while its first worker starts. Another worker accepts then, until the worker of
the slot is ready.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterable

from ..loop import Reactor
from ..loop.timers import NEVER, Timer
from ..settings import Address, Settings
from ..typed import Any
from .channel import (
    HAND_OVER,
    LISTENER,
    NAMED,
    RETURN,
    STOP,
    TAKE_OVER,
    TAKES_NAMED,
    Channel,
    copy_of,
)
from .lock import open_locks
from .slot import Slot, Sockets, open_first, open_next

_log = logging.getLogger('tremolo')

STARTING = 'starting'    # Forked; it has not sent READY yet.
SERVING = 'serving'      # It accepts connections.
HUNG = 'hung'            # It is silent; it writes where it hangs, and is killed.
ENDING = 'ending'        # It was told to end, or drains by itself.

WANTED = 'wanted'        # A worker is forked after this turn.
FILLED = 'filled'        # It has a worker that starts or serves.
OUTDATED = 'outdated'    # Its worker was still starting, perhaps with old code; it is ended.
PAUSED = 'paused'        # A pause after a crash.
SPARE = 'spare'          # No worker is wanted.

# Seconds until a slot is filled again: after a first crash, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0


class Worker:
    """A process, as the supervisor sees it."""

    channel: Channel

    def __init__(self, pid: int, slot: Slot, began: float) -> None:
        self.pid = pid
        self.slot = slot
        self.began = began
        self.state = STARTING
        self.opened: list[Any] = []    # The addresses that it has opened itself (`app.listen`).
        self.secure: list[Any] = []    # The addresses where it speaks TLS.
        self.takes_named = False    # Whether it takes connections with the addresses of PROXY.
        self.takes_over = False    # Whether it takes connections from another worker's own line.
        # The worker that this one replaces, until this one is ready.
        self.predecessor: Worker | None = None
        # The time of the last sign of life; NEVER while none is expected: before READY, and after
        # the worker was found to hang.
        self.beat = NEVER

    def heard(self, now: float) -> None:
        """Record a sign of life."""
        if self.state is not HUNG:
            self.beat = now

    def hang(self) -> None:
        """Record that the worker is silent."""
        self.beat = NEVER
        if self.state is SERVING:
            self.state = HUNG

    def end(self, signum: int) -> None:
        """Send a signal that ends the process."""
        self.state = ENDING
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def leave(self) -> None:
        """Tell it that the server stops when `drain_delay` is over; until then it serves."""
        if self.state is SERVING:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Let it end gracefully, and at once: without a delay."""
        self.channel.send(STOP)
        self.end(signal.SIGTERM)

    def listens(self, sock: socket.socket, secure: bool) -> None:
        """Note where the worker listens by itself, or with TLS; close the socket that shows it."""
        (self.secure if secure else self.opened).append(sock.getsockname())
        sock.close()

    def hand_over(self, heir: Worker | None = None) -> None:
        """Tell the worker to give its connections to another worker, and to end.

        Both get an end of a line. Without one (no heir, no descriptor is left) all are drained.
        """
        self.state = ENDING
        line = None
        if heir is not None and heir.takes_named:
            self.channel.send(TAKES_NAMED)
        if heir is not None and heir.takes_over:
            with contextlib.suppress(OSError):
                line, theirs = socket.socketpair()
                heir.channel.send(TAKE_OVER, theirs)
        self.channel.send(HAND_OVER, line)


class SlotState:
    """A slot, its worker, and when the next worker is forked."""

    def __init__(self, slot: Slot, restarts: Counter[str] | None = None) -> None:
        self.slot = slot
        self._restarts = Counter() if restarts is None else restarts
        self.state = WANTED
        self.worker: Worker | None = None    # The newest; it knows its predecessor.
        self.lent = False    # Whether another worker must accept from the queues.
        self.heir: Worker | None = None    # The worker that does so.
        # A worker that answers while the program does not run; whether one is to be forked; and
        # whether the program does not run.
        self.stand_in: Worker | None = None
        self.lacks = self.down = False
        self._pause = FIRST_PAUSE
        self._timer: Timer | None = None

    def want(self, why: str = '') -> None:
        """Let a worker be forked after this turn. It replaces the worker that the slot may have.

        `why` is the reason to count, unless one was counted for this worker already.
        """
        if why and self.state is not WANTED:
            self._restarts[why] += 1
        self._enter(WANTED)

    def fill(self, worker: Worker) -> None:
        """Record the worker that was forked."""
        worker.predecessor, self.worker = self.worker, worker
        self._enter(FILLED)

    @property
    def served(self) -> bool:
        """Whether a worker of this slot accepts."""
        newest = self.worker
        return any(each is not None and each.state is SERVING
                   for each in (newest, newest and newest.predecessor))

    def ready(self) -> None:
        """Record that the worker of this slot accepts."""
        self.lent = False
        self._enter(FILLED)

    def lack(self) -> None:
        """Let a worker be forked that stands in, unless there is one."""
        self.down, self.lacks = True, self.stand_in is None

    def stands_in(self, worker: Worker | None) -> None:
        """Record the worker that was forked to stand in; None if the system refused it."""
        self.stand_in, self.lacks = worker, False

    def lose(self) -> None:
        """Let another worker stand in for the one that did, and has ended by itself."""
        self.lacks = self.down and self.stand_in is None

    def rise(self) -> list[Worker]:
        """Record that the program runs again; return the worker that stood in for it."""
        self.down = self.lacks = False
        worker, self.stand_in = self.stand_in, None
        return [] if worker is None else [worker]

    def relieve(self) -> list[Worker]:
        """Record that the one that stands in accepts; return the workers that served before."""
        newest = self.worker
        older = [each for each in (newest, newest and newest.predecessor)
                 if each is not None and each.state is not STARTING]
        if newest in older:
            self.worker = None
        elif newest is not None:
            newest.predecessor = None
        return older

    def wait(self, predecessor: Worker | None) -> None:
        """Want no worker until a renewal: the new one could not start."""
        self.worker = predecessor
        self._enter(FILLED)

    def outdate(self) -> None:
        """Let another worker follow as soon as this one, which still starts, has ended."""
        self._enter(OUTDATED)

    def fall_back(self, predecessor: Worker | None) -> None:
        """Keep the worker that should have been replaced: the new one failed before READY."""
        self.worker = predecessor
        self._enter(WANTED if self.state is OUTDATED else FILLED)

    def pause(self, reactor: Reactor) -> None:
        """Want a worker after a pause; the next pause is twice as long."""
        self._enter(PAUSED)
        self.lent = self.lent or self._pause > FIRST_PAUSE
        self._timer = reactor.call_later(self._pause, self.want)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def forget_crashes(self) -> None:
        """Let the pause after the next crash be the first again."""
        self._pause = FIRST_PAUSE

    def dismiss(self) -> list[Worker]:
        """Want no worker any more; return the workers that have to end."""
        self._enter(SPARE)
        self.lent = True
        newest, self.worker = self.worker, None
        return [each for each in (newest, newest and newest.predecessor) if each is not None]

    def _enter(self, state: str) -> None:
        self.state = state
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Group:
    """All slots and workers: which worker has which sockets, and which worker follows which."""

    def __init__(self, settings: Settings) -> None:
        self._backlog = settings.backlog
        self._shared = settings.shared_socket
        self._mode = settings.socket_mode
        self.slots: list[SlotState] = []
        # Slots after SIGTTOU. Their sockets stay open: the connections in the queues are not lost.
        self._spare: list[SlotState] = []
        self.workers: dict[int, Worker] = {}    # By process id; all that have not ended.
        # How often a worker took the place of another: by 'crash', 'killed', 'hung', 'reload',
        # 'stopped', 'max_requests' and 'limit_memory'.
        self.restarts: Counter[str] = Counter()

    def open(self, addresses: Iterable[Address], count: int,
             given: Sockets | None = None) -> None:
        """Open the sockets of so many slots, beside those given. Raises `ListenError`."""
        first = open_first(addresses, self._backlog, self._shared, self._mode, given)
        self.slots = [SlotState(Slot(first, open_locks()), self.restarts)]
        for _ in range(1, count):
            self.add()

    def add(self) -> None:
        """Want a worker in one more slot: a spare one, or a new one."""
        if self._spare:
            self.slots.append(self._spare.pop())
            self.slots[-1].want()
            return
        try:
            first = self.slots[0].slot
            sockets = open_next(first.sockets, self._backlog, self._shared)
        except OSError as error:
            _log.error('no socket for another worker: %s', error.strerror)
        else:
            self.slots.append(SlotState(Slot(
                sockets, first.locks, number=len(self.slots) + 1, kept=first.kept), self.restarts))

    def remove(self) -> list[Worker]:
        """Let the newest slot go, unless it is the only one; return the workers that must end."""
        if len(self.slots) < 2:
            return []
        slot = self.slots.pop()
        self._spare.append(slot)
        return slot.dismiss()

    @property
    def settled(self) -> bool:
        """Whether no worker starts, or is to start at once: a renewal is over, good or not."""
        return all(slot.state in (FILLED, PAUSED) and (
            slot.worker is None or slot.worker.state is not STARTING) for slot in self.slots)

    def slot_of(self, worker: Worker) -> SlotState | None:
        """Return the slot whose newest worker this is; None for a predecessor, or after SIGTTOU."""
        return next((each for each in self.slots if each.worker is worker), None)

    def other_slots(self, slot: SlotState) -> list[Slot]:
        """Return the slots whose sockets a worker of this slot must close."""
        return [each.slot for each in (*self.slots, *self._spare) if each is not slot]

    def heir(self, slot: Slot, leaving: Iterable[Worker] = (),
             named: bool = False) -> Worker | None:
        """Return a worker to take over from this slot: if possible, one of the same slot.

        With `named`, one that takes connections with their addresses.
        """
        serving = [each for each in self.workers.values() if each.state is SERVING
                   and each not in leaving and (each.takes_named or not named)]
        return next((each for each in serving if each.slot is slot), next(iter(serving), None))

    def pass_on(self, worker: Worker, kind: bytes, sock: socket.socket, carried: bytes) -> None:
        """Give a connection that a worker has sent to the one that takes over from it."""
        heir = self.heir(worker.slot, named=kind == NAMED)
        if heir is not None:
            heir.channel.send(kind, sock, carried)
        else:
            sock.close()

    def slot_after(self, worker: Worker) -> SlotState | None:
        """Return the slot whose newest worker is to replace this one."""
        return next((each for each in self.slots
                     if each.worker is not None and each.worker.predecessor is worker), None)

    def lend(self, leaving: Iterable[Worker] = ()) -> None:
        """Let another worker accept from the sockets of each slot that is to be lent.

        What was lent goes back when the slot is served again. A listener has no name that two
        processes know; so the heir returns all that it got, and gets again what it has to keep.
        """
        slots = (*self.slots, *self._spare)
        for slot in slots:
            heir = slot.heir
            if heir is not None and not slot.lent and slot.served:
                heir.channel.send(RETURN)
                for each in slots:
                    if each.heir is heir:
                        each.heir = None
        for slot in slots:
            heir = slot.heir
            if slot.lent and (
                    heir is None or heir.state is ENDING or heir in leaving
                    or heir.pid not in self.workers):
                slot.heir = heir = self.heir(slot.slot, leaving)
                if heir is not None:
                    self._send_listeners(slot.slot, heir)

    def _send_listeners(self, slot: Slot, heir: Worker) -> None:
        for address, sockets in slot.sockets:
            # (Each worker has the sockets that all slots share.)
            if address.path is None and not address.inherited and not self._shared:
                for sock in sockets:
                    with contextlib.suppress(OSError):
                        heir.channel.send(LISTENER, copy_of(sock))

    def stop_listening(self) -> None:
        """Close all sockets for good, in this process; remove the files of UNIX sockets."""
        for slot in (*self.slots, *self._spare):
            slot.slot.discard()

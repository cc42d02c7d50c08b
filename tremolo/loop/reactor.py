"""Reactor: one thread, one poll, and whose turn it is.

A turn (`step`) has five parts, in this order:

    1. poll: wait until an fd is ready, a timer is due, or somebody wakes us
    2. call the reader and the writer of each ready fd, straight from the poll loop
    3. fire the timers that are due
    4. run what stands in the ready queue now; what that adds waits for the next turn
    5. send what was written in this turn

`run` is a loop around `step`. Any other loop can host the reactor instead: wait until `fileno()` is
readable or `next_deadline()` has come, then call `step(0)`.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Protocol

from .errors import Cancelled, InvalidState
from .future import set_current_reactor
from .poller import READ, WRITE, Poller, make_poller
from .task import Task
from .timers import NEVER, Timer, Timers

if TYPE_CHECKING:
    from .stream import Stream
    from .threads import ThreadPool

_log = logging.getLogger('tremolo.loop')

# No poll waits longer: some pollers refuse very large timeouts. An early turn is harmless.
_LONGEST_WAIT = 3600.0


class _Watcher:
    """Who is called for one fd. The reader may be paused: `mask` then lacks `READ`."""

    __slots__ = ('mask', 'reader', 'writer')

    def __init__(self, mask: int) -> None:
        self.mask = mask
        self.reader: Callable[[], Any] | None = None
        self.writer: Callable[[], Any] | None = None


class PartnerLoop(Protocol):
    """A loop of another kind that turns together with the reactor: asyncio's, when it is needed."""

    def run(self) -> None:
        """Turn both until `stop`."""

    def step(self, timeout: float | None = None) -> None:
        """Turn both once."""

    def stop(self) -> None:
        """End `run` after this turn."""

    def close(self) -> None:
        """End what runs there."""


class Reactor:
    """The loop: file descriptors, timers, and callbacks that are due.

        reactor = Reactor()
        reactor.call_later(1.5, print, 'hello')
        reactor.call_later(2, reactor.stop)
        reactor.run()
        reactor.close()

    Its world is made of parameters, so that the simulated one of the tests runs this very code:
    `poller`, a Poller or one's name ('epoll', 'kqueue', 'select'); `clock`, monotonic seconds;
    `wall_clock`, seconds since 1970; `network`, which is to be used as the module `socket`.
    """

    def __init__(
        self, poller: Poller | str | None = None, clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time, network: Any = socket, debug: bool = False
    ) -> None:
        self._poller = make_poller(poller) if poller is None or isinstance(poller, str) else poller
        self._poll = self._poller.poll
        self.time = clock
        self.wall_clock = wall_clock
        self.network = network
        self.debug = debug
        self.now = clock()    # When this turn began: good enough for deadlines, and free to read.
        self.turns = 0    # The number of this turn.
        self.tasks: set[Task] = set()    # Suspended tasks; none is collected while it waits.
        self.timers = Timers()
        self.watchers: dict[int, _Watcher] = {}
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._stopping = False
        self.turning = False    # Whether a turn is going on.
        self.unsent: list[Stream] = []    # The streams that have something to send at its end.
        self._thread: int | None = None
        self._signals: dict[int, Any] = {}
        self._wakeup_before = -1
        # The threads of `run_in_thread` and the bridge to asyncio, once somebody used them.
        self.pool: ThreadPool | None = None
        self.bridge: PartnerLoop | None = None
        # Called once each at the end: threads wait for what will not come any more.
        self.at_close: set[Callable[[], Any]] = set()
        self._wake_in, self._wake_out = network.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self.add_reader(self._wake_in.fileno(), self._woken)
        self.closed = False

    def run(self) -> None:
        """Turn until `stop`. The calling thread becomes the reactor's own."""
        self._stopping = False
        while not self._stopping:
            (self.step if self.bridge is None else self.bridge.run)()

    def stop(self) -> None:
        """End `run` after this turn. On another thread: `call_soon_threadsafe(reactor.stop)`."""
        self._stopping = True
        if self.bridge is not None:
            self.bridge.stop()
        self.wake()

    def step(self, timeout: float | None = None) -> None:
        """Do one turn, waiting at most `timeout` seconds (None: until something happens)."""
        before = set_current_reactor(self)
        self._thread = threading.get_ident()
        self.turning = False    # A callback may call `step`: others must be able to wake that poll.
        try:
            events = self._poll(self._wait_time(timeout))
            self.now = now = self.time()
            self.turns += 1
            self.turning = True
            watchers = self.watchers
            for fd, mask in events:
                # Its fd may be reused by now: that is one spurious call, and readers tolerate it.
                if (watcher := watchers.get(fd)) is None:
                    continue
                try:
                    # A hang-up or an error is for both. (In 3.11 the local saves much time.)
                    if mask != WRITE and (reader := watcher.reader) is not None:
                        reader()
                    if mask != READ and watcher.writer is not None:
                        watcher.writer()
                except (Exception, Cancelled):
                    _log.exception('the callback of fd %d failed; it is no longer watched', fd)
                    if watchers.get(fd) is watcher:
                        self.remove_fd(fd)
            if self.timers.next_deadline() <= now:
                self._fire_timers(now)
            for _ in range(len(self._ready)):
                self._guard(*self._ready.popleft())
            self.end_turn()
        finally:
            self.turning = False
            set_current_reactor(before)

    def _wait_time(self, timeout: float | None) -> float | None:
        if (deadline := self.next_deadline()) is not None:
            until = min(deadline - self.time(), _LONGEST_WAIT)
            timeout = until if timeout is None or until < timeout else timeout
        # A host's `deadline - now` may be negative too, which some pollers take for 'for ever'.
        return timeout if timeout is None else max(timeout, 0.0)

    def _fire_timers(self, now: float) -> None:
        # Bounded by what was there: a timer that arms itself again at once waits for the next turn.
        for _ in range(len(self.timers)):
            if (timer := self.timers.pop_due(now)) is None:
                break
            if timer.callback is not None:
                self._guard(timer.callback, timer.args)

    def end_turn(self) -> None:
        """Send what was written in this turn."""
        while self.unsent:
            stream = self.unsent.pop()
            try:
                stream.push()
            except (Exception, Cancelled):
                _log.exception('%r failed', stream)
        self.turning = False

    def _guard(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            callback(*args)
        except (Exception, Cancelled):
            # `Cancelled` too: the `result()` of a cancelled Future must not end the loop.
            _log.exception('the callback %r failed', callback)
        finally:
            # From Python 3.12 on a generator's last frame keeps ours alive: a Future with the error
            # which that frame saw would be a cycle.
            del args

    def fileno(self) -> int:
        """Give an fd that turns readable when a turn is due; -1 if the poller has none."""
        return self._poller.fileno()

    def next_deadline(self) -> float | None:
        """Return when the next turn is due even if no fd is ready, on this clock; None: never."""
        deadline = self.time() if self._ready else self.timers.next_deadline()
        return None if deadline == NEVER else deadline

    def in_loop_thread(self) -> bool:
        """Tell whether the caller is on the reactor's thread (or none has run it yet)."""
        return self._thread is None or self._thread == threading.get_ident()

    in_thread = in_loop_thread    # The old name.

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call it in the fourth part of this turn, or of the next one if that has begun."""
        self._ready.append((callback, args))
        # Outside a turn somebody may be asleep, in our poll or on our fd.
        if not self.turning:
            self.wake()

    # For any thread: the append is atomic, and the queue is looked at between a turn and a poll.
    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call it after `delay` seconds; `cancel()` the Timer to call it never."""
        return self.call_at(self.time() + delay, callback, *args)

    def call_at(self, deadline: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call it at `deadline`, a time of this reactor's clock."""
        timer = self.timers.new(callback, *args)
        timer.move(deadline)
        if not self.turning:
            self.wake()
        return timer

    def wake(self) -> None:
        """End a poll that is waiting; safe from any thread and from a signal handler."""
        # Full: a wake-up is waiting already. Closed: nobody is left to wake.
        with suppress(OSError):
            self._wake_out.send(b'\0')

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            self._wake_in.recv(4096)

    def add_reader(self, fd: int, callback: Callable[[], Any]) -> None:
        """Call it whenever `fd` is readable, at its end, hung up or in error. Replaces one."""
        self._want(fd, READ).reader = callback

    def pause_reader(self, fd: int) -> None:
        """Until `add_reader`, call it only when the fd hangs up or fails; it must let go then."""
        self._unwant(fd, self.watchers[fd], READ)

    def remove_reader(self, fd: int) -> None:
        """Forget the reader; harmless if there is none."""
        if (watcher := self.watchers.get(fd)) is not None:
            watcher.reader = None
            self._unwant(fd, watcher, READ)

    def add_writer(self, fd: int, callback: Callable[[], Any]) -> None:
        """Call it whenever `fd` takes bytes, is hung up or in error. Replaces one."""
        self._want(fd, WRITE).writer = callback

    def remove_writer(self, fd: int) -> None:
        """Forget the writer; harmless if there is none."""
        if (watcher := self.watchers.get(fd)) is not None:
            watcher.writer = None
            self._unwant(fd, watcher, WRITE)

    def remove_fd(self, fd: int) -> None:
        """Forget reader and writer, before the fd is closed; harmless if there are none."""
        if (watcher := self.watchers.pop(fd, None)) is not None:
            # The turn that is going on may still hold this watcher.
            watcher.reader = watcher.writer = None
            with suppress(OSError):    # It may be closed, and its number another's.
                self._poller.unregister(fd)

    def _want(self, fd: int, bit: int) -> _Watcher:
        if (watcher := self.watchers.get(fd)) is None:
            self._poller.register(fd, bit)
            watcher = self.watchers[fd] = _Watcher(bit)
        elif not watcher.mask & bit:
            watcher.mask |= bit
            self._poller.modify(fd, watcher.mask)
        return watcher

    def _unwant(self, fd: int, watcher: _Watcher, bit: int) -> None:
        if watcher.reader is None and watcher.writer is None:
            self.remove_fd(fd)
        elif watcher.mask & bit:
            watcher.mask &= ~bit
            self._poller.modify(fd, watcher.mask)

    def add_signal(self, signum: int, callback: Callable[[], Any]) -> None:
        """Call it from the ready queue on each signal, until `remove_signal`. Main thread only."""
        before = signal.signal(signum, lambda *_: self.call_soon_threadsafe(callback))
        # The C handler's byte ends a poll also when the kernel gave the signal to another thread.
        if not self._signals:
            self._wakeup_before = signal.set_wakeup_fd(
                self._wake_out.fileno(), warn_on_full_buffer=False)
        self._signals.setdefault(signum, before)

    def remove_signal(self, signum: int) -> None:
        """Put back the handler that was there before."""
        if signum in self._signals:
            # None: a handler that was not installed by Python, and cannot be put back by it.
            signal.signal(signum, self._signals.pop(signum) or signal.SIG_DFL)
            if not self._signals:
                taken = signal.set_wakeup_fd(self._wakeup_before)
                # Somebody else took it since: it stays theirs.
                if taken != self._wake_out.fileno():
                    signal.set_wakeup_fd(taken)

    def close(self) -> None:
        """Close the tasks that are left, put signals back, free the poller. Not inside a turn."""
        if self.closed:
            return
        if self.turning:
            raise InvalidState('the reactor cannot be closed inside its own turn: stop it first')
        if self.bridge is not None:
            self.bridge.close()
        self.closed = True
        before = set_current_reactor(self)
        self.turning = True
        for signum in list(self._signals):
            self.remove_signal(signum)
        for task in list(self.tasks):
            task.close()
        self.end_turn()
        set_current_reactor(before)
        while self.at_close:
            self.at_close.pop()()
        self.timers.clear()
        self._ready.clear()
        self.watchers.clear()
        for held in (self._poller, self._wake_in, self._wake_out):
            held.close()

    def __enter__(self) -> Reactor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

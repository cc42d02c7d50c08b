"""Reactor: one thread and one poll; it calls the callback of whatever is ready or due.

A turn (`step`) has five parts, in this order:

    1. poll: wait until an fd is ready, a timer is due, or `wake` is called
    2. call the reader and the writer of each ready fd, directly from the poll loop
    3. fire the timers that are due
    4. run the callbacks in the ready queue; callbacks that they add wait for the next turn
    5. send what was written in this turn

`run` is a loop around `step`. Any other loop can host the reactor instead: wait until `fileno()` is
readable or `next_deadline()` has come, then call `step(0)`.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from ..polling.full_polls import MANY, FullPolls
from ..polling.pauses import LATE, Pauses
from ..polling.poller import READ, WRITE, Poller
from ..polling.pollers import Mending, make_poller
from ..typed import TYPE_CHECKING, Any, Callable
from .errors import Cancelled, InvalidState
from .future import set_current_reactor
from .signals import Signals, caught
from .task import TIME_SLICE, Task
from .timers import NEVER, Timer, Timers

if TYPE_CHECKING:
    from .future import Future
    from .partner import PartnerLoop
    from .stream import Stream
    from .threads import ThreadPool

_log = logging.getLogger('tremolo.loop')

# No poll waits longer: some pollers refuse very large timeouts. A turn too early is harmless.
_LONGEST_WAIT = 3600.0


class _Watcher:
    """The two callbacks of one fd. While the reader is paused, `mask` lacks `READ`."""

    __slots__ = ('last', 'mask', 'reader', 'writer')

    def __init__(self, mask: int) -> None:
        # `last`: whether it can wait for all others, when turns are rationed.
        self.mask, self.last = mask, False
        self.reader: Callable[[], Any] | None = None
        self.writer: Callable[[], Any] | None = None


class Reactor:
    """The loop: file descriptors, timers, and callbacks that are due.

        reactor = Reactor()
        reactor.call_later(1.5, print, 'hello')
        reactor.call_later(2, reactor.stop)
        reactor.run()
        reactor.close()

    Poller, clocks and network are parameters, so that the simulated world of the tests runs the
    same code: `poller` is a Poller or the name of one ('epoll', 'kqueue', 'select'); `clock`
    returns monotonic seconds, `wall_clock` seconds since 1970; `network` has the functions and
    constants of the module `socket`.
    """

    # (Attributes of the class: CPython finds those of an object faster if it has 30 at most.)
    # While turns are rationed, `choose` says which of the ready fds are served (room fair).
    choose: Callable[[list[tuple[int, int]]], Iterable[tuple[int, int]]] | None = None
    debug = False
    pool: ThreadPool | None = None    # The threads of `run_in_thread`, from its first use on.

    def __init__(
        self, poller: Poller | str | None = None, clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time, network: Any = socket, debug: bool = False
    ) -> None:
        self._poller = make_poller(poller) if poller is None or isinstance(poller, str) else poller
        self._poll = self._poller.poll
        self.time = clock
        self.wall_clock = wall_clock
        self.network = network
        if debug:
            self.debug = True
        self.serves = False    # Whether it serves an application: then no callback ends it.
        self.now = clock()    # The time when this turn began: exact enough for deadlines.
        self.turns = 0    # The number of this turn.
        self.tasks: set[Task] = set()    # The suspended tasks; this keeps them alive.
        self.timers = Timers()
        self.watchers: dict[int, _Watcher] = {}
        self._mending = Mending(self._poller, self.watchers, clock)
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._stopping = False
        self.turning = False    # Whether a turn is going on.
        self._full_polls = FullPolls()
        # After a turn of more seconds `fairness` begins to ration the next ones (room fair).
        self.long_turn = NEVER
        self.fairness: Any = None
        self.pauses = Pauses()    # How long it did not turn.
        self.unsent: list[Stream] = []    # Streams with bytes to send at the end of the turn.
        self.thread: int | None = None    # The one that turns; None before the first turn.
        self.threads = 32    # Most threads of `run_in_thread`.
        self.bridge: PartnerLoop | None = None    # The one to asyncio, from its first use on.
        self.pools: list[Any] = []    # Pools of rooms above: `left()` returns the work of each.
        # Called by `close`, once each: they wake threads that would wait for ever.
        self.at_close: set[Callable[[], Any]] = set()
        self._wake_in, self._wake_out = network.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._signals = Signals(self._wake_out)
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
        self.thread = threading.get_ident()
        self.turning = False    # (When a callback calls `step`, other threads must wake this poll.)
        try:
            events = self._poll(self._wait_time(timeout))
            last = self.now
            self.now = now = self.time()
            self.turns += 1
            self.turning = True
            watchers = self.watchers
            for fd, mask in events if (choose := self.choose) is None else choose(events):
                # The fd may be closed and reused since the poll: readers tolerate a spurious call.
                if (watcher := watchers.get(fd)) is None:
                    self._mending.leave(fd)    # (Removed in this turn; or that has failed.)
                    continue
                try:
                    # A hang-up or an error calls both. (The local variable is faster in 3.11.)
                    if mask != WRITE and (reader := watcher.reader) is not None:
                        reader()
                    if mask != READ and watcher.writer is not None:
                        watcher.writer()
                except BaseException as error:
                    self.failed(error, 'the callback of fd %d failed; it is no longer watched', fd)
                    if watchers.get(fd) is watcher:
                        self.remove_fd(fd)
            if (due := self.timers.next_deadline()) <= now and not (
                    (now - due > LATE and self.pauses.hold_back(self.turns, now, due, last)) or (
                    len(events) >= MANY and self._full_polls.hold_back(self.turns, len(watchers)))):
                self._fire_timers(now)
            for _ in range(len(self._ready)):
                self.guard(*self._ready.popleft())
            self.end_turn()
        finally:
            self.turning = False
            set_current_reactor(before)

    @property
    def simulated(self) -> bool:
        """Whether the world is a simulated one: then asyncio, which opens sockets, is left out."""
        return self.network is not socket

    def poll_again(self) -> list[tuple[int, int]]:
        """Return which fds are ready now, each with its mask: a poll shows a bounded number."""
        return self._poll(0.0)

    def _wait_time(self, timeout: float | None) -> float | None:
        if (deadline := self.next_deadline()) is not None:
            time = self.time()
            until = min(deadline - time, _LONGEST_WAIT)
            timeout = until if timeout is None or until < timeout else timeout
            if time - self.now > self.long_turn:
                self.fairness.begin()
        # The timeout of a host may be negative, and some pollers take that for 'without end'.
        return timeout if timeout is None else max(timeout, 0.0)

    def _fire_timers(self, now: float) -> None:
        # At most as many as there are now: a timer that arms itself again waits for the next turn.
        for _ in range(len(self.timers)):
            if (timer := self.timers.pop_due(now)) is None:
                break
            if timer.callback is not None:
                self.guard(timer.callback, timer.args)

    def end_turn(self) -> None:
        """Send what was written in this turn."""
        while self.unsent:
            stream = self.unsent.pop()
            try:
                stream.push()
            except BaseException as error:
                self.failed(error, '%r failed', stream)
        self.turning = False

    def guard(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Call a callback, and log what it raises."""
        try:
            callback(*args)
        except BaseException as error:
            self.failed(error, 'the callback %r failed', callback)
        finally:
            # From Python 3.12 on the last frame of a generator keeps this frame alive. A Future in
            # this frame, with the error that was raised in that one, would be a cycle.
            del args

    def failed(self, error: BaseException, what: str, *args: Any) -> None:
        """Log the error of a callback, or raise it: what ends a program ends the loop.

        But nothing ends one that serves an application, except the user's Ctrl-C.
        """
        # (`Cancelled`: a callback may call `result()` of a cancelled Future.)
        if not (self.serves or issubclass(type(error), (Exception, Cancelled))):
            raise error
        _log.error(what, *args, exc_info=caught(error))

    def fileno(self) -> int:
        """Return an fd that is readable when a turn is due; -1 if the poller has none."""
        return self._poller.fileno()

    def next_deadline(self) -> float | None:
        """Return the time when a turn is due even if no fd is ready; None: never."""
        deadline = self.time() if self._ready else self.timers.next_deadline()
        return None if deadline == NEVER else deadline

    def in_loop_thread(self) -> bool:
        """Return whether this is the reactor's thread, or no thread has run it yet."""
        return self.thread is None or self.thread == threading.get_ident()

    in_thread = in_loop_thread    # The old name.

    def belong_to(self, thread: int | None) -> None:
        """Record the thread that drives the loop, before it turns or between two of its turns."""
        self.thread = thread

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback` in the fourth part of this turn, or of the next if that has begun."""
        self._ready.append((callback, args))
        # Outside a turn a thread may sleep in our poll, or a host loop on our fd.
        if not self.turning:
            self.wake()

    # Safe on any thread: `append` is atomic, and each poll is preceded by a look at the queue.
    call_soon_threadsafe = call_soon

    def slice_end(self, payer: Any) -> float:
        """Return until when code that does not wait may go on, before others have their turn.

        `payer` is what that code works for: the owner of a task, or another that has an answer.
        """
        return self.time() + TIME_SLICE

    def turn_of(self, payer: Any) -> Future | None:
        """Return what code whose slice has ended waits for; None: only until others had a turn."""
        return None

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call `callback` after `delay` seconds, unless the Timer is cancelled before."""
        return self.call_at(self.time() + delay, callback, *args)

    def call_at(self, deadline: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Call `callback` at `deadline`, a time of this reactor's clock."""
        timer = self.timers.new(callback, *args)
        timer.move(deadline)
        if not self.turning:
            self.wake()
        return timer

    def wake(self) -> None:
        """End a poll that waits; safe on any thread and in a signal handler."""
        # Full: a wake-up is on its way already. Closed: no poll is left to end.
        with suppress(OSError):
            self._wake_out.send(b'\0')

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            self._wake_in.recv(4096)

    def add_reader(self, fd: int, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever `fd` is readable, hung up or in error; set or replace it.

        Raises `Unwatched`, as all of these do, when the poller has refused the fd twice: then
        nothing is called any more, neither reader nor writer.
        """
        self._want(fd, READ).reader = callback

    def pause_reader(self, fd: int) -> None:
        """Until `add_reader`, call the reader only for a hang-up or an error.

        The reader must then remove the fd.
        """
        self._unwant(fd, self.watchers[fd], READ)

    def remove_reader(self, fd: int) -> None:
        """Forget the reader; harmless if there is none."""
        if (watcher := self.watchers.get(fd)) is not None:
            watcher.reader = None
            self._unwant(fd, watcher, READ)

    def add_writer(self, fd: int, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever `fd` takes bytes, is hung up or in error; set or replace it."""
        self._want(fd, WRITE).writer = callback

    def remove_writer(self, fd: int) -> None:
        """Forget the writer; harmless if there is none."""
        if (watcher := self.watchers.get(fd)) is not None:
            watcher.writer = None
            self._unwant(fd, watcher, WRITE)

    def remove_fd(self, fd: int) -> None:
        """Forget reader and writer, before the fd is closed; harmless if there are none."""
        if (watcher := self.watchers.pop(fd, None)) is not None:
            # This turn may still hold the watcher.
            watcher.reader = watcher.writer = None
            try:
                self._poller.unregister(fd)
            except OSError:    # The fd may be closed already.
                self._mending.leave(fd)

    # A watcher says what the poller knows: it is noted when the poller has agreed.

    def _want(self, fd: int, bit: int) -> _Watcher:
        if (watcher := self.watchers.get(fd)) is None:
            self._ask(self._poller.register, fd, bit)
            watcher = self.watchers[fd] = _Watcher(bit)
        elif not watcher.mask & bit:
            self._ask(self._poller.modify, fd, watcher.mask | bit)
            watcher.mask |= bit
        return watcher

    def _unwant(self, fd: int, watcher: _Watcher, bit: int) -> None:
        if watcher.reader is None and watcher.writer is None:
            self.remove_fd(fd)
        elif watcher.mask & bit:
            self._ask(self._poller.modify, fd, watcher.mask & ~bit)
            watcher.mask &= ~bit

    def _ask(self, change: Callable[[int, int], None], fd: int, mask: int) -> None:
        try:
            change(fd, mask)
        except OSError:
            self._mending.enter(fd, mask)

    def add_signal(self, signum: int, callback: Callable[[], Any]) -> None:
        """Call it from the ready queue on each signal, until `remove_signal`. Main thread only."""
        self._signals.add(signum, lambda *_: self.call_soon_threadsafe(callback))

    def remove_signal(self, signum: int) -> None:
        """Put back the handler from before."""
        self._signals.remove(signum)

    def leave_to(self, end: Any) -> tuple[int, ...]:
        """Let `end` be the poller and the queues; return our descriptors. See forks.py."""
        own = self._poller.fileno(), self._wake_in.fileno(), self._wake_out.fileno()
        self._poller = self._ready = self.unsent = end
        self._poll, self.closed = end.poll, True
        return own

    def close(self) -> None:
        """Close the remaining tasks, restore signals, free the poller. Not inside a turn."""
        if self.closed:
            return
        if self.turning:
            raise InvalidState('the reactor cannot be closed inside its own turn: stop it first')
        if self.bridge is not None:
            self.bridge.close()
        self.closed = True
        before = set_current_reactor(self)
        self.turning = True
        for signum in self._signals.handled():
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

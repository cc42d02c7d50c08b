"""Guest: a reactor inside an event loop of another kind, such as uvloop's.

The loop watches one descriptor, that of the reactor's poller, and has one timer, for the reactor's
next deadline. Both call one turn of the reactor. The reactor asks nothing else of the loop, and an
idle guest costs nothing. So all that runs on a reactor runs in any asyncio program:

    with hosted() as reactor:        # in a coroutine: a guest of the running loop
        ...

    reactor = GuestReactor(make_loop('uvloop'))
    reactor.run()                    # a guest of a loop that it owns, and that ends with it
"""

from __future__ import annotations

import asyncio
import importlib
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..loop.future import set_current_reactor
from ..loop.reactor import Reactor
from ..loop.signals import ours
from ..loop.timers import NEVER, Timer, Timers
from ..typed import Any, Callable
from .bridge import Bridge
from .exits import contained


class _GuestBridge(Bridge):
    """The bridge of a guest, to the loop that hosts it."""

    def __init__(self, reactor: GuestReactor, loop: asyncio.AbstractEventLoop, own: bool) -> None:
        super().__init__(reactor, loop, own)
        self._guest = reactor
        if not own:
            # These tasks are ours, and the loop is the program's.
            start = self.start
            self.start = lambda coroutine, context, name=None: start(
                contained(coroutine), context, name)

    def run(self) -> None:
        with _driven(self._guest):
            super().run()

    def complete(self, coroutine: Any) -> Any:
        with _driven(self._guest):
            return super().complete(coroutine)

    def step(self, timeout: float | None = None) -> None:
        raise RuntimeError('a guest is driven by its loop alone')

    def stop(self) -> None:
        if self.is_own:
            super().stop()

    def close(self) -> None:
        if self.is_own:
            with _driven(self._guest):
                super().close()


@contextmanager
def _driven(reactor: GuestReactor) -> Iterator[None]:
    """Record this thread as the reactor's before the first turn, so that others wake it."""
    before = set_current_reactor(reactor)
    reactor.belong_to(threading.get_ident())
    try:
        yield
    finally:
        reactor.belong_to(None)
        set_current_reactor(before)


class GuestReactor(Reactor):
    """A reactor that an asyncio loop drives; with `own` the reactor also closes the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, own: bool = True,
                 debug: bool = False) -> None:
        self._loop, self.is_own = loop, own
        self.users = 0    # The number of `hosted` blocks that use it.
        self.before: Reactor | None = None    # The thread's current reactor before this one.
        self._timer: asyncio.TimerHandle | None = None    # The loop's timer for the next turn.
        self._due = NEVER    # The deadline of that timer.
        super().__init__(debug=debug)
        self.timers = _GuestTimers(self)
        self.bridge = _GuestBridge(self, loop, own)
        loop.add_reader(self.fileno(), self._turn)

    def _turn(self) -> None:
        self.step(0.0)
        self.look()

    def look(self) -> None:
        """Set the loop's timer to the next deadline, unless it comes earlier already."""
        if (deadline := self.next_deadline()) and deadline < self._due and not self.closed:
            if self._timer is not None:
                self._timer.cancel()
            self._due = deadline
            # Rounded up to milliseconds: uvloop rounds, and would call too early.
            delay = math.ceil(max(0.0, deadline - self.time()) * 1000) / 1000
            self._timer = self._loop.call_later(delay, self._timed)

    def _timed(self) -> None:
        self._timer, self._due = None, NEVER
        self._turn()

    def wake(self) -> None:
        """Make the loop do a turn soon; safe on any thread."""
        if self.thread == threading.get_ident():
            self.look()
        else:
            super().wake()

    def add_signal(self, signum: int, callback: Callable[[], Any]) -> None:
        """Call `callback` on each signal, by the loop's own method. Main thread only."""
        self._loop.add_signal_handler(signum, callback)
        ours.add(signum)
        self.at_close.add(partial(ours.discard, signum))

    def remove_signal(self, signum: int) -> None:
        """Put back the system's default."""
        self._loop.remove_signal_handler(signum)
        ours.discard(signum)

    def close(self) -> None:
        """Close the reactor, and the loop if the reactor owns it. Not inside a turn."""
        if not self.closed and not self.turning and not self.is_own:
            self._loop.remove_reader(self.fileno())
            if self._timer is not None:
                self._timer.cancel()
        super().close()


class _GuestTimers(Timers):
    """Timers that let the guest set the loop's timer anew."""

    def __init__(self, reactor: GuestReactor) -> None:
        super().__init__()
        self._reactor = reactor

    def put(self, timer: Timer) -> None:
        super().put(timer)
        if not self._reactor.turning:
            self._reactor.look()


# The guest of each running loop that has one.
_guests: dict[asyncio.AbstractEventLoop, GuestReactor] = {}


@contextmanager
def hosted(debug: bool = False) -> Iterator[GuestReactor]:
    """Return the guest of the running loop for a `with` block; the last block closes it."""
    loop = asyncio.get_running_loop()
    if (reactor := _guests.get(loop)) is None:
        reactor = _guests[loop] = GuestReactor(loop, own=False, debug=debug)
        reactor.belong_to(threading.get_ident())
        # It is the current reactor of all that this thread runs from now on.
        reactor.before = set_current_reactor(reactor)
    reactor.users += 1
    try:
        yield reactor
    finally:
        reactor.users -= 1
        if not reactor.users:
            del _guests[loop]
            reactor.step(0.0)    # Callbacks that are due are called before the end.
            set_current_reactor(reactor.before)
            reactor.close()


def make_loop(name: str) -> asyncio.AbstractEventLoop:
    """Make a loop of 'asyncio', or of 'uvloop' if it is installed; else raise `ImportError`."""
    loop: asyncio.AbstractEventLoop = importlib.import_module(name).new_event_loop()
    return loop

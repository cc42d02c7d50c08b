"""Guest: a reactor inside an event loop that it does not own, such as uvloop's.

The loop watches one descriptor, the reactor's poller, and has one timer, for what is due next; each
of the two does one turn of the reactor. Nothing else is asked of the loop, and an idle guest costs
it nothing. So whatever runs on a reactor runs in any asyncio program:

    with hosted() as reactor:        # in a coroutine: the loop that runs, and goes on after this
        ...

    reactor = GuestReactor(make_loop('uvloop'))
    reactor.run()                    # a loop of its own; it ends with the reactor
"""

from __future__ import annotations

import asyncio
import importlib
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from ..loop.future import set_current_reactor
from ..loop.reactor import Reactor
from ..loop.timers import NEVER, Timer, Timers
from .bridge import Bridge


class _GuestBridge(Bridge):
    """The bridge of a guest: its loop is there already."""

    def __init__(self, reactor: GuestReactor, loop: asyncio.AbstractEventLoop, own: bool) -> None:
        super().__init__(reactor, loop)
        self._guest, self._own = reactor, own

    def run(self) -> None:
        with _driven(self._guest):
            super().run()

    def complete(self, coroutine: Any) -> Any:
        with _driven(self._guest):
            return super().complete(coroutine)

    def step(self, timeout: float | None = None) -> None:
        raise RuntimeError('a guest is driven by its loop alone')

    def stop(self) -> None:
        if self._own:
            super().stop()

    def close(self) -> None:
        if self._own:
            with _driven(self._guest):
                super().close()


@contextmanager
def _driven(reactor: GuestReactor) -> Iterator[None]:
    """Know the thread before the first turn, which may come late: others must wake it."""
    before = set_current_reactor(reactor)
    reactor.belong_to(threading.get_ident())
    try:
        yield
    finally:
        reactor.belong_to(None)
        set_current_reactor(before)


class GuestReactor(Reactor):
    """A reactor that an asyncio loop drives; with `own` the loop lives and ends with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, own: bool = True,
                 debug: bool = False) -> None:
        self._loop, self._own = loop, own
        self.users = 0    # How many use it (`hosted`).
        self.before: Reactor | None = None    # The current one before it.
        self._timer: asyncio.TimerHandle | None = None    # The loop's timer.
        self._due = NEVER    # When that comes.
        super().__init__(debug=debug)
        self.timers = _GuestTimers(self)
        self.bridge = _GuestBridge(self, loop, own)
        loop.add_reader(self.fileno(), self._turn)

    def belong_to(self, thread: int | None) -> None:
        """Know the thread that the loop runs in."""
        self._thread = thread

    def _turn(self) -> None:
        self.step(0.0)
        self.look()

    def look(self) -> None:
        """Let the loop know when the next turn is due, unless it comes before that."""
        if (deadline := self.next_deadline()) and deadline < self._due and not self.closed:
            if self._timer is not None:
                self._timer.cancel()
            self._due = deadline
            # In whole milliseconds: uvloop knows no others, and would call too early.
            delay = math.ceil(max(0.0, deadline - self.time()) * 1000) / 1000
            self._timer = self._loop.call_later(delay, self._timed)

    def _timed(self) -> None:
        self._timer, self._due = None, NEVER
        self._turn()

    def wake(self) -> None:
        """Have a turn soon; safe from any thread."""
        if self._thread == threading.get_ident():
            self.look()
        else:
            super().wake()

    def add_signal(self, signum: int, callback: Callable[[], Any]) -> None:
        """Call it on each signal, by the loop's own way. Main thread only."""
        self._loop.add_signal_handler(signum, callback)

    def remove_signal(self, signum: int) -> None:
        """Put back the default."""
        self._loop.remove_signal_handler(signum)

    def close(self) -> None:
        """Close it, and the loop if that is its own. Not inside a turn."""
        if not self.closed and not self.turning and not self._own:
            self._loop.remove_reader(self.fileno())
            if self._timer is not None:
                self._timer.cancel()
        super().close()


class _GuestTimers(Timers):
    """Timers that tell when there is one that comes before all others."""

    def __init__(self, reactor: GuestReactor) -> None:
        super().__init__()
        self._reactor = reactor

    def put(self, timer: Timer) -> None:
        super().put(timer)
        if not self._reactor.turning:
            self._reactor.look()


# The guest of each loop that runs and has one.
_guests: dict[asyncio.AbstractEventLoop, GuestReactor] = {}


@contextmanager
def hosted(debug: bool = False) -> Iterator[GuestReactor]:
    """Give the guest of the loop that runs; the last who leaves closes it."""
    loop = asyncio.get_running_loop()
    if (reactor := _guests.get(loop)) is None:
        reactor = _guests[loop] = GuestReactor(loop, own=False, debug=debug)
        reactor.belong_to(threading.get_ident())
        # For all that the loop runs in this thread from now on.
        reactor.before = set_current_reactor(reactor)
    reactor.users += 1
    try:
        yield reactor
    finally:
        reactor.users -= 1
        if not reactor.users:
            del _guests[loop]
            reactor.step(0.0)    # Who waits yet is told.
            set_current_reactor(reactor.before)
            reactor.close()


def make_loop(name: str) -> asyncio.AbstractEventLoop:
    """Make a loop: of 'asyncio', or of the user's 'uvloop'. Raises `ImportError` without it."""
    loop: asyncio.AbstractEventLoop = importlib.import_module(name).new_event_loop()
    return loop

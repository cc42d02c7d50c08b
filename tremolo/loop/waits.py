"""Waits: the threads of a pool that wait for clients, so that others may work in their places.

    waits = Waits(reactor, more)    `more()` is called on the loop when a place has become free
    waits.wait(event)               a thread waits; the loop looks whether that takes its time
    len(waits)                      how many more threads than `Reactor.threads` may work

A slow client must not hold a thread that others need. So a thread that waits does not count, up to
`WAITING_MOST` for each of the `threads`; what waits beyond that counts. What only waits for the
loop (bytes are there already, the client takes more) has its event set within a few turns, and
gives no place away: otherwise a full queue would start threads that all compute at a time.
"""

from __future__ import annotations

import threading

from ..typed import Callable
from .reactor import Reactor

# For each of `Reactor.threads`: threads that wait for clients while others work in their places,
# and requests that wait for a thread. (Such a thread keeps 28 KiB with its connection, measured,
# and 8 MiB of addresses for its stack; what its handler holds comes on top.)
WAITING_MOST = 8
QUEUE_MOST = 32

_TURNS = 4    # A read of what is there ends after two turns, and its thread is told in the third.


class Waits:
    """The threads of one pool that wait for clients."""

    __slots__ = ('_more', '_reactor', 'events')

    def __init__(self, reactor: Reactor, more: Callable[[], object]) -> None:
        self._reactor = reactor
        self._more = more
        # What these threads wait for. (The loop sets the events, and adds only what is not set;
        # the thread removes its own: no lock is needed.)
        self.events: set[threading.Event] = set()

    def wait(self, event: threading.Event) -> None:
        """Wait, in a thread of the pool; if that takes its time, another may work meanwhile."""
        self._reactor.call_soon_threadsafe(self._look, event, _TURNS)
        try:
            event.wait()
        finally:
            self.events.discard(event)

    def _look(self, event: threading.Event, turns: int) -> None:
        if event.is_set():
            return
        if turns:
            self._reactor.call_soon(self._look, event, turns - 1)
        else:
            self.events.add(event)
            self._more()

    def __len__(self) -> int:
        return min(len(self.events), WAITING_MOST * self._reactor.threads)

    def full(self, queued: int) -> bool:
        """Tell whether one request more is too many, when so many wait for a thread."""
        room = self._reactor.threads
        return queued >= QUEUE_MOST * room or len(self.events) >= (WAITING_MOST + 1) * room

"""Timers: what is due when. A heap, with deadlines that are cheap to push back.

A connection has one timer for its whole life and moves its deadline on every request. Moving it
*later* is an assignment: when the old, earlier entry of the heap comes up, the timer is put back at
its real deadline. So a keep-alive connection costs one heap operation per *timeout*, not per
request. Moving it *earlier* puts in a second entry, and cancelling leaves the one there is: stale
entries are dropped when they come up, or when the heap is twice as long as after the last sweep.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Callable

NEVER = math.inf


class Timer:
    """One callback at `deadline` of the reactor's clock (`NEVER`: not armed); `move` rearms it."""

    __slots__ = ('_timers', 'args', 'callback', 'deadline', 'queued')

    def __init__(self, timers: Timers, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._timers = timers
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.deadline = NEVER
        # The time of this timer's one live heap entry; every other entry of it is stale.
        self.queued = NEVER

    def move(self, deadline: float) -> None:
        """Set the deadline: earlier, later or `NEVER`. Hot: once per request, mostly later."""
        self.deadline = deadline
        if deadline < self.queued:
            self._timers.put(self)

    def cancel(self) -> None:
        """Never fire, and let go of the callback. Harmless when it has fired."""
        self.deadline = self.queued = NEVER
        self.callback, self.args = None, ()


class Timers:
    """The heap of all timers of one reactor."""

    def __init__(self) -> None:
        # (time, order of entry, timer): the order breaks ties, first in first out.
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._most = 64    # How long the heap may grow before it is swept.

    def __len__(self) -> int:
        return len(self._heap)

    def new(self, callback: Callable[..., Any], *args: Any) -> Timer:
        """Make a timer that is not armed yet; `move` arms it."""
        return Timer(self, callback, args)

    def put(self, timer: Timer) -> None:
        """Put in the entry of a timer, at its deadline."""
        heap = self._heap
        timer.queued = timer.deadline
        self._count = count = self._count + 1
        heapq.heappush(heap, (timer.deadline, count, timer))
        if len(heap) > self._most:
            # In place: `pop_due` may be at work on this very list.
            heap[:] = [entry for entry in heap if entry[0] == entry[2].queued]
            heapq.heapify(heap)
            self._most = max(64, 2 * len(heap))

    def clear(self) -> None:
        """Cancel all, so that none keeps alive what its callback belongs to."""
        while self._heap:
            self._heap.pop()[2].cancel()

    def next_deadline(self) -> float:
        """Return when to look again: no timer is due before that. `NEVER` if none is armed."""
        return self._heap[0][0] if self._heap else NEVER

    def pop_due(self, now: float) -> Timer | None:
        """Take out one timer that is due, or return None. It may be armed again by `move`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, timer = heapq.heappop(heap)
            if when == timer.queued:
                timer.queued = NEVER
                if timer.deadline <= now:
                    timer.deadline = NEVER
                    return timer
                timer.move(timer.deadline)
        return None

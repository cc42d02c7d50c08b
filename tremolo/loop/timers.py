"""Timers: what is due when. A heap, with deadlines that are cheap to push back.

A connection has one timer for its whole life and moves its deadline on every request. Moving it
*later* is an assignment: the heap still holds the old, earlier entry, and when that comes up the
timer is found not to be due and is put back at its real deadline. So ten thousand keep-alive
connections cost one heap operation per timer and *timeout*, not per request. Moving it *earlier*
puts in a second entry; the first is recognised as stale and dropped when it comes up.

Cancelling forgets the callback at once (and what it holds); the entry left in the heap is dropped
when it comes up, or in a sweep when such leavings are more than half.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Callable

NEVER = math.inf


class Timer:
    """One callback at `deadline`, in seconds of the reactor's clock.

    It fires once, and stays usable: `move` arms it again. `deadline` is `NEVER` while it is not
    armed.
    """

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
        self.deadline = NEVER
        if self.callback is not None:
            self.callback = None
            self.args = ()
            if self.queued != NEVER:
                self._timers.dropped()


class Timers:
    """The heap of all timers of one reactor."""

    __slots__ = ('_count', '_dropped', '_heap')

    def __init__(self) -> None:
        # (time, order of entry, timer): the order breaks ties, first in first out.
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._heap)

    def new(self, callback: Callable[..., Any], *args: Any) -> Timer:
        """Make a timer that is not armed yet; `move` arms it."""
        return Timer(self, callback, args)

    def put(self, timer: Timer) -> None:
        timer.queued = timer.deadline
        self._count += 1
        heapq.heappush(self._heap, (timer.deadline, self._count, timer))

    def dropped(self) -> None:
        """Count a cancelled timer, and sweep the heap when most of it is cancelled."""
        self._dropped += 1
        if self._dropped > 64 and self._dropped * 2 > len(self._heap):
            # In place: `pop_due` may be at work on this very list.
            self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._dropped = 0

    def clear(self) -> None:
        """Cancel all, so that none keeps alive what its callback belongs to."""
        for _, _, timer in list(self._heap):
            timer.cancel()
        self._heap.clear()

    def next_deadline(self) -> float:
        """Return when to look again: no timer is due before that. `NEVER` if none is armed."""
        return self._heap[0][0] if self._heap else NEVER

    def pop_due(self, now: float) -> Timer | None:
        """Take out one timer that is due, or return None. It may be armed again by `move`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, timer = heapq.heappop(heap)
            if timer.callback is None:
                self._dropped = max(0, self._dropped - 1)
            elif when == timer.queued:
                timer.queued = NEVER
                if timer.deadline <= now:
                    timer.deadline = NEVER
                    return timer
                if timer.deadline != NEVER:
                    self.put(timer)
        return None

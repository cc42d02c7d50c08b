"""Timers: a heap of deadlines that are cheap to push back.

A connection has one timer for its whole life and moves the deadline on every request. To move a
deadline *later* is an assignment: when the old, earlier entry of the heap comes up, the timer is
put back with its real deadline. So a keep-alive connection costs one heap operation per *timeout*,
not per request. To move a deadline *earlier* adds a second entry, and to cancel a timer leaves its
entry: such stale entries are dropped when they come up, or by a sweep, when the heap is twice as
long as after the last sweep.
"""

from __future__ import annotations

import heapq
import math

from ..typed import Any, Callable

NEVER = math.inf


class Timer:
    """One callback at `deadline` of the reactor's clock (`NEVER`: not armed); `move` rearms it."""

    __slots__ = ('_timers', 'args', 'callback', 'deadline', 'queued')

    def __init__(self, timers: Timers, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._timers = timers
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.deadline = NEVER
        # The time of the timer's one live entry in the heap; all its other entries are stale.
        self.queued = NEVER

    def move(self, deadline: float) -> None:
        """Set the deadline: earlier, later or `NEVER`. Hot: once per request, mostly later."""
        self.deadline = deadline
        if deadline < self.queued:
            self._timers.put(self)

    def cancel(self) -> None:
        """Disarm the timer and drop its callback. Harmless after it has fired."""
        self.deadline = self.queued = NEVER
        self.callback, self.args = None, ()


class Timers:
    """The heap of all timers of one reactor."""

    def __init__(self) -> None:
        # (time, serial number, timer): of equal times the first entered fires first.
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._most = 64    # Entries that the heap may have before it is swept.

    def __len__(self) -> int:
        return len(self._heap)

    def new(self, callback: Callable[..., Any], *args: Any) -> Timer:
        """Make a timer that is not armed yet; `move` arms it."""
        return Timer(self, callback, args)

    def put(self, timer: Timer) -> None:
        """Add an entry for a timer at its deadline."""
        heap = self._heap
        timer.queued = timer.deadline
        self._count = count = self._count + 1
        heapq.heappush(heap, (timer.deadline, count, timer))
        if len(heap) > self._most:
            # In place: `pop_due` may be working on this list.
            heap[:] = [entry for entry in heap if entry[0] == entry[2].queued]
            heapq.heapify(heap)
            self._most = max(64, 2 * len(heap))

    def clear(self) -> None:
        """Cancel all timers, so that none keeps the owner of its callback alive."""
        while self._heap:
            self._heap.pop()[2].cancel()

    def next_deadline(self) -> float:
        """Return a time before which no timer is due; `NEVER` if none is armed."""
        return self._heap[0][0] if self._heap else NEVER

    def pop_due(self, now: float) -> Timer | None:
        """Take out and return one timer that is due, or None. `move` may arm it again."""
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

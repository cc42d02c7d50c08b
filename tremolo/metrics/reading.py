"""Reading: what all processes of a server have counted, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from operator import add
from types import MappingProxyType

from ..machine import resident_memory
from .board import Board
from .layout import (
    BUCKET,
    CELL,
    CLOSE,
    CLOSED,
    DUE,
    LAG,
    PHASE,
    PHASES,
    PID,
    RECEIVED,
    REFUSED,
    RELOADS,
    RESTARTS,
    SECONDS,
    SENT,
    SLOT,
    THROTTLED,
    labels_of,
)


class Reading:
    """The sums at one moment. Of the gauges only those of processes that live count."""

    def __init__(self, board: Board, now: float,
                 restarts: Mapping[str, int] = MappingProxyType({})) -> None:
        """Read the board; `now` is the time of the monotonic clock.

        `restarts` are those that the supervisor counts.
        """
        self.requests: Counter[tuple[str, str]] = Counter()    # By method and status.
        self.phases = dict.fromkeys(PHASES, 0)
        self.seconds = self.throttled = 0.0
        # By the number of the slot. While an old worker drains, a slot has two: then it is the
        # longer lag of the two, and their memory together.
        self.lags: dict[int, float] = {}
        self.memory: dict[int, int] = {}
        sums = [0] * (CELL - RECEIVED)
        for words, times, alive in board.read():
            self.seconds += times[SECONDS]
            self.throttled += times[THROTTLED]
            sums = list(map(add, sums, words[RECEIVED:CELL].tolist()))
            self._add_requests(words[CELL:].tolist())
            if alive and words[PID]:
                self._add_gauges(words, times, now)
        self.received, self.sent, reloads = (
            sums[place - RECEIVED] for place in (RECEIVED, SENT, RELOADS))
        self.restarts = {**dict.fromkeys(RESTARTS, 0), **restarts}
        self.restarts['reload'] += reloads
        self.buckets = sums[BUCKET - RECEIVED:CLOSE - RECEIVED]
        self.closed = dict(zip(CLOSED, sums[CLOSE - RECEIVED:]))
        self.refused = {str(status): count for status, count in enumerate(
            sums[REFUSED - RECEIVED:], 400) if count}

    def _add_requests(self, cells: list[int]) -> None:
        for place in range(0, len(cells) - 1, 2):
            if not cells[place]:
                break
            self.requests[labels_of(cells[place])] += cells[place + 1]

    def _add_gauges(self, words: memoryview, times: memoryview, now: float) -> None:
        slot = words[SLOT]
        for place, phase in enumerate(PHASES, PHASE):
            self.phases[phase] += words[place]
        if times[DUE]:    # (Else it starts.)
            # A loop that stands still has not beaten when it was due.
            lag = max(times[LAG], now - times[DUE], 0.0)
            self.lags[slot] = max(lag, self.lags.get(slot, 0.0))
        if memory := resident_memory(words[PID]):
            self.memory[slot] = memory + self.memory.get(slot, 0)

"""Counting: what one process counts, in its block (layout.py).

Each answer is counted when it ends, each connection too: then and there, in memory that outlives
the process. A timer of the loop, the *beat*, writes the rest. Next to nothing may be done for an
answer, so the sums that need no look-up are kept here as well: to write a word takes half the time
of to read it, add, and write it.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter, deque

from ..server import Request, Response, Server
from ..server.connection import Connection
from ..server.lifetime import Lifetime
from ..server.request_body import RequestBody
from ..typed import Any, Callable
from .layout import (
    BOUNDS,
    BUCKET,
    CELL,
    CELLS,
    CLOSE,
    CLOSED,
    DUE,
    LAG,
    METHODS,
    PHASE,
    PHASES,
    PID,
    RECEIVED,
    REFUSED,
    RELOADS,
    SECONDS,
    SENT,
    SLOT,
    THROTTLED,
    UNSENT,
    key_of,
)

_EVERY = 0.25    # Seconds between two beats: a loop that stands still for longer misses one.
_KEPT = 60       # The lag is the longest of so many beats: 15 s, the usual time between two scrapes.
_LOOK = 1.0      # Seconds until the connections are counted again.
# To count 100,000 connections takes 10 ms. It takes at most this share of the time.
_SHARE = 0.01
_PLACE_OF_REASON = {reason: place for place, reason in enumerate(CLOSED)}


class Counting:
    """Counts what a server does, in a block. All of it is done in the thread of the loop."""

    def __init__(self, server: Server, block: Any, slot: int, reloaded: bool = False) -> None:
        """Count for a server and its parts; `reloaded`: the process has begun anew by itself."""
        view = memoryview(block)
        self._words, self._times = words, times = view.cast('Q'), view.cast('d')
        self._server = server
        # Where the cell of each key is, and of each registered method and status.
        self._cells: dict[int, int] = {}
        self._places: dict[str, dict[int, int]] = {method: {} for method in METHODS[1:]}
        for place in range(CELL, CELL + 2 * CELLS, 2):
            if not words[place]:
                break
            self._cells[words[place]] = place + 1
        # Bodies that go on after their answer has ended, and how much of each is counted.
        self._late: dict[Connection, tuple[RequestBody, int]] = {}
        self._throttled = times[THROTTLED]
        words[PID], words[SLOT], times[DUE], times[LAG] = os.getpid(), slot, 0.0, 0.0
        self._count_phases()
        words[RELOADS] += reloaded
        self._lags: deque[float] = deque(maxlen=_KEPT)
        self._look_at = 0.0    # When the connections are to be looked at again.
        # (The first beat is in the first turn: until then the application starts.)
        self._due = 0.0
        self._timer = server.reactor.call_later(0, self._beat)
        server.request_observers.append(self._observer())
        server.refusal_observers.append(self._refused)
        server.at_close.append(self._closed)

    def _observer(self) -> Callable[[Response, str], None]:
        """Return what counts an answer. Hot. (The variables of a function are the fastest.)"""
        words, times, places, late = self._words, self._times, self._places, self._late
        now, fastest, first = self._server.reactor.time, BOUNDS[0], BUCKET
        seconds, sent = times[SECONDS], words[SENT]

        def ended(response: Response, reason: str) -> None:
            nonlocal seconds, sent
            request, connection = response.request, response.connection
            took = now() - connection.since
            status = response.status
            if reason and not response.framing and reason != 'handler_timeout':
                status = UNSENT
            try:
                place = places[request.method][status]
            except KeyError:
                place = self._place(request.method, status)
            words[place] += 1
            words[first if took <= fastest else first + bisect_left(BOUNDS, took)] += 1
            times[SECONDS] = seconds = seconds + took
            if response.size:
                words[SENT] = sent = sent + response.size
            if late:
                self._count_late(connection)
            if request.has_body:
                self._count_body(request, connection)

        return ended

    # -- requests -------------------------------------------------------------------------------

    def _place(self, method: str, status: int) -> int:
        """Return where an answer is counted, which has no place yet or whose method is 'other'."""
        key = key_of(method, status)
        if key not in self._cells:
            number = min(len(self._cells), CELLS - 1)
            if number == CELLS - 1:
                key = key_of('', UNSENT)
            self._words[CELL + 2 * number] = key
            self._cells[key] = CELL + 2 * number + 1
        place = self._cells[key]
        if method in self._places:
            self._places[method][status] = place
        return place

    def _refused(self, connection: Lifetime, status: int) -> None:
        """Count what was refused before it was a request: nobody knows its method."""
        self._words[self._place('', status)] += 1
        self._words[REFUSED + min(max(status, 400), 599) - 400] += 1

    def _count_body(self, request: Request, connection: Connection) -> None:
        """Count what has come of the body of a request whose answer ends."""
        body = connection.request_body
        if body is None:
            received = getattr(request, 'received', 0)
        else:
            received = body.received
            if not body.done:
                self._late[connection] = body, received
        self._words[RECEIVED] += received

    def _count_late(self, connection: Connection) -> None:
        """Count what was thrown away of the last body: its answer did not want it."""
        if connection in self._late:
            body, counted = self._late.pop(connection)
            self._words[RECEIVED] += body.received - counted

    # -- connections, and the beat --------------------------------------------------------------

    def _closed(self, connection: Connection, reason: str) -> None:
        if self._late:
            self._count_late(connection)
        self._words[CLOSE + _PLACE_OF_REASON.get(reason, len(CLOSED) - 1)] += 1

    def _beat(self) -> None:
        """Write how late we are, and when we will be here again; now and then, what goes on."""
        now, times, server = self._server.reactor.time(), self._times, self._server
        if self._due:
            self._lags.append(now - self._due)
            times[LAG] = max(self._lags)
        held_back = sum(part.held_back for part in {server, *server.parts.values()})
        times[THROTTLED] = max(times[THROTTLED], self._throttled + held_back)
        if now >= self._look_at:
            self._count_phases()
            took = server.reactor.time() - now
            self._look_at = now + max(_LOOK - _EVERY / 2, took / _SHARE)
        self._due = times[DUE] = now + _EVERY
        self._timer.move(self._due)

    def _count_phases(self) -> None:
        found = Counter([each.phase for each in self._server.connections])
        found['arriving'] = len(self._server.arriving)
        for place, phase in enumerate(PHASES, PHASE):
            self._words[place] = found[phase]

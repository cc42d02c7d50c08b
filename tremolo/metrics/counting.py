"""Counting: what one process counts, in its block (layout.py).

Each answer is counted when it ends, or before it is sent, and each connection when it ends: in
memory that outlives the process. A timer of the loop, the *beat*, writes the rest.
"""

from __future__ import annotations

import os
import weakref
from bisect import bisect_left
from collections import Counter, deque
from contextlib import suppress

from ..loop.stream import APART
from ..server import Request, Response, Server
from ..server.connection import Connection
from ..server.lifetime import Lifetime
from ..server.phases import IDLE
from ..server.request_body import RequestBody
from ..server.turn_end import before_sending
from ..typed import Any
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
_KEPT = 60       # The lag is the longest of so many beats: 15 s, as Prometheus asks by default.
_LOOK = 1.0      # Seconds until the connections are counted again.
# To count 100,000 connections takes 10 ms. It takes at most this share of the time.
_SHARE = 0.01
_PLACE_OF_REASON = {reason: place for place, reason in enumerate(CLOSED)}


class Counting:
    """Counts what a server does, in a block. All of it is done in the thread of the loop."""

    def __init__(self, server: Server, block: Any, slot: int, reloaded: bool = False) -> None:
        """Count for a server and its parts; `reloaded`: the process has begun anew by itself."""
        with memoryview(block) as view:
            self._words, self._times = words, times = view.cast('Q'), view.cast('d')
        self._server = server
        # Where the cell of each key is, and of each registered method and status.
        self._cells: dict[int, int] = {}
        self._places: dict[tuple[str, int], int] = {}
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
        self._timer = server.reactor.timers.new(self._beat)
        self._timer.move(server.reactor.time())
        _keep_from_children(self)
        self._observe()
        server.refusal_observers.append(self._refused)
        server.at_close.append(self._closed)

    def _observe(self) -> None:
        """Count each answer from now on. Hot. (The variables of a function are the fastest.)

        The usual answer, of a handler that did not wait, is sent at the end of the turn. It is
        counted just before that, with all others of this turn that are like it (measured: a hello
        world would take twice as many instructions more, each by itself). So its time is the time
        until it is sent, and what a client has got is counted, even if a SIGKILL follows.
        """
        server, reactor, count, late = self._server, self._server.reactor, self._count, self._late
        # What the usual answers of this turn are like, since the last other one.
        line: tuple[int, str | None] = (0, None)
        method, alike, sent = '', 0, 0

        def ended(response: Response, reason: str) -> None:
            nonlocal method, line, alike, sent
            connection = response.connection
            if (connection.phase is IDLE and connection.since is reactor.now
                    and response.given <= APART and reactor.turning):
                request = response.request
                if response.line is not line or request.method != method:
                    count_alike()
                    method, line = request.method, response.line
                alike += 1
                sent += response.given
                if late or request.has_body:
                    self._count_bodies(request, connection)
            else:
                count(response, reason)

        def count_alike() -> None:
            nonlocal alike, sent
            number, size, alike, sent = alike, sent, 0, 0
            if number:
                took = reactor.time() - reactor.now
                self._add(method, line[0], number, took, size)

        before_sending(reactor, count_alike, 'metrics: some answers are not counted')
        server.request_observers.append(ended)

    def _add(self, method: str, status: int, number: int, took: float, size: int) -> None:
        """Count so many answers of `size` bytes together, each of which took so many seconds."""
        words, times = self._words, self._times
        words[self._place(method, status)] += number
        words[BUCKET + bisect_left(BOUNDS, took)] += number
        times[SECONDS] += took * number
        words[SENT] += size

    def _count(self, response: Response, reason: str) -> None:
        """Count any other answer."""
        request, connection, status = response.request, response.connection, response.status
        if reason and not response.framing and reason != 'handler_timeout':
            status = UNSENT
        self._add(request.method, status, 1, self._server.reactor.time() - connection.since,
                  response.size)
        if self._late or request.has_body:
            self._count_bodies(request, connection)

    def forked(self) -> None:
        """Count elsewhere from now on, in a child: the block is that of its parent."""
        with suppress(ValueError):    # (It is closed already.)
            copy = memoryview(bytearray(self._words))
            self._words, self._times = copy.cast('Q'), copy.cast('d')

    def close(self) -> None:
        """Let go of the block: the server has ended, and nothing is counted any more."""
        self._timer.cancel()
        self._words.release()
        self._times.release()

    # -- requests -------------------------------------------------------------------------------

    def _place(self, method: str, status: int) -> int:
        """Return where an answer is counted; only a registered method is found by itself."""
        place = self._places.get((method, status))
        if place is None:
            key = key_of(method, status)
            if key not in self._cells:
                number = min(len(self._cells), CELLS - 1)
                if number == CELLS - 1:
                    key = key_of('', UNSENT)
                self._words[CELL + 2 * number] = key
                self._cells[key] = CELL + 2 * number + 1
            place = self._cells[key]
            if method in METHODS:
                self._places[method, status] = place
        return place

    def _refused(self, connection: Lifetime, status: int) -> None:
        """Count what was refused before it was a request: nobody knows its method."""
        self._words[self._place('', status)] += 1
        self._words[REFUSED + min(max(status, 400), 599) - 400] += 1

    def _count_bodies(self, request: Request, connection: Connection) -> None:
        """Count what has come of the body of a request whose answer ends, and of the last one."""
        if self._late:
            self._count_late(connection)
        if not request.has_body:
            return
        body = connection.request_body
        if body is not None and body.request is not request:
            body = None
        if body is None:
            received = getattr(request, 'received', 0)
        else:
            received = body.size + body.discarded
            if not body.done:
                self._late[connection] = body, received
        self._words[RECEIVED] += received

    def _count_late(self, connection: Connection) -> None:
        """Count what was thrown away of the last body: its answer did not want it."""
        if connection in self._late:
            body, counted = self._late.pop(connection)
            self._words[RECEIVED] += body.size + body.discarded - counted

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


def _keep_from_children(counting: Counting) -> None:
    """Let no process count that the application forks, and that goes on with the loop."""
    # (A function that is registered for forks stays registered: it must not keep the server.)
    this = weakref.ref(counting)

    def leave() -> None:
        if (counting := this()) is not None:
            counting.forked()

    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=leave)

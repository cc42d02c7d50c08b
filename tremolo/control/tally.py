"""Tally: what has to be noted of each connection while it goes on, so that it can be told.

Only with the option `control`. Two things cost something for each request: the answers are counted,
and the last one of each connection is remembered. Its bytes may be on their way long after it was
given, when no handler and no request is left to ask.
"""

from __future__ import annotations

import logging
from collections import deque

from ..server import Response, Server
from ..server.addresses import Addresses, addresses_of
from ..server.connection import Connection
from ..server.notices import shown_request
from ..typed import Any

_log = logging.getLogger('tremolo.server')

_BEAT = 1.0    # Seconds between two looks at how late the loop is.
_BEATS = 10    # Looks that are remembered.


class Seen:
    """What is known of one connection."""

    __slots__ = ('_ends', 'begun', 'last', 'number')

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.begun = now
        self._ends: tuple[Any, Addresses] | None = None
        # The last answer: its request as it is shown, its status, and when the request began.
        self.last: tuple[str, int, float] = '', 0, 0.0

    def ends(self, connection: Connection) -> tuple[Any, Addresses]:
        """Return the other end of the socket, a proxy perhaps, and the addresses that are known."""
        if self._ends is None:
            stream = connection.stream
            # (Not `connection.addresses`: what is kept there is handed over to the next worker.)
            self._ends = stream.peer, connection.known_addresses or addresses_of(stream)
        return self._ends


class Tally:
    """Notes what goes on at a server, and at its parts."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reactor = server.reactor
        self._seen: dict[Connection, Seen] = {}
        self._number = 0
        self._failed = False
        self.requests = 0    # Answers that have ended.
        self._late: deque[float] = deque(maxlen=_BEATS)
        server.at_connect.append(self.seen)
        server.at_close.append(self._closed)
        server.request_observers.append(self._answered)
        self._wait()

    @property
    def lag(self) -> float:
        """How many seconds the loop was late, at most, in the last ten seconds."""
        return max(self._late, default=0.0)

    def seen(self, connection: Connection) -> Seen:
        """Return what is known of a connection."""
        found = self._seen.get(connection)
        if found is None:
            self._number += 1
            found = self._seen[connection] = Seen(self._number, self._reactor.time())
        return found

    def failed(self) -> None:
        """Tell the log of an error, once: somebody may look each second."""
        if not self._failed:
            self._failed = True
            _log.exception('control: a connection could not be told of')

    def _closed(self, connection: Connection, _: str) -> None:
        self._seen.pop(connection, None)

    def _answered(self, response: Response, _: str) -> None:
        self.requests += 1
        found = self._seen.get(response.connection)
        if found is not None:
            found.last = (
                shown_request(response.request), response.status, response.connection.since)

    def _wait(self) -> None:
        self._reactor.call_later(_BEAT, self._beat, self._reactor.time() + _BEAT)

    def _beat(self, due: float) -> None:
        self._late.append(max(0.0, self._reactor.time() - due))
        if not self._server.stopped.done():
            self._wait()

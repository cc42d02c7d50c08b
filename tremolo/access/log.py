"""AccessLog: one line for each answer of a server, at its end.

    AccessLog(server)

It is told of each answer (`Server.request_observers`), and of what was refused before it was a
request (`Server.refusal_observers`). An answer of 101 has its line when its connection ends. What
`health` answers is told to nobody, and has none.

The lines go to a file or to stdout (writer.py); or, if a handler is set on the logger
`tremolo.access` when the server is made, they go there, as records at INFO that have each value as
an attribute, too.
"""

from __future__ import annotations

import logging

from ..server import Response, Server
from ..server.connection import Connection
from ..server.lifetime import Lifetime
from ..typed import Any, Callable
from .lines import Lines
from .writer import STDOUT, LogWriter

_log = logging.getLogger('tremolo.access')

# What the end of a connection is called after an upgrade that ended in good order.
_GOOD = ('', 'done', 'upgraded')


class AccessLog:
    """Writes a line for each answer of a server and of its parts."""

    def __init__(self, server: Server) -> None:
        """Begin. Raises `TremoloError`, one line, if the file cannot be opened."""
        settings = server.settings
        self._server = server
        self._lines = lines = Lines(server.reactor, settings.access_logformat)
        self._values, self._line = lines.values, lines.line
        # Answers of 101: the answer, when its request came, and what had been sent before; None if
        # that is not known.
        self._upgraded: dict[Connection, tuple[Response, float, int | None]] = {}
        self._write: Callable[[bytes], object]
        if _log.handlers:
            lines.want_all()
            self._log_records()
        else:
            writer = LogWriter(server.reactor, settings.access_logfile or STDOUT,
                               shared=bool(settings.workers))
            self._write = writer.write
            server.reactor.at_close.add(writer.close)
        server.at_connect.append(_ask_for_addresses)
        server.at_close.append(self._closed)
        server.request_observers.append(self._ended)
        server.refusal_observers.append(self._refused)

    def _log_records(self) -> None:
        """Make records instead of lines."""
        line = self._line

        def record(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return values

        def write(values: Any) -> None:
            _log.info('%s', line(values)[:-1].decode('ascii'), extra=self._lines.extra(values))

        self._line, self._write = record, write    # type: ignore[assignment]

    def _ended(self, response: Response, reason: str) -> None:
        """Write the line of an answer that has ended. Hot: once for each answer."""
        connection = response.connection
        if reason or response.framing == 'upgraded':
            self._cut(response, reason)
        else:
            self._write(self._line(self._values(
                response, response.status, response.size, '', connection.since)))

    def _cut(self, response: Response, reason: str) -> None:
        """Write the line of an answer that is not whole; or wait for the end of one of 101."""
        connection = response.connection
        stream = connection.stream
        if response.framing == 'upgraded':
            # (A WebSocket has its stream already; of another protocol it ends only now.)
            before = None if stream.receiver in (None, connection) else (
                stream.sent + stream.buffered + stream.unsent)
            self._upgraded[connection] = response, connection.since, before
            return
        status: Any = response.status
        if not response.framing and reason != 'handler_timeout':
            status = self._lines.missing    # No head was sent.
        size = max(0, response.size - stream.buffered)
        self._write(self._line(self._values(response, status, size, reason, connection.since)))

    def _closed(self, connection: Connection, reason: str) -> None:
        """Write the line of an answer of 101, if the connection that has ended had one."""
        if not self._upgraded:
            return
        response, began, before = self._upgraded.pop(connection, (None, 0.0, None))
        if response is not None:
            size: Any = self._lines.missing
            if before is not None:
                size = max(0, connection.stream.sent - before)
            self._write(self._line(self._values(
                response, 101, size, '' if reason in _GOOD else reason, began)))

    def _refused(self, connection: Lifetime, status: int) -> None:
        """Write the line of what was refused before it was a request."""
        self._write(self._line(self._lines.refused(
            connection.addresses[0], status, connection.reason, self._server.heads.refused)))


def _ask_for_addresses(connection: Connection) -> None:
    """Ask the socket while it is open: a client that is cut has none any more."""
    assert connection.addresses is not None

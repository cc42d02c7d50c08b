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

import json
import logging

from ..server import Response, Server
from ..server.connection import Connection
from ..server.lifetime import Lifetime
from ..typed import Any
from .log_file import STDOUT, cut_json, cut_plainly
from .parts import lines_of
from .writer import LogWriter

_log = logging.getLogger('tremolo.access')

# What the end of a connection is called after an upgrade that ended in good order.
_GOOD = ('done', 'upgraded')


class AccessLog:
    """Writes a line for each answer of a server and of its parts."""

    def __init__(self, server: Server) -> None:
        """Begin. Raises `LogError`, one line, if the file cannot be opened."""
        settings = server.settings
        self._server = server
        self._lines = lines = lines_of(server.reactor, settings.access_logformat)
        # Answers of 101: the answer, when its request came, and what had been sent before; None if
        # that is not known.
        self._upgraded: dict[Connection, tuple[Response, float, int | None]] = {}
        self._records = bool(_log.handlers)
        if self._records and _log.level == logging.NOTSET:
            _log.setLevel(logging.INFO)    # (`--log-level warning` is for other messages.)
        if not self._records:
            writer = LogWriter(server.reactor, settings.access_logfile or STDOUT,
                               shared=bool(settings.workers),
                               cut=cut_json if lines.is_json else cut_plainly)
            lines.writer = writer
            server.at_end = self._end
        server.at_connect.append(_ask_for_addresses)
        server.at_close.append(self._closed)
        lines.unusual = self._unusual
        server.request_observers.append(self._unusual if self._records else lines.observer())
        server.refusal_observers.append(self._refused)

    def _unusual(self, response: Response, reason: str) -> None:
        """Write the line of an answer, whole or not; one of 101 has to wait for its end."""
        connection = response.connection
        stream = connection.stream
        if response.framing == 'upgraded':
            # (A WebSocket has its stream already; of another protocol it ends only now.)
            before = None if stream.receiver in (None, connection) else (
                stream.sent + stream.buffered + stream.unsent)
            self._upgraded[connection] = response, connection.since, before
            return
        status: int | None = response.status
        size: int | None = max(0, response.size - (stream.buffered if reason else 0))
        if not response.head_sent:
            # No status was sent; but after `handler_timeout` the server answers instead.
            status, size = (503, None) if reason == 'handler_timeout' else (None, 0)
        self._put(self._lines.values(response, status, size, reason, connection.since))

    def _closed(self, connection: Connection, reason: str) -> None:
        """Write the line of an answer of 101, if the connection that has ended had one."""
        if connection in self._upgraded:
            response, began, before = self._upgraded.pop(connection)
            size = None if before is None else max(0, connection.stream.sent - before)
            self._put(self._lines.values(
                response, 101, size, '' if reason in _GOOD else reason, began))

    def _refused(self, connection: Lifetime, status: int) -> None:
        """Write the line of what was refused before it was a request."""
        self._put(self._lines.refused(
            connection.addresses[0], status, connection.reason, self._server.heads.refused))

    def _end(self) -> None:
        self._lines.tell()
        self._lines.writer.close()

    def _put(self, values: dict[str, Any]) -> None:
        """Write the line of these values, or make a record of them."""
        line = self._lines.line(values)
        if self._records:
            if self._lines.is_json:
                values = {name: _plain(value) for name, value in values.items()}
            _log.info('%s', line[:-1].decode('ascii'), extra=values)
        else:
            self._lines.writer.write(line)


def _plain(value: Any) -> Any:
    """Return a value that is written as JSON as it is in the other formats."""
    if value == 'null':
        return '-'
    return json.loads(value) if isinstance(value, str) and value[:1] == '"' else value


def _ask_for_addresses(connection: Connection) -> object:
    """Ask the socket while it is open: a client that is cut has none any more."""
    return connection.addresses

"""Lines: what a line of the access log says, by the format that was asked for.

    127.0.0.1 - - [30/Nov/2026:10:19:03 +0000] "GET / HTTP/1.1" 200 12 "-" "curl/8.5.0"

A client chooses most of a line, so nothing of it is written as it came: `"`, `\\` and all bytes
outside 20-7E are escapes, `\\xNN`, in JSON `\\u00NN`. So a line has no other bytes than printable
ASCII and the line feed at its end. (A target is shown as it came, percent-encoded.)

Any line can be made of the values by their names (`values`, `line`). The line of a whole answer is
put together of larger parts where its format is known here, `combined` and `json` (parts.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timezone

from ..escaped import field_form
from ..http.response import MONTHS
from ..loop import Reactor
from ..server import Response
from ..settings.access_format import NAMES
from ..typed import Any, Callable
from .writer import LogWriter

# Escaped values that were seen before: most requests have the User-Agent of another one. They are
# at most 1,024 of at most 256 bytes; a full dictionary is emptied. What may hold a secret is never
# kept: a value with a query, or with a `@` (a password in a URL).
MOST_KEPT = 1024
_LONGEST_KEPT = 256
_SECOND = 1.0    # As long as a line's time is true.


def may_keep(value: bytes | str) -> bool:
    """Return whether a text that a client sent may be kept for others."""
    if isinstance(value, bytes):
        return len(value) <= _LONGEST_KEPT and value.find(b'?') < 0 and value.find(b'@') < 0
    return len(value) <= _LONGEST_KEPT and '?' not in value and '@' not in value


class Lines:
    """Makes the lines of one access log, by a template."""

    is_json = False
    missing = '-'    # What stands for a value that is not there.

    def __init__(self, reactor: Reactor, template: str, names: Iterable[str]) -> None:
        """Prepare for a template of the operator %, and the names whose values it takes."""
        self.reactor = reactor
        self.writer: LogWriter    # Takes the lines.
        # What writes the line of an answer that may not be whole.
        self.unusual: Callable[[Response, str], None]
        self._template = template + '\n'
        self._names = tuple(names)
        self.pid = os.getpid()
        self._escaped = field_form(self.is_json)
        self.texts: dict[Any, str] = {}
        self._time = ''
        self.until = -1.0    # The time of the reactor at which the second is over.

    def tell(self) -> None:
        """Write what is known and not written yet."""

    def observer(self) -> Callable[[Response, str], None]:
        """Return what writes the line of each answer that has ended."""
        return self.unusual

    def values(self, response: Response, status: int | None, size: int | None, reason: str,
               began: float) -> dict[str, Any]:
        """Return the values of an answer by their names, as they are written."""
        request, text, missing = response.request, self.text, self.missing
        addresses = request.forwarded or request.connection.known_addresses
        client = addresses[0] if addresses is not None else None
        fields = dict(request.fields)
        query = request.query_string if b'?' in request.target else None
        return {
            'time': self.time(), 'client': text(client and client[0]),
            'method': text(request.method), 'target': text(request.target),
            'path': text(request.raw_path), 'query': text(query),
            'protocol': text(f'HTTP/1.{request.minor}'),
            'status': missing if status is None else status,
            'bytes': missing if size is None else size,
            'ms': f'{(self.reactor.time() - began) * 1000:.3f}',
            'host': text(request.authority), 'scheme': text(request.scheme),
            'referer': text(fields.get(b'referer')),
            'user_agent': text(fields.get(b'user-agent')),
            'request_id': self.quoted(request.id) if request.mark else missing,
            'reason': text(reason or None), 'pid': self.pid}

    def refused(self, client: Any, status: int, reason: str, mark: bytes) -> dict[str, Any]:
        """Return the values of an answer to what is no request."""
        values: dict[str, Any] = dict.fromkeys(NAMES, self.missing)
        values.update(time=self.time(), client=self.text(client and client[0]), status=status,
                      reason=self.text(reason), pid=self.pid)
        if mark:
            values['request_id'] = self.quoted(mark[14:-2].decode('ascii'))
        return values

    def line(self, values: dict[str, Any]) -> bytes:
        """Return the line of these values, with its line feed."""
        return (self._template % tuple([values[name] for name in self._names])).encode('ascii')

    # -- texts ------------------------------------------------------------------------------------

    def text(self, value: bytes | str | None) -> str:
        """Return a value as it is written, escaped, and keep it if it may be kept."""
        if isinstance(value, bytes):
            value = value.decode('latin-1')    # (A key of each kind would be compared: see -bb.)
        found = self.texts.get(value)
        if found is None:
            if value is None:
                return self.missing
            found = self.quoted(self._escaped(value)) or self.missing
            if may_keep(value):
                if len(self.texts) >= MOST_KEPT:
                    self.texts.clear()
                self.texts[value] = found
        return found

    def quoted(self, text: str) -> str:
        """Return a text that is escaped as a value."""
        return f'"{text}"' if self.is_json else text

    def time(self) -> str:
        """Return the second of the clock as it is written; it is made when it is asked for."""
        if self.reactor.now >= self.until:
            wall = self.reactor.wall_clock()
            when = datetime.fromtimestamp(wall, timezone.utc)
            if self.is_json:
                self._time = f'"{when:%Y-%m-%dT%H:%M:%SZ}"'
            else:
                self._time = f'{when.day:02}/{MONTHS[when.month - 1]}/{when:%Y:%H:%M:%S} +0000'
            self.until = self.reactor.now + _SECOND - wall % 1.0
        return self._time

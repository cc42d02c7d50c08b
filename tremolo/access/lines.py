"""Lines: what a line of the access log says, by the format that was asked for.

    127.0.0.1 - - [30/Nov/2026:10:19:03 +0000] "GET / HTTP/1.1" 200 12 "-" "curl/8.5.0"

A client chooses most of a line, so nothing of it is written as it came: `"`, `\\` and all bytes
outside 20-7E are escapes, `\\xNN`, in JSON `\\u00NN`. There is no other byte in a line than printable
ASCII and the line feed at its end. (A target is shown as it came, percent-encoded.)

Any line can be made of the values by their names (`values`, `line`). The line of a whole answer is
made in one step where its format is known here, `combined` and `json`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from datetime import datetime, timezone

from ..http.response import MONTHS
from ..loop import Reactor
from ..server import Response
from ..server.response import told_of
from ..settings.access_format import COMBINED, JSON, NAMES, read_format
from ..typed import Any
from .log_file import plainly_cut

_UNSAFE = re.compile(r'[^ !#-\[\]-~]')

# Escaped values that were seen before: most requests have the User-Agent of another one. They are
# at most 1,024 of at most 256 bytes; a full dictionary is emptied. What may hold a secret is never
# kept: a value with a query, or with a `@` (a password in a URL).
_MOST_KEPT = 1024
_LONGEST_KEPT = 256


class Lines:
    """Makes the lines of one access log, by a template."""

    missing = '-'    # What stands for a value that is not there.

    def __init__(self, reactor: Reactor, template: str, names: Iterable[str]) -> None:
        """Prepare for a template of the operator %, and the names whose values it takes."""
        self.now = reactor.time
        self._reactor = reactor
        self._template = template + '\n'
        self._names = tuple(names)
        self._pid = os.getpid()
        # (`known(x) or text(x)`: to find a text is no call of ours.)
        self._texts: dict[Any, str] = {}
        self.known = self._texts.get
        self._forget()
        self.second = ''    # The second of the clock, as it is written.
        self.second_ends = -1.0    # The time of the reactor at which it is over.

    # -- lines ------------------------------------------------------------------------------------

    def whole(self, response: Response) -> bytes:
        """Return the line of an answer that is whole. Hot: once for each answer."""
        return self.line(self.values(
            response, response.status, response.size, '', response.connection.since))

    def values(self, response: Response, status: int | None, size: int | None, reason: str,
               began: float) -> dict[str, Any]:
        """Return the values of an answer by their names, as they are written."""
        request, text, missing = response.request, self.text, self.missing
        client, referer, agent = self.of(response)
        query = request.query_string if b'?' in request.target else None
        return {
            'time': self.time(), 'client': client, 'method': text(request.method),
            'target': text(request.target), 'path': text(request.raw_path), 'query': text(query),
            'protocol': text(request.minor), 'status': missing if status is None else status,
            'bytes': missing if size is None else size,
            'ms': f'{(self.now() - began) * 1000:.3f}', 'host': text(request.authority),
            'scheme': text(request.scheme), 'referer': referer, 'user_agent': agent,
            'request_id': self.written(request.id) if request.mark else missing,
            'reason': text(reason or None), 'pid': self._pid}

    def refused(self, client: Any, status: int, reason: str, mark: bytes) -> dict[str, Any]:
        """Return the values of an answer to what is no request."""
        values: dict[str, Any] = dict.fromkeys(NAMES, self.missing)
        values.update(time=self.time(), client=self.text(client and client[0]), status=status,
                      reason=self.text(reason), pid=self._pid)
        if mark:
            values['request_id'] = self.written(mark[14:-2].decode('ascii'))
        return values

    def line(self, values: dict[str, Any]) -> bytes:
        """Return the line of these values, with its line feed."""
        return (self._template % tuple([values[name] for name in self._names])).encode('ascii')

    def cut(self, line: bytes, most: int) -> bytes:
        """Return a line shorter that is too long for a pipe which workers share."""
        return plainly_cut(line, most)

    # -- values -----------------------------------------------------------------------------------

    def of(self, response: Response) -> tuple[str, str, str]:
        """Return who asked: the client, the referer and the user agent. Hot."""
        request, known, text = response.request, self.known, self.text
        addresses, block = request.forwarded or request.connection.known_addresses, request.block
        client = addresses[0] if addresses is not None else None
        if client is not None:    # (None on a UNIX socket.)
            client = client[0]
        fields = dict(block if type(block) is list else request.fields)
        referer, agent = fields.get(b'referer'), fields.get(b'user-agent')
        return (known(client) or text(client), known(referer) or text(referer),
                known(agent) or text(agent))

    def text(self, value: bytes | str | int | None) -> str:
        """Return a value as it is written, escaped, and keep it if it may be kept."""
        found = self.known(value)
        if found is None:
            raw = value.decode('latin-1') if isinstance(value, bytes) else str(value)
            found = self.written(_UNSAFE.sub(self.escape, raw)) or self.missing
            if len(raw) <= _LONGEST_KEPT and '?' not in raw and '@' not in raw:
                if len(self._texts) >= _MOST_KEPT:
                    self._forget()
                self._texts[value] = found
        return found

    def _forget(self) -> None:
        self._texts.clear()
        # (0 and 1 are the minor versions.)
        self._texts.update({None: self.missing, 0: self.written('HTTP/1.0'),
                            1: self.written('HTTP/1.1')})

    def written(self, text: str) -> str:
        """Return escaped text as a value."""
        return text

    def escape(self, found: re.Match[str]) -> str:
        """Return what is written for a character."""
        return f'\\x{ord(found[0]):02X}'

    def time(self) -> str:
        """Return the second of the clock as it is written; it is made when it is asked for."""
        if self._reactor.now >= self.second_ends:
            wall = self._reactor.wall_clock()
            self.second = self.written_time(datetime.fromtimestamp(wall, timezone.utc))
            self.second_ends = self._reactor.now + 1.0 - wall % 1.0
        return self.second

    def written_time(self, when: datetime) -> str:
        """Return a time as it is written."""
        return f'{when.day:02}/{MONTHS[when.month - 1]}/{when:%Y:%H:%M:%S} +0000'


class Combined(Lines):
    """Makes the lines of the format `combined`."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor, *read_format(COMBINED))

    def whole(self, response: Response) -> bytes:
        """Return the line of an answer that is whole. Hot: once for each answer."""
        request, known, text = response.request, self.known, self.text
        client, referer, agent = self.of(response)
        method, target, (line, size) = request.method, request.target, told_of(response)
        return (f'{client} - - [{self.time()}] "{known(method) or text(method)} '
                f'{known(target) or text(target)} {known(request.minor)}" '
                f'{line[0]} {size} "{referer}" "{agent}"\n').encode('ascii')


class JsonLines(Lines):
    """Makes the lines of the format `json`."""

    missing = 'null'

    def __init__(self, reactor: Reactor) -> None:
        places = ','.join(f'"{name}":%s' for name in JSON)
        super().__init__(reactor, f'{{{places}}}', JSON)

    def whole(self, response: Response) -> bytes:
        """Return the line of an answer that is whole. Hot: once for each answer."""
        request, known, text = response.request, self.known, self.text
        client, referer, agent = self.of(response)
        method, target, (line, size) = request.method, request.target, told_of(response)
        ms = (self.now() - response.connection.since) * 1000
        return (f'{{"time":{self.time()},"client":{client},"method":{known(method) or text(method)}'
                f',"target":{known(target) or text(target)},"protocol":{known(request.minor)}'
                f',"status":{line[0]},"bytes":{size},"ms":{ms:.3f}'
                f',"referer":{referer},"user_agent":{agent}'
                f',"request_id":{self.written(request.id) if request.mark else "null"}'
                f',"reason":null,"pid":{self._pid}}}\n').encode('ascii')

    def written(self, text: str) -> str:
        """Return escaped text as a value."""
        return f'"{text}"'

    def cut(self, line: bytes, most: int) -> bytes:
        """Return the line with its longest values cut, so that it has `most` bytes."""
        values = json.loads(line)
        while len(line) > most:
            name = max(values, key=lambda name: len(str(values[name])))
            text = values[name]
            values[name] = text[:max(0, len(text) - (len(line) - most) - 3)] + '...'
            line = json.dumps(values, separators=(',', ':')).encode('ascii') + b'\n'
        return line

    def escape(self, found: re.Match[str]) -> str:
        """Return what is written for a character."""
        return f'\\u{ord(found[0]):04x}'

    def written_time(self, when: datetime) -> str:
        """Return a time as it is written."""
        return f'"{when:%Y-%m-%dT%H:%M:%SZ}"'


def lines_of(reactor: Reactor, form: str) -> Lines:
    """Return what makes the lines of a format: `combined`, `json`, or a template."""
    if form == 'combined':
        return Combined(reactor)
    if form == 'json':
        return JsonLines(reactor)
    return Lines(reactor, *read_format(form))

"""Lines: what a line of the access log says, by the format that was asked for.

All formats are one: a text with places for values, and the names of these values
(settings/access_format.py). JSON quotes its values, and writes null for `-`.

    127.0.0.1 - - [30/Nov/2026:10:19:03 +0000] "GET / HTTP/1.1" 200 12 "-" "curl/8.5.0"

A client chooses most of a line, so nothing of it is written as it came: `"`, `\\` and all bytes
outside 20-7E are escapes, `\\xNN`, in JSON `\\u00NN`. There is no other byte in a line than printable
ASCII and the line feed at its end. (A target is shown as it came, percent-encoded.)
"""

from __future__ import annotations

import os
import re
from operator import itemgetter

from ..http.response import MONTHS
from ..loop import Reactor
from ..server import Response
from ..settings.access_format import COMBINED, JSON, NAMES, read_format
from ..typed import Any

# The order in which values are collected; those behind `pid` are worked out for a template only.
_USUAL = ('time', 'client', 'method', 'target', 'protocol', 'status', 'bytes', 'ms', 'referer',
          'user_agent', 'request_id', 'reason', 'pid')
_RARE = ('path', 'query', 'host', 'scheme')
ORDER = _USUAL + _RARE

_UNSAFE = re.compile(r'[^ !#-\[\]-~]')

# Escaped values that were seen before: most requests have the User-Agent of another one. They are
# at most 1,024 of at most 256 bytes; a full dictionary is emptied. What may hold a secret is never
# kept: a value with a query, or with a `@` (a password in a URL).
_MOST_KEPT = 1024
_LONGEST_KEPT = 256


class Lines:
    """Makes the lines of one access log."""

    def __init__(self, reactor: Reactor, form: str) -> None:
        """Prepare for a format: `combined`, `json`, or a template that was checked."""
        self._reactor = reactor
        self._is_json = form == 'json'
        if self._is_json:
            places = ','.join(f'"{name}":%s' for name in JSON)
            self._template, names = f'{{{places}}}\n', JSON
        else:
            template, names = read_format(COMBINED if form == 'combined' else form)
            self._template = template + '\n'
        self._pick = itemgetter(*map(ORDER.index, names))
        self._wants_ms = 'ms' in names
        self._wants_rare = not {*names}.isdisjoint(_RARE)
        self.missing = 'null' if self._is_json else '-'
        self._pid = str(os.getpid())
        self._kept: dict[Any, str] = {}
        self._known = self._kept.get    # (The texts of these values; `_text` adds them.)
        self._forget()
        self._time = ''
        self._until = -1.0    # The time of the reactor at which the second is over.

    def want_all(self) -> None:
        """Collect all values from now on, for records."""
        self._wants_ms = self._wants_rare = True

    # -- values -----------------------------------------------------------------------------------

    def values(self, response: Response, status: Any, size: Any, reason: str,
               began: float) -> tuple[Any, ...]:
        """Return the values of an answer in `ORDER`. Hot: once for each answer."""
        request, known, text = response.request, self._known, self._text
        if self._reactor.now >= self._until:
            self._make_time()
        addresses = request.forwarded or request.connection.known_addresses
        client = addresses and addresses[0]
        client = client and client[0]    # (None on a UNIX socket.)
        method, target, block = request.method, request.target, request.block
        fields = dict(block if type(block) is list else request.fields)
        referer, agent = fields.get(b'referer'), fields.get(b'user-agent')
        values = (
            self._time, known(client) or text(client), known(method) or text(method),
            known(target) or text(target), known(request.minor), status, size,
            f'{(self._reactor.time() - began) * 1000:.3f}' if self._wants_ms else '',
            known(referer) or text(referer), known(agent) or text(agent),
            self._plain(request.id) if request.mark else self.missing,
            self._plain(reason) if reason else self.missing, self._pid)
        if self._wants_rare:
            query = request.query_string if b'?' in target else None
            values += (text(request.raw_path), text(query), text(request.authority),
                       text(request.scheme if addresses else None))
        return values

    def refused(self, client: Any, status: int, reason: str, mark: bytes) -> tuple[Any, ...]:
        """Return the values of an answer to what is no request."""
        if self._reactor.now >= self._until:
            self._make_time()
        values = dict.fromkeys(ORDER, self.missing)
        values.update(time=self._time, client=self._text(client and client[0]),
                      status=str(status), reason=self._plain(reason), pid=self._pid)
        if mark:
            values['request_id'] = self._plain(mark[14:-2].decode('ascii'))
        return tuple(values.values())

    def line(self, values: tuple[Any, ...]) -> bytes:
        """Return the line of these values, with its line feed. Hot."""
        return (self._template % self._pick(values)).encode('ascii')

    def extra(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return these values by name, for a record."""
        return dict(zip(ORDER, values))

    # -- texts ------------------------------------------------------------------------------------

    def _plain(self, text: str) -> str:
        """Return what needs no escape as it is written."""
        return f'"{text}"' if self._is_json else text

    def _text(self, value: bytes | str | None) -> str:
        """Return a value as it is written, escaped, and keep it if it may be kept."""
        found = self._known(value)
        if found is None:
            raw = value.decode('latin-1') if isinstance(value, bytes) else str(value)
            found = self._plain(_UNSAFE.sub(self._escape, raw)) or self.missing
            if len(raw) <= _LONGEST_KEPT and '?' not in raw and '@' not in raw:
                if len(self._kept) >= _MOST_KEPT:
                    self._forget()
                self._kept[value] = found
        return found

    def _escape(self, found: re.Match[str]) -> str:
        code = ord(found[0])
        return f'\\u{code:04x}' if self._is_json else f'\\x{code:02X}'

    def _forget(self) -> None:
        self._kept.clear()
        self._kept.update({None: self.missing, 1: self._plain('HTTP/1.1'),
                           0: self._plain('HTTP/1.0')})

    def _make_time(self) -> None:
        """Write the second of the clock: once a second, and only when a line needs it."""
        from datetime import datetime, timezone
        wall = self._reactor.wall_clock()
        when = datetime.fromtimestamp(wall, timezone.utc)
        if self._is_json:
            self._time = f'"{when:%Y-%m-%dT%H:%M:%SZ}"'
        else:
            self._time = f'{when.day:02}/{MONTHS[when.month - 1]}/{when:%Y:%H:%M:%S} +0000'
        self._until = self._reactor.now + 1.0 - wall % 1.0

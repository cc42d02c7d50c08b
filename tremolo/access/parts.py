"""Parts: the lines of `combined` and `json`, put together of parts that were made before.

    client          b'127.0.0.1'                        by its address
    the second      b' - - [30/Nov/2026:10:19:03 +0000] "'
    what was asked  b'GET / HTTP/1.1" '                 by method, target and version
    status, size    200 and 12
    the tail        b' "-" "curl/8.5.0"\n'             by the lines with which the head begins

A busy server answers much alike in one turn: the same to the same address, asked for by heads that
begin with the same lines. Such answers are counted, and their line is written so many times at the
end of the turn, just before they are sent. (The milliseconds of `json` are the time until then.)
Measured, of a request with 45,700 instructions: 3,500 for a line of 64 that are alike, which is all
that the log costs, and 3,900 in `json`; 9,000 for one alone.

The dictionaries have bounds as that of the values (lines.py), and keep nothing that may be secret.

To look for Referer and User-Agent in all fields would take 6,000 instructions. Most heads begin
with the same lines as others (http/leads.py): the tail of these is known, and only fields behind
them are looked at.
"""

from __future__ import annotations

from ..loop import Reactor
from ..server import Request, Response
from ..server.turn_end import before_sending
from ..settings.access_format import COMBINED, JSON, read_format
from ..typed import Any, Callable
from .lines import MOST_KEPT, Lines, may_keep

_TOLD = frozenset((b'referer', b'user-agent'))


class Memo(dict):  # type: ignore[type-arg]
    """Has the parts that were made before, and makes others; `make` returns whether to keep one."""

    def __init__(self, make: Callable[[Any], tuple[Any, bool]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> Any:
        part, keep = self._make(key)
        if keep:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[key] = part
        return part


class _Parts(Lines):
    """Makes lines of parts."""

    def __init__(self, reactor: Reactor, template: str, names: Any) -> None:
        super().__init__(reactor, template, names)
        self.clients = Memo(self._client)
        self.asked = Memo(self._asked)
        # By lead: how many fields it has, and the tail of a head that has no others.
        self.tails = Memo(lambda lead: ((len(lead.said[0]), self._tail(dict(lead.said[0]))), True))
        self.second = b''

    def observer(self) -> Callable[[Response, str], None]:
        """Return what is told of each answer that has ended. Hot: once for each answer.

        (A closure: its variables cost less than attributes.)
        """
        reactor, tails, write = self.reactor, self.tails, self.writer.write
        # The answers since the last line: what all of them are like, how many, and their parts.
        target: Any
        target = method = line = lead = host = parts = None
        minor = given = count = -1
        number, since, ends = 0, -1.0, -1.0

        def ended(response: Response, reason: str) -> None:
            nonlocal target, method, minor, line, given, host, lead, count
            nonlocal parts, number, since, ends
            request, connection = response.request, response.connection
            addresses: Any = request.forwarded or connection.known_addresses
            client = addresses[0]
            if (request.target is target and connection.since is since and response.line is line
                    and response.given == given and connection.parser.lead is lead
                    and len(request.block) == count and request.method is method
                    and request.minor == minor and (client and client[0]) == host and not reason):
                number += 1
                return
            if number:
                tell()
            if reason or response.framing == 'upgraded':
                self.unusual(response, reason)
                return
            if reactor.now >= ends:
                self.second = self.second_of(self.time()).encode('ascii')
                ends = self.until
            target, method, minor = request.target, request.method, request.minor
            line, given, host = response.line, response.given, client and client[0]
            lead, since, number = connection.parser.lead, connection.since, 1
            count, tail = tails[lead]
            if count != len(request.block):
                # (So the next answer cannot be known to be like it.)
                lead, tail = None, self.longer_tail(request, count, tail)
            if request.mark is not None:
                lead, tail = None, self.with_id(tail, request.id)
            parts = (self.clients[host], self.asked[method, target, minor], line[0], given, tail)

        def tell() -> None:
            """Write the line, as often as there were such answers."""
            nonlocal target, number
            if number:
                # (What ends in another turn may have another second.)
                target, times, number = None, number, 0
                write(self.joined(parts, since) * times)

        self.tell = tell    # type: ignore[method-assign]
        before_sending(reactor, tell, 'access log: some answers have no line')
        return ended

    # What a format has: the parts as text.

    def second_of(self, time: str) -> str:
        """Return the part with the second of the clock."""
        raise NotImplementedError

    def asked_of(self, method: str, target: str, protocol: str) -> str:
        """Return the part with what was asked."""
        raise NotImplementedError

    def tail_of(self, referer: str, agent: str) -> str:
        """Return the part with what the fields say."""
        raise NotImplementedError

    # How a part is made, and whether it may be kept.

    def joined(self, parts: Any, since: float) -> bytes:
        """Put the parts together: a line."""
        raise NotImplementedError

    def with_id(self, tail: bytes, request_id: str) -> bytes:
        """Return a tail with the id of a request, in a format that has one."""
        return tail

    def _client(self, host: str | None) -> tuple[bytes, bool]:
        return self.text(host).encode('ascii'), True

    def _asked(self, asked: tuple[str, bytes, int]) -> tuple[bytes, bool]:
        method, target, minor = asked
        part = self.asked_of(self.text(method), self.text(target), self.quoted(f'HTTP/1.{minor}'))
        return part.encode('ascii'), may_keep(target) and may_keep(method)

    def _tail(self, fields: dict[bytes, bytes]) -> bytes:
        return self.tail_of(self.text(fields.get(b'referer')),
                            self.text(fields.get(b'user-agent'))).encode('ascii')

    def longer_tail(self, request: Request, count: int, tail: bytes) -> bytes:
        """Return the tail of a head that has more fields than its lead, whose tail is given."""
        block = request.block
        if type(block) is list and not any(name in _TOLD for name, _ in block[count:]):
            return tail
        return self._tail(dict(request.fields))


class Combined(_Parts):
    """Makes the lines of the format `combined`."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor, *read_format(COMBINED))

    def line(self, values: dict[str, Any]) -> bytes:
        """Return the line of these values; what was refused asked for nothing: `"-"`."""
        line = super().line(values)
        return line if values['protocol'] != '-' else line.replace(b'"- - -"', b'"-"', 1)

    def joined(self, parts: Any, since: float) -> bytes:
        """Put the parts together: a line."""
        client, asked, status, size, tail = parts
        return b'%s%s%s%d %d%s' % (client, self.second, asked, status, size, tail)

    def second_of(self, time: str) -> str:
        """Return the part with the second of the clock."""
        return f' - - [{time}] "'

    def asked_of(self, method: str, target: str, protocol: str) -> str:
        """Return the part with what was asked."""
        return f'{method} {target} {protocol}" '

    def tail_of(self, referer: str, agent: str) -> str:
        """Return the part with what the fields say."""
        return f' "{referer}" "{agent}"\n'


class JsonLines(_Parts):
    """Makes the lines of the format `json`."""

    is_json = True
    missing = 'null'

    def __init__(self, reactor: Reactor) -> None:
        places = ','.join(f'"{name}":%s' for name in JSON)
        super().__init__(reactor, f'{{{places}}}', JSON)
        self._end = b',"request_id":null,"reason":null,"pid":%d}\n' % self.pid

    def joined(self, parts: Any, since: float) -> bytes:
        """Put the parts together: a line."""
        client, asked, status, size, tail = parts
        return b'%s%s%s%d,"bytes":%d,"ms":%.3f%s' % (
            self.second, client, asked, status, size, (self.reactor.time() - since) * 1000, tail)

    def with_id(self, tail: bytes, request_id: str) -> bytes:
        """Return a tail with the id of a request."""
        return tail[:-len(self._end)] + self._end.replace(
            b'null', b'"%s"' % request_id.encode('ascii'), 1)

    def second_of(self, time: str) -> str:
        """Return the part with the second of the clock."""
        return f'{{"time":{time},"client":'

    def asked_of(self, method: str, target: str, protocol: str) -> str:
        """Return the part with what was asked."""
        return f',"method":{method},"target":{target},"protocol":{protocol},"status":'

    def tail_of(self, referer: str, agent: str) -> str:
        """Return the part with what the fields say."""
        return f',"referer":{referer},"user_agent":{agent}{self._end.decode("ascii")}'


def lines_of(reactor: Reactor, form: str) -> Lines:
    """Return what makes the lines of a format: `combined`, `json`, or a template."""
    if form == 'combined':
        return Combined(reactor)
    if form == 'json':
        return JsonLines(reactor)
    return Lines(reactor, *read_format(form))

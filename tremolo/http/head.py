"""Head: the meaning of the head of a request (RFC 9112 sections 3, 6.3 and 9, RFC 9110).

`read_head` is given a head as it came, without the empty line at its end. It returns a
`RequestHead`, or refuses a head with a wrong meaning: a target that does not fit the method, no
host or two hosts, a body whose size is in doubt. Requests are smuggled past a proxy by heads that
two servers understand differently (RFC 9112 section 11.2), so nothing is guessed. If there are
several faults, the first in this order counts:

    the form of the target 400, CONNECT 501; a repeated field 400 (repeated.py); Host 400; framing
    400 or 501; Expect 417

Mostly a head begins with the same lines as the last one of its connection: they were read then
(leads.py). Of the others most were seen before, in another request: one look-up gives what such a
line consists of. A line that is new is checked, and split. (An expression for all of a head at
once, and its fields, took 1.5 times the instructions for 3 fields, and 2.4 times for 12.)
"""

from __future__ import annotations

from ..typed import Optional
from .authority import hosts, read_authority, read_host
from .errors import ProtocolError, shown
from .faults import refuse_coding
from .fields import Malformed, known_field, read_field
from .grammar import CONTENT_LENGTH, REQUEST_LINE, RULING, SINGLE
from .repeated import keep_first

# What a request line says: the method, the target, the minor version, and whether the target is a
# path, as that of nearly all requests is.
_RequestLine = tuple[str, bytes, int, bool]
# The lines of ordinary requests: a path without a query. A path may be a secret, as a link to set a
# new password is: there are at most 256 lines of at most 64 bytes; a full dictionary is emptied.
request_lines: dict[bytes, _RequestLine] = {}
_MOST_LINES = 256
_LONGEST_LINE = 64
_known_line = request_lines.get
_known_host = hosts.get
_LARGE = 4096    # Bytes. A larger head is kept as one object until `fields` is read.


# What lines say: the fields, the values of Host and Connection (None if there is none), and whether
# there is another field of `RULING`, or one of these two again.
Said = tuple[list[tuple[bytes, bytes]], Optional[bytes], Optional[bytes], bool]


class Lead:
    """The first lines of a head. (leads.py tells how a connection comes to know some.)"""

    __slots__ = ('back', 'most', 'said', 'text', 'whole')

    def __init__(self, text: bytes, said: Said) -> None:
        self.text = text    # the lines, each with its CRLF
        self.said = said
        # What follows the request line of a head that has no other lines, and its place, counted
        # from the end; how long such a head is at most to be looked for.
        self.whole = b'\r\n%b\r\n' % text
        self.back = -len(self.whole)
        self.most = len(self.whole) + _LONGEST_LINE if text else -1


NO_LINES = Lead(b'', ([], None, None, False))    # Every head begins with no lines.


class RequestHead:
    """The request line and header fields of one request, and what they say about the body."""

    # (`read_head` sets the attributes: an `__init__` would take 0.1 us for each request.)
    __slots__ = ('authority', 'block', 'chunked', 'content_length', 'expect_continue', 'has_body',
                 'keep_alive', 'method', 'minor', 'target', 'upgrade')

    method: str                   # as sent: methods are case-sensitive
    target: bytes                 # as sent, not decoded
    minor: int                    # the minor version: HTTP/1.0 or HTTP/1.1
    keep_alive: bool              # the client allows another request (RFC 9112 section 9.3)
    # Host and port in lower case: from the target if it has them, else from the Host field (RFC
    # 9112 section 3.2.2). None if a request of HTTP/1.0 has neither.
    authority: bytes | None
    content_length: int | None
    chunked: bool
    has_body: bool                # the body is chunked, or its size is not 0
    expect_continue: bool         # the client waits for 100 Continue before it sends the body
    upgrade: bytes | None         # the protocols that the client offers instead, in lower case
    # The fields; of a large head all of it as it was sent, until `fields` is read.
    block: bytes | list[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.method} {self.target!r} HTTP/1.{self.minor}>'

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The fields in the order in which they were sent: names in lower case, values trimmed."""
        block = self.block
        if isinstance(block, bytes):
            lines = block.split(b'\r\n')[:-1]
            block = self.block = [known_field(line) or read_field(line) for line in lines]
        return block


def read_head(
    line: bytes, lead: Lead, rest: bytes, most: int, make: type[RequestHead]
) -> RequestHead:
    """Return an object of `make` for a head: its request line, its first lines, and the rest.

    The rest may be b'', and each of its lines has its CRLF. Hot: once per request. Raises
    `ProtocolError`, and `Malformed` for a head that breaks the grammar or has more than `most`
    fields.
    """
    method, target, minor, is_path = _known_line(line) or _read_request_line(line)
    # Most requests have only Host and Connection of the fields that matter here.
    block: bytes | list[tuple[bytes, bytes]]
    if rest:
        fields, host, connection, more = read_lines(lead, rest, most)
        # (A large head is kept as it came: its fields, apart, take half as much memory again.)
        block = fields if len(rest) <= _LARGE else lead.text + rest
    else:
        fields, host, connection, more = lead.said
        block = fields.copy()
    head = make()
    head.method = method
    head.target = target
    head.minor = minor
    head.content_length = head.upgrade = None
    head.chunked = head.has_body = head.expect_continue = False
    head.block = block
    authority = None if is_path else read_authority(method, target)
    if more:
        values = dict(fields)
        if len(values) != len(fields):
            values = _merge(head, fields)
        host, connection = values.get(b'host'), values.get(b'connection')
    if host is not None:
        host = _known_host(host) or read_host(host)
    elif minor:
        raise ProtocolError(400, 'the Host field is missing')
    head.authority = authority or host
    if connection is None:
        head.keep_alive = minor == 1
    else:
        head.keep_alive = connection == b'keep-alive' or _keeps_alive(connection.lower(), minor)
    if more:
        _note_rest(head, values)
    return head


def read_lines(lead: Lead, rest: bytes, most: int) -> Said:
    """Read on behind a lead; return what all lines say. Hot.

    Each line of the rest has its CRLF. If the rest is large, of its fields only those of `RULING`
    are returned. Raises `Malformed`, also for more than `most` lines in all.
    """
    known, host, connection, more = lead.said
    fields = known.copy()
    lines = rest.split(b'\r\n', most + 1)
    # Behind the last CRLF there is nothing, unless there were more lines than that.
    if lines.pop() or len(fields) + len(lines) > most:
        raise Malformed
    small = len(rest) <= _LARGE
    for line in lines:
        name, value = field = known_field(line) or read_field(line)
        if name in RULING:
            if name == b'host' and host is None:
                host = value
            elif name == b'connection' and connection is None:
                connection = value
            else:
                more = True
        if small or name in RULING:
            fields.append(field)
    return fields, host, connection, more


def _read_request_line(line: bytes) -> _RequestLine:
    """Take a request line apart that was not seen before (RFC 9112 section 3).

    Raises `Malformed`, also for another version than 1.0 and 1.1.
    """
    match = REQUEST_LINE.fullmatch(line + b'\r\n')
    if match is None or match[3] not in (b'1.0', b'1.1'):
        raise Malformed
    method, target = match[1].decode('ascii'), match[2]
    is_path = target[0] == 0x2f and method != 'CONNECT'
    read = method, target, int(match[3] == b'1.1'), is_path
    if is_path and len(line) <= _LONGEST_LINE and target.find(b'?') < 0:
        # (`>=`: reactors in several threads may each add a line at once.)
        if len(request_lines) >= _MOST_LINES:
            request_lines.clear()
        request_lines[line] = read
    return read


def _note_rest(head: RequestHead, values: dict[bytes, bytes]) -> None:
    """Record in `head` the framing of the body (RFC 9112 section 6.3), Expect and Upgrade.

    Raises `ProtocolError`, also for a framing that two servers may understand differently.
    """
    length, coding = values.get(b'content-length'), values.get(b'transfer-encoding')
    if length is not None:
        if coding is not None:
            raise ProtocolError(400, 'there are both Content-Length and Transfer-Encoding')
        if CONTENT_LENGTH.fullmatch(length) is None:
            raise ProtocolError(400, 'Content-Length is no number', shown(length.lower()))
        head.content_length = int(length)
        head.has_body = head.content_length > 0
    elif coding is not None:
        if not head.minor:
            raise ProtocolError(400, 'HTTP/1.0 has no Transfer-Encoding')
        if coding.lower() != b'chunked':
            refuse_coding(coding.lower())
        head.chunked = head.has_body = True
    if head.minor:
        expect = values.get(b'expect')
        if expect is not None:
            # (No other expectation is defined: RFC 9110 section 10.1.1. It may be there twice.)
            if set(_elements(expect.lower())) != {b'100-continue'}:
                raise ProtocolError(
                    417, 'the only expectation is 100-continue', shown(expect.lower()))
            head.expect_continue = True
        if b'upgrade' in values and b'upgrade' in _elements(
                values.get(b'connection', b'').lower()):
            head.upgrade = values[b'upgrade'].lower()


def _merge(head: RequestHead, fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the values by name; those of a list are joined (RFC 9110 section 5.3).

    Of another field that is there twice the first line is kept. Raises `ProtocolError` if that is
    not safe.
    """
    lines: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lines.setdefault(name, []).append(value)
    for name, values in lines.items():
        if len(values) > 1 and name in SINGLE:
            keep_first(head, name)
    return {name: b', '.join(values) for name, values in lines.items()}


def _elements(value: bytes) -> list[bytes]:
    """Return the elements of a list, trimmed (RFC 9110 section 5.6.1)."""
    return [element.strip(b' \t') for element in value.split(b',')]


def _keeps_alive(connection: bytes, minor: int) -> bool:
    """Return whether the client allows another request (RFC 9112 section 9.3); `close` wins."""
    options = _elements(connection)
    return b'close' not in options and (minor == 1 or b'keep-alive' in options)

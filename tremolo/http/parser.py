"""Parser: bytes in, requests out (RFC 9112), for one connection and in one direction.

    parser = RequestParser(Limits())
    parser.feed(data)
    event = parser.next_event()    # RequestHead | bytes | EndOfBody | None: needs more bytes

Events are pulled: nothing is parsed before it is asked for, so a client that sends many requests
at once makes no work until its turn comes. A head with `has_body` False is a whole message. After
another come its body's bytes, in pieces that are never empty, and one `EndOfBody`.

    _head ---------> RequestHead without a body, and again from the start
      | ^ `--------> _body -> bytes ... EndOfBody, and again from the start   (body.py)
      v |
    _head_in_pieces, while a head is not whole
                     and from everywhere, for good, to _dead by ProtocolError

What arrives is kept as bytes, with an offset: in the common case `feed` stores what it is given,
the expressions of grammar.py match on that very object, and a buffer that has been read is dropped,
so that an idle parser holds nothing. No byte of a head in pieces is searched again.

The same bytes in other pieces give the same events and the same error, because errors depend on
where a fault is and not on when it came. For a head, in this order:

    1. within head_size bytes, what no line may hold (fields.py)                 400, once seen
    2. no empty line within head_size bytes                                      431, or 414 when
       the request line does not end within them either                          once seen
    3. a malformed request line 400; a version other than 1.0 and 1.1 505; a malformed field 400;
       too many fields 431; the target's form 400, CONNECT 501; repeated fields 400; Host 400;
       framing 400 or 501; Expect 417; body_size 413                             when it is whole

Nothing is guessed and nothing is read after an error: what two servers understand differently is
how requests are smuggled (RFC 9112 section 11.2). The parser makes no answers and knows no sockets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NoReturn, Union

from .body import ChunkedBody, EndOfBody, Limits, SizedBody
from .errors import ProtocolError, shown
from .fields import check_lines, refuse_fields, resume_mark, split_fields
from .grammar import (
    ABSOLUTE,
    AUTHORITY,
    CODING,
    CONTENT_LENGTH,
    FRAMING,
    HEAD,
    HOST,
    LISTS,
    REQUEST_LINE,
)

# The longest name of a host that DNS and RFC 3986 section 3.2.2 know, and a port.
_HOST_SIZE = 255 + 6


class RequestHead:
    """The request line and header fields of one request, and what they say about its body."""

    __slots__ = ('_block', '_headers', 'chunked', 'content_length', 'expect_continue', 'has_body',
                 'host', 'keep_alive', 'method', 'minor', 'target', 'upgrade')

    def __init__(
        self, method: str, target: bytes, minor: int, keep_alive: bool, host: bytes | None,
        block: bytes
    ) -> None:
        # As sent: methods are case-sensitive, and the target is not decoded.
        self.method = method
        self.target = target
        # The minor version: HTTP/1.0 or HTTP/1.1.
        self.minor = minor
        # Whether the client wants to go on after this request (RFC 9112 section 9.3).
        self.keep_alive = keep_alive
        # Host and port in lower case, of the target if it names them, else of the Host field
        # (RFC 9112 section 3.2.2). None if HTTP/1.0 sent neither.
        self.host = host
        # The body's framing; it has one if it is chunked or not of size 0.
        self.content_length: int | None = None
        self.chunked = False
        self.has_body = False
        # Whether the client waits for 100 Continue before it sends the body.
        self.expect_continue = False
        # The protocols that the client would like to speak instead, in lower case.
        self.upgrade: bytes | None = None
        # The fields, from the line feed before the first to the last one's.
        self._block = block
        self._headers: list[tuple[bytes, bytes]] | None = None

    def __repr__(self) -> str:
        return f'<RequestHead {self.method} {self.target!r} HTTP/1.{self.minor}>'

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields in the order in which they came: names in lower case, values trimmed."""
        # Half of the work that a head could be; most handlers never ask.
        if self._headers is None:
            self._headers = split_fields(self._block)
        return self._headers


Event = Union[RequestHead, bytes, EndOfBody]


class RequestParser:
    """The requests of one connection. Any fault raises `ProtocolError`, once, and ends it."""

    __slots__ = ('_data', '_framing', '_limits', '_pos', '_scanned', '_skipped', '_state')

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # What arrived; where its unread part begins; how far a head in pieces was searched.
        self._data = b''
        self._pos = 0
        self._scanned = 0
        # Whether the empty line that may come before a request was there.
        self._skipped = False
        self._framing: SizedBody | ChunkedBody | None = None
        # A function of the class: a bound method would make the parser refer to itself.
        self._state: Callable[[RequestParser], Event | None] = RequestParser._head

    # -- bytes in -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Store what arrived."""
        if not self._data:
            if self._state is not RequestParser._dead:
                self._data = data
        else:
            self._scanned = max(0, self._scanned - self._pos)
            self._data = self._data[self._pos:] + data
            self._pos = 0

    def feed_eof(self) -> None:
        """Tell that no more bytes come, when `next_event` has given None.

        Raises `ProtocolError` if a message is not whole (RFC 9112 section 8).
        """
        part = 'request head' if self._framing is None else 'body'
        if part == 'body' or self._data.find(b'\r\n\r\n', self._pos) < 0 < self.buffered:
            self._die()
            raise ProtocolError(400, f'the {part} ends too early')

    def rest(self) -> bytes:
        """Take out what was not parsed, for the protocol that follows an upgrade."""
        data = self._data[self._pos:]
        self._consume(len(self._data))
        return data

    @property
    def buffered(self) -> int:
        """Bytes that are held and not yet parsed."""
        return len(self._data) - self._pos

    @property
    def idle(self) -> bool:
        """Whether the parser is between two messages, and holds nothing of the next."""
        return not self._data and self._framing is None and self._state is not RequestParser._dead

    @property
    def started(self) -> bool:
        """Whether the first bytes of a head are there."""
        return bool(self._data) and self._framing is None

    # -- events out -----------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """Parse the next thing, or return None if it needs more bytes. Raises `ProtocolError`."""
        try:
            return self._state(self)
        except ProtocolError:
            self._die()
            raise

    def _head(self) -> RequestHead | None:
        """Parse a head that is there in one piece. Hot: once per request."""
        data, pos, limits = self._data, self._pos, self._limits
        match = HEAD.match(data, pos)
        if match is None or match.end() - pos > limits.head_size:
            return self._other_head()
        # One search in lower-case text finds the few fields that matter here; it cannot be fooled,
        # because each line is known to be a field. The block starts with a line feed.
        block = data[match.end(3) + 1:match.end() - 2]
        lower = block.lower()
        if lower.count(b'\n') > limits.field_count + 1:
            raise ProtocolError(
                431, f'more than {limits.field_count} header fields (field_count)')
        method, target, version = match.groups()
        minor = 1 if version == b'1' else 0
        # Other forms than a path are rare, and so is CONNECT.
        authority = None
        if target[0] != 0x2f or method == b'CONNECT':
            authority = _authority(method, target)
        found = FRAMING.findall(lower)
        fields = dict(found)
        if len(fields) != len(found):
            fields = _merge(found)
        host = fields.get(b'host')
        if host is not None:
            host = checked_host(host)
        elif minor:
            raise ProtocolError(400, 'no Host in HTTP/1.1')
        connection = fields.get(b'connection')
        keep_alive = minor == 1 if connection is None else _keeps_alive(connection, minor)
        head = RequestHead(
            method.decode('ascii'), target, minor, keep_alive, authority or host, block)
        if b'content-length' in fields or b'transfer-encoding' in fields:
            _frame(head, fields)
        if minor:
            if b'expect' in fields:
                _expect(head, fields[b'expect'])
            if b'upgrade' in fields and connection and b'upgrade' in _options(connection):
                head.upgrade = fields[b'upgrade'].strip(b' \t')
        if head.has_body:
            self._begin_body(head)
        self._skipped = False
        self._consume(match.end())
        return head

    def _head_in_pieces(self) -> RequestHead | None:
        """Wait until the rest of a head is there."""
        if self._data.find(b'\r\n\r\n', self._scanned) < 0:
            self._await_head()
            return None
        self._state = RequestParser._head
        return self._head()

    def _other_head(self) -> RequestHead | None:
        """Find out why there is no good head: it is not whole, too large, or wrong."""
        data, pos = self._data, self._pos
        if data.startswith(b'\r\n', pos):
            # Some clients end a body with a CRLF too many (RFC 9112 section 2.2): one is skipped.
            if self._skipped:
                raise ProtocolError(400, 'more than one empty line before the request line')
            self._skipped = True
            self._consume(pos + 2)
            return self._head()
        end = data.find(b'\r\n\r\n', self._scanned, pos + self._limits.head_size)
        if end >= 0:
            check_lines(data, self._scanned, end)
            _refuse_head(data, pos, end + 2)
        self._await_head()
        return None

    def _await_head(self) -> None:
        """Wait for more of a head that has no end yet, if it still may become one."""
        data, pos, size = self._data, self._pos, self._limits.head_size
        stop = min(len(data), pos + size)
        mark = check_lines(data, self._scanned, stop)
        if stop == pos + size:
            if data.find(b'\r\n', pos, stop) < 0:
                raise ProtocolError(414, f'request line exceeds {size} bytes (head_size)')
            raise ProtocolError(431, f'request head exceeds {size} bytes (head_size)')
        self._scanned = resume_mark(data, pos, mark)
        self._state = RequestParser._head_in_pieces

    def _begin_body(self, head: RequestHead) -> None:
        """Let the machine of the body's framing take over."""
        size, limits = head.content_length, self._limits
        if size is None:
            self._framing = ChunkedBody(limits)
        elif limits.body_size is not None and size > limits.body_size:
            raise ProtocolError(
                413, f'request body of {size} bytes exceeds {limits.body_size} bytes (body_size)')
        else:
            self._framing = SizedBody(size)
        self._state = RequestParser._body

    def _body(self) -> bytes | EndOfBody | None:
        """Take the next piece of the body."""
        framing = self._framing
        if framing is None:
            return None
        event, pos = framing.take(self._data, self._pos)
        if isinstance(event, EndOfBody):
            self._framing = None
            self._state = RequestParser._head
        self._consume(pos)
        return event

    def _dead(self) -> None:
        """Stay silent: what follows an error could be anything."""

    def _die(self) -> None:
        self._consume(len(self._data))
        self._framing = None
        self._state = RequestParser._dead

    def _consume(self, pos: int) -> None:
        """Go on at `pos`; a buffer that has been read is not kept."""
        if pos == len(self._data):
            self._data = b''
            self._pos = self._scanned = 0
        else:
            self._pos = self._scanned = pos


# -- what the fields of a head say --------------------------------------------------------------


def _refuse_head(data: bytes, pos: int, stop: int) -> NoReturn:
    """Say what is wrong with a whole head that HEAD does not match."""
    line = REQUEST_LINE.match(data, pos, stop)
    if line is None:
        end = data.index(b'\r\n', pos)
        raise ProtocolError(400, f'malformed request line: {shown(data[pos:end])}')
    version = line[3]
    if version not in (b'1.0', b'1.1'):
        raise ProtocolError(505, f'HTTP version {shown(version)}')
    refuse_fields(data, line.end(), stop)


def _merge(found: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Join the lines of what is a list; anything else may be there once (RFC 9110 section 5.3)."""
    fields: dict[bytes, bytes] = {}
    for name, value in found:
        if name not in fields:
            fields[name] = value
        elif name in LISTS:
            fields[name] += b',' + value
        else:
            raise ProtocolError(400, f'repeated header field: {shown(name)}')
    return fields


def _authority(method: bytes, target: bytes) -> bytes | None:
    """Check a target that is no path, and return the authority that it names (RFC 9112 3.2)."""
    if method == b'CONNECT':
        if AUTHORITY.fullmatch(target):
            raise ProtocolError(501, 'CONNECT is not for this server')
    elif target == b'*':
        if method == b'OPTIONS':
            return None
    else:
        absolute = ABSOLUTE.fullmatch(target)
        # An http URI without a host is invalid (RFC 9110 section 4.2.1).
        if absolute is not None and not absolute[1].startswith(b':'):
            return checked_host(absolute[1].lower())
    raise ProtocolError(400, f'the form of the target {shown(target)} does not fit {shown(method)}')


@functools.lru_cache(maxsize=256)
def checked_host(value: bytes) -> bytes:
    """Trim and check a host with an optional port (RFC 9110 section 7.2). It may be empty."""
    host = value.strip(b' \t')
    if len(host) > _HOST_SIZE or HOST.fullmatch(host) is None:
        raise ProtocolError(400, f'malformed host: {shown(host)}')
    return host


def _options(connection: bytes) -> list[bytes]:
    return [option.strip(b' \t') for option in connection.split(b',')]


def _keeps_alive(connection: bytes, minor: int) -> bool:
    """Whether Connection asks to go on (RFC 9112 section 9.3); close wins."""
    if connection == b' keep-alive':
        return True
    options = _options(connection)
    return b'close' not in options and (minor == 1 or b'keep-alive' in options)


def _expect(head: RequestHead, value: bytes) -> None:
    """Take note of the one expectation that exists (RFC 9110 section 10.1.1)."""
    if value.strip(b' \t') != b'100-continue':
        raise ProtocolError(417, f'unknown expectation: {shown(value)}')
    head.expect_continue = True


def _frame(head: RequestHead, fields: dict[bytes, bytes]) -> None:
    """Decide how the body is framed (RFC 9112 section 6.3), or refuse what is not beyond doubt."""
    length, coding = fields.get(b'content-length'), fields.get(b'transfer-encoding')
    if length is not None:
        if coding is not None:
            raise ProtocolError(400, 'both Content-Length and Transfer-Encoding')
        length = length.strip(b' \t')
        if CONTENT_LENGTH.fullmatch(length) is None:
            raise ProtocolError(400, f'malformed Content-Length: {shown(length)}')
        head.content_length = int(length)
        head.has_body = head.content_length > 0
    elif coding is not None:
        if not head.minor:
            raise ProtocolError(400, 'Transfer-Encoding in HTTP/1.0')
        coding = coding.strip(b' \t')
        if coding != b'chunked':
            _refuse_coding(coding)
        head.chunked = head.has_body = True


def _refuse_coding(value: bytes) -> NoReturn:
    """Tell codings that we do not know, with chunked last, from framing that cannot be trusted."""
    codings = [CODING.fullmatch(coding.strip(b' \t')) for coding in value.split(b',')]
    names = [coding[1] for coding in codings if coding is not None]
    if len(names) == len(codings) and names[-1] == b'chunked' and names.count(b'chunked') == 1 \
            and len(names) > 1 and value.endswith(b'chunked'):
        raise ProtocolError(501, f'unknown transfer coding: {shown(value)}')
    raise ProtocolError(400, f'malformed Transfer-Encoding: {shown(value)}')

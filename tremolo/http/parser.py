"""Parser: bytes in, requests out (RFC 9112), for one connection and in one direction.

    parser = RequestParser(Limits())    # and maybe a class derived from RequestHead, to make
    parser.feed(data)
    event = parser.next_event()    # RequestHead | bytes | EndOfBody | None: needs more bytes

Nothing is parsed before it is asked for, so a client that sends many requests at once makes no work
until its turn comes. A head with `has_body` False is a whole message. After another come its body's
bytes, in pieces that are never empty, and one `EndOfBody`. README.md draws the states, and tells
which of several errors it is.

What arrives is kept as bytes, with an offset: mostly `feed` stores what it is given, grammar.py
matches on that very object, and a buffer that has been read is dropped, so that an idle parser
holds nothing. No byte of a head in pieces is searched again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

from .body import ChunkedBody, EndOfBody, Limits, SizedBody
from .errors import ProtocolError, shown
from .fields import check_lines, refuse_fields
from .grammar import REQUEST_LINE, head
from .head import RequestHead, read_head

Event = Union[RequestHead, bytes, EndOfBody]
_NO_BODY = SizedBody(0)


class RequestParser:
    """The requests of one connection. Any fault raises `ProtocolError`, once, and ends it."""

    __slots__ = ('_framing', '_head_size', '_limits', '_make', '_match_head', '_pos', '_scanned',
                 '_skipped', '_state', 'buffer')

    def __init__(self, limits: Limits, make: type[RequestHead] = RequestHead) -> None:
        self._limits = limits
        self._make = make
        self._head_size = limits.head_size
        self._match_head = head(limits.field_count).match
        self.buffer = b''       # what arrived; b'' when all of it is parsed
        self._pos = 0           # where the rest begins
        self._scanned = 0       # how far a head in pieces was searched
        self._skipped = False   # whether the empty line that may precede a request was there
        # Where a body's pieces come from, in the state `_body`.
        self._framing: SizedBody | ChunkedBody = _NO_BODY
        # None before a head; else a function of the class, because a bound method would make the
        # parser refer to itself.
        self._state: Callable[[RequestParser], Event | None] | None = None

    # -- bytes in -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Store what arrived."""
        if self.buffer:
            self._scanned -= self._pos
            self.buffer = self.buffer[self._pos:] + data
            self._pos = 0
        elif self._state is not RequestParser._dead:
            self.buffer = data

    def feed_eof(self) -> None:
        """Tell that no more bytes come, when `next_event` has given None.

        Raises `ProtocolError` if a message is not whole (RFC 9112 section 8).
        """
        if self._state is RequestParser._body:
            part = 'body'
        elif self.buffer and b'\r\n\r\n' not in self.buffer[self._pos:]:
            part = 'request head'
        else:
            return
        self._die()
        raise ProtocolError(400, f'the {part} ends too early')

    def rest(self) -> bytes:
        """Take out what was not parsed, for the protocol that follows an upgrade."""
        data = self.buffer[self._pos:]
        self._consume(len(self.buffer))
        return data

    @property
    def buffered(self) -> int:
        """Bytes that are held and not yet parsed."""
        return len(self.buffer) - self._pos

    @property
    def idle(self) -> bool:
        """Whether the parser is between two messages, and holds nothing of the next."""
        return not self.buffer and self._state is None

    # -- events out -----------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """Parse the next thing, or return None if it needs more bytes. Raises `ProtocolError`.

        Hot: once per request, for a head that is there in one piece.
        """
        state = self._state
        try:
            if state is not None:
                return state(self)
            data, pos, match_head = self.buffer, self._pos, self._match_head
            match = match_head(data, pos, pos + self._head_size)
            if match is None:
                return self._other_head()
            request = read_head(match, self._make)
            if request.has_body:
                self._begin_body(request)
        except ProtocolError:
            self._die()
            raise
        self._skipped = False
        # As `_consume`, without the call.
        end = match.end()
        if end == len(data):
            self.buffer = b''
            end = 0
        self._pos = self._scanned = end
        return request

    def _head_in_pieces(self) -> Event | None:
        """Wait until the rest of a head is there."""
        if self.buffer.find(b'\r\n\r\n', self._scanned) < 0:
            return self._await_head()
        self._state = None
        return self.next_event()

    def _other_head(self) -> Event | None:
        """Find out why there is no good head: it is not whole, too large, or wrong."""
        data, pos = self.buffer, self._pos
        # Some clients end a body with a CRLF too many (RFC 9112 section 2.2): one is skipped.
        if data.startswith(b'\r\n', pos):
            if self._skipped:
                raise ProtocolError(400, 'more than one empty line before the request line')
            self._skipped = True
            self._consume(pos + 2)
            return self.next_event()
        end = data.find(b'\r\n\r\n', self._scanned, pos + self._head_size)
        if end < 0:
            return self._await_head()
        check_lines(data, self._scanned, end + 2)
        line = REQUEST_LINE.match(data, pos, end + 2)
        if line is None:
            text = data[pos:data.index(b'\r\n', pos)]
            raise ProtocolError(400, f'malformed request line: {shown(text)}')
        if line[3] not in (b'1.0', b'1.1'):
            raise ProtocolError(505, f'HTTP version {shown(line[3])}')
        refuse_fields(data, line.end(), end + 2)
        most = self._limits.field_count
        raise ProtocolError(431, f'more than {most} header fields (field_count)')

    def _await_head(self) -> Event | None:
        """Wait for more of a head that has no end yet, if it still may become one."""
        data, pos, size = self.buffer, self._pos, self._head_size
        stop = min(len(data), pos + size)
        mark = check_lines(data, self._scanned, stop)
        if stop == pos + size:
            status, part = (431, 'head') if b'\r\n' in data[pos:stop] else (414, 'line')
            raise ProtocolError(status, f'request {part} exceeds {size} bytes (head_size)')
        # A lone CR may become the empty line before a request: that is for `_other_head` to see.
        if mark > pos:
            # A CRLF before it may be the first half of the empty line.
            self._scanned = mark - 2 if data.endswith(b'\r\n', pos, mark) else mark
            self._state = RequestParser._head_in_pieces
        return None

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
        event, pos = self._framing.take(self.buffer, self._pos)
        if isinstance(event, EndOfBody):
            self._framing = _NO_BODY
            self._state = None
        self._consume(pos)
        return event

    def _dead(self) -> None:
        """Stay silent: what follows an error could be anything."""

    def _die(self) -> None:
        self._consume(len(self.buffer))
        self._framing = _NO_BODY
        self._state = RequestParser._dead

    def _consume(self, pos: int) -> None:
        """Go on at `pos`; a buffer that has been read is not kept."""
        if pos == len(self.buffer):
            self.buffer = b''
            pos = 0
        self._pos = self._scanned = pos

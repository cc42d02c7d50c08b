"""Parser: bytes in, requests out (RFC 9112), for one connection.

    parser = RequestParser(Limits())
    parser.feed(data)
    event = parser.next_event()    # RequestHead | bytes | EndOfBody | None: needs more bytes

The parser works only when `next_event` is called, so a client that sends many requests at once
causes no work before the server is ready for the next one. If a head has `has_body` False, the
message is whole. After any other head the events are the pieces of the body, which are never empty,
and then one `EndOfBody`. README.md draws the states, and says which of several errors is raised.

The buffer is one bytes object and an offset. In most cases `feed` stores the object that it is
given, and the buffer is dropped as soon as all of it is parsed: an idle parser holds no memory. A
head is cut out once, and requests that follow it are not copied. If a head arrives in pieces, no
byte is searched twice for its end.
"""

from __future__ import annotations

from collections.abc import Callable

from ..typed import Union
from .body import EndOfBody, Limits, SizedBody
from .chunked import ChunkedBody
from .errors import ProtocolError
from .faults import raise_fault_of_head
from .fields import Malformed, check_lines
from .head import NO_LINES, RequestHead, read_head, request_lines
from .leads import NEW, next_lead

Event = Union[RequestHead, bytes, EndOfBody]
_NO_BODY = SizedBody(0)
# At least one empty line before a request line is skipped (RFC 9112 section 2.2). As everything
# that may be repeated, it has a bound.
_EMPTY_LINES = 8


class RequestParser:
    """The parser of one connection. A fault raises `ProtocolError` once; then nothing is parsed.

    `make` is the class of the heads, for a caller that derives one from `RequestHead`.
    """

    __slots__ = ('_field_count', '_framing', '_head_size', '_limits', '_make', '_pos',
                 '_scanned', '_skipped', '_state', 'buffer', 'lead')

    def __init__(self, limits: Limits, make: type[RequestHead] = RequestHead) -> None:
        self._limits = limits
        self._make = make
        self._head_size, self._field_count = limits.head_size, limits.field_count
        self.lead = NEW      # the lines that the last heads began with
        self.buffer = b''       # what has arrived; b'' when all of it is parsed
        self._pos = 0           # where the bytes begin that are not parsed
        self._scanned = 0       # up to where a head in pieces was searched for its end
        self._skipped = 0       # how many empty lines before the request line were skipped
        # The machine of the body, in the state `_body`.
        self._framing: SizedBody | ChunkedBody = _NO_BODY
        # The state: None before a head, else a function of the class. (With a bound method the
        # parser would refer to itself, and only the garbage collector could free it.)
        self._state: Callable[[RequestParser], Event | None] | None = None

    # -- bytes in -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Store bytes that arrived."""
        if self.buffer:
            self._scanned -= self._pos
            self.buffer = self.buffer[self._pos:] + data
            self._pos = 0
        elif self._state is not RequestParser._dead:
            self.buffer = data

    def feed_eof(self) -> None:
        """Record that no more bytes will arrive. Call it after `next_event` has returned None.

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
        """Remove and return the bytes that are not parsed, for the protocol after an upgrade."""
        data = self.buffer[self._pos:]
        self._consume(len(self.buffer))
        return data

    @property
    def buffered(self) -> int:
        """The number of bytes that are stored and not yet parsed."""
        return len(self.buffer) - self._pos

    @property
    def idle(self) -> bool:
        """Whether the parser is between two messages and has no byte of the next one."""
        return not self.buffer and self._state is None

    # -- events out -----------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """Parse and return the next event; None if more bytes are needed. Raises `ProtocolError`.

        Hot: once per request, for a head that arrived in one piece.
        """
        try:
            state = self._state
            if state is not None:
                return state(self)
            data, pos, lead = self.buffer, self._pos, self.lead
            known, size = lead.text, len(data)
            if (pos == 0 and size <= lead.most and size <= self._head_size
                    and data[lead.back:] == lead.whole and (line := data[:lead.back])
                    and (line in request_lines or line.find(b'\r') < 0)):
                # Nothing but the request line stands before the lines that are known. (Between
                # pipelined heads it would be looked for in vain.)
                end, rest = size - 4, b''
            else:
                begin = data.find(b'\r\n', pos) + 2
                if begin < 2:
                    return self._other_head()
                line = data[pos:begin - 2]
                # Behind the request line, the lines with which this client's heads begin are known.
                if data.startswith(known, begin):
                    begin += len(known)
                else:
                    lead, known = NO_LINES, b''
                end = data.find(b'\r\n\r\n', begin - 2, pos + self._head_size)
                if end < 0:
                    return self._other_head()
                rest = data[begin:end + 2]
            try:
                request = read_head(line, lead, rest, self._field_count, self._make)
            except Malformed:
                request = None
            if request is None:    # (Not in the `except`: the error would have another behind it.)
                return self._other_head()
            if request.has_body:
                self._begin_body(request)
            if not known:
                self.lead = next_lead(self.lead, rest)
        except ProtocolError:
            self._die()
            raise
        self._skipped = 0
        # This is `_consume`, without a call.
        if end + 4 == size:
            self.buffer = b''
            self._pos = self._scanned = 0
        else:
            self._pos = self._scanned = end + 4
        return request

    def _head_in_pieces(self) -> Event | None:
        """Wait for the end of a head that arrives in pieces."""
        if self.buffer.find(b'\r\n\r\n', self._scanned) < 0:
            return self._await_head()
        self._state = None
        return self.next_event()

    def _other_head(self) -> Event | None:
        """Find out why there is no good head: it is not whole, too large, or malformed."""
        data, pos = self.buffer, self._pos
        # Some clients send additional empty lines after a body. Skip a few.
        if data.startswith(b'\r\n', pos):
            while data.startswith(b'\r\n', pos):
                if self._skipped == _EMPTY_LINES:
                    raise ProtocolError(
                        400, f'more than {_EMPTY_LINES} empty lines before a request')
                self._skipped += 1
                pos += 2
            self._consume(pos)
            return self.next_event()
        end = data.find(b'\r\n\r\n', self._scanned, pos + self._head_size)
        if end < 0:
            return self._await_head()
        return raise_fault_of_head(data, pos, self._scanned, end + 2, self._field_count)

    def _await_head(self) -> Event | None:
        """Wait for the rest of a head, or refuse it: its end can no longer be within the limit."""
        data, pos, size = self.buffer, self._pos, self._head_size
        stop = min(len(data), pos + size)
        mark = check_lines(data, self._scanned, stop, pos)
        if stop == pos + size:
            status, part = (431, 'head') if b'\r\n' in data[pos:stop] else (414, 'line')
            raise ProtocolError(status, f'the request {part} exceeds {size} bytes (head_size)')
        # (If a CR is all there is, it may begin an empty line before the request line. The state
        # does not change then, so that `_other_head` sees the whole empty line.)
        if mark > pos:
            # A CRLF at the end may be the first half of the end of the head: search it again.
            self._scanned = mark - 2 if data.endswith(b'\r\n', pos, mark) else mark
            self._state = RequestParser._head_in_pieces
        return None

    def _begin_body(self, head: RequestHead) -> None:
        """Choose the machine for the body of a request. Raises `ProtocolError`."""
        size, limits = head.content_length, self._limits
        if size is None:
            self._framing = ChunkedBody(limits)
        elif limits.body_size is not None and size > limits.body_size:
            raise ProtocolError(
                413, f'the body exceeds {limits.body_size} bytes (body_size)', str(size))
        else:
            self._framing = SizedBody(size)
        self._state = RequestParser._body

    def _body(self) -> bytes | EndOfBody | None:
        """Return the next event of the body."""
        event, pos = self._framing.take(self.buffer, self._pos)
        if event is not None and type(event) is not bytes:
            self._framing = _NO_BODY
            self._state = None
        # This is `_consume`, without a call.
        if pos == len(self.buffer):
            self.buffer = b''
            pos = 0
        self._pos = self._scanned = pos
        return event

    def _dead(self) -> None:
        """Return no event: after an error it is unknown where the next message begins."""

    def _die(self) -> None:
        self._consume(len(self.buffer))
        self._framing = _NO_BODY
        self._state = RequestParser._dead

    def _consume(self, pos: int) -> None:
        """Continue at `pos`; drop the buffer if all of it is parsed."""
        if pos == len(self.buffer):
            self.buffer = b''
            pos = 0
        self._pos = self._scanned = pos

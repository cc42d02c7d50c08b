"""Body: the two ways in which a request's body is framed (RFC 9112 section 6).

A body machine keeps no bytes. Its `take(data, pos)` is given the buffer and the place where unread
bytes begin, and returns an event and the place where it stopped. The event is a piece of the body,
`EndOfBody` when it is whole, or None when more bytes are needed. After a `ProtocolError` it must
not be used again.

Chunked framing is where servers were fooled most often, so each step is exact: a size is 1 to 16
hexadecimal digits and nothing that int() might also like, and lines and data end with CRLF.
Extensions are checked and dropped. Framing is bounded: by `_SIZE_LINE` for one line, and for a
message by `chunk_overhead` beyond the bytes of body that came, so tiny chunks are bounded too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Union

from .errors import ProtocolError, shown
from .fields import check_lines, refuse_fields, split_fields
from .grammar import CHUNK_LINE, FRAMING

# The longest line of a chunk's size, in bytes with its extensions and CRLF.
_SIZE_LINE = 4098
# Fields that rule how a message is framed, routed, answered or understood are too late after it
# (RFC 9110 section 6.5.1): those that FRAMING finds, Content-* but for the digest (RFC 9530
# section 3), and these.
_NOT_IN_TRAILERS = frozenset((
    b'accept', b'accept-charset', b'accept-encoding', b'accept-language', b'age', b'cache-control',
    b'cookie', b'expires', b'forwarded', b'if-match', b'if-none-match', b'keep-alive', b'pragma',
    b'proxy-authenticate', b'proxy-connection', b'set-cookie', b'te', b'trailer', b'user-agent',
    b'vary', b'via', b'warning', b'www-authenticate', b'x-forwarded-for', b'x-forwarded-host',
    b'x-forwarded-proto', b'x-real-ip'))


class Limits(NamedTuple):
    """What one message may cost; sizes in bytes."""

    head_size: int = 16384          # a head, from its request line up to and with its empty line
    field_count: int = 100          # fields of a head, and of a trailer section
    body_size: int | None = None    # a body's own bytes, without framing; None is no limit
    chunk_overhead: int = 65536     # size lines and line ends, beyond as many bytes as the body has
    trailer_size: int = 8192        # the fields after a chunked body, without their empty line


class EndOfBody(NamedTuple):
    """A body is whole; `trailers` are the fields that followed it."""

    trailers: list[tuple[bytes, bytes]]


_Step = tuple[Union[bytes, EndOfBody, None], int]


class SizedBody:
    """A body whose head announced its size."""

    __slots__ = ('_left',)

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, data: bytes, pos: int) -> _Step:
        """Take what is there of the body."""
        left = self._left
        if not left:
            return EndOfBody([]), pos
        # (Slicing all of a bytes object does not copy it: neither is a large upload.)
        piece = data[pos:pos + left]
        self._left = left - len(piece)
        return piece or None, pos + len(piece)


class ChunkedBody:
    """A body that comes in chunks (RFC 9112 section 7.1)."""

    __slots__ = ('_fields', '_left', '_limits', '_overhead', '_seen', '_size', '_state')

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = 0        # bytes of body announced so far
        self._overhead = 0    # bytes of framing that came
        self._left = 0        # bytes of the chunk in hand that are to come, or of trailers that may
        self._seen = 0        # how many bytes of an unfinished line were looked at
        self._fields: list[tuple[bytes, bytes]] = []
        self._state: Callable[[ChunkedBody, bytes, int], _Step] = ChunkedBody._size_line

    def take(self, data: bytes, pos: int) -> _Step:
        """Take the next piece of the body, as far as it is there."""
        return self._state(self, data, pos)

    def _size_line(self, data: bytes, pos: int) -> _Step:
        """Take a chunk's size and extensions."""
        end = data.find(b'\r\n', pos + self._seen, pos + _SIZE_LINE)
        if end < 0:
            return self._await_line(
                data, pos, _SIZE_LINE, 400, f'chunk size line exceeds {_SIZE_LINE} bytes')
        line = CHUNK_LINE.match(data, pos, end + 2)
        if line is None:
            check_lines(data, pos, end + 2)
            raise ProtocolError(400, f'malformed chunk size line: {shown(data[pos:end])}')
        self._seen = 0
        size = int(line[1], 16)
        # With the CRLF after the data, which the last chunk does not have.
        self._overhead += end - pos + (4 if size else 2)
        limits = self._limits
        if self._overhead > limits.chunk_overhead + self._size:
            raise ProtocolError(400, 'chunk framing exceeds the body by '
                                f'{limits.chunk_overhead} bytes (chunk_overhead)')
        self._size += size
        if limits.body_size is not None and self._size > limits.body_size:
            raise ProtocolError(413, f'request body exceeds {limits.body_size} bytes (body_size)')
        self._left = size or limits.trailer_size
        self._state = ChunkedBody._chunk if size else ChunkedBody._trailers
        return self._state(self, data, end + 2)

    def _chunk(self, data: bytes, pos: int) -> _Step:
        """Take a chunk's data, then a CRLF: exactly that (h11 took any two bytes once)."""
        left = self._left
        if left:
            piece = data[pos:pos + left]
            self._left = left - len(piece)
            return piece or None, pos + len(piece)
        end = data[pos:pos + 2]
        if end == b'\r\n':
            self._state = ChunkedBody._size_line
            return self._size_line(data, pos + 2)
        if end in (b'', b'\r'):
            return None, pos
        raise ProtocolError(400, 'chunk data is longer than its size')

    def _trailers(self, data: bytes, pos: int) -> _Step:
        """Take fields, line by line, up to the empty line (RFC 9112 section 7.1.2)."""
        limits = self._limits
        while not data.startswith(b'\r\n', pos):
            # The empty line has room at any rate.
            room = max(self._left, 2)
            end = data.find(b'\r\n', pos + self._seen, pos + room)
            if end < 0:
                return self._await_line(
                    data, pos, room, 431,
                    f'trailers exceed {limits.trailer_size} bytes (trailer_size)')
            check_lines(data, pos, end + 2)
            refuse_fields(data, pos, end + 2)
            if len(self._fields) == limits.field_count:
                raise ProtocolError(431, f'more than {limits.field_count} trailers (field_count)')
            [(name, value)] = split_fields(b'\n' + data[pos:end + 2])
            if name in _NOT_IN_TRAILERS or FRAMING.match(b'\n%s:' % name) or (
                    name.startswith(b'content-') and name != b'content-digest'):
                raise ProtocolError(400, f'a field that may not be a trailer: {shown(name)}')
            self._fields.append((name, value))
            self._left -= end + 2 - pos
            self._seen = 0
            pos = end + 2
        return EndOfBody(self._fields), pos + 2

    def _await_line(self, data: bytes, pos: int, size: int, status: int, reason: str) -> _Step:
        """Wait for the end of a line, or refuse one of more than `size` bytes with its CRLF."""
        stop = min(len(data), pos + size)
        self._seen = check_lines(data, pos + self._seen, stop) - pos
        if stop == pos + size:
            raise ProtocolError(status, reason)
        return None, pos

"""Chunked: the machine of a request's body in chunks, and of its trailers (RFC 9112 section 7.1).

Most servers that were fooled were fooled by chunked framing, so each step is exact: a size is 1 to
16 hexadecimal digits (int() would also accept a sign, spaces and underscores), and each line and
each chunk ends with CRLF. Extensions are checked and dropped.

What framing costs is counted against the body that it carries, so a client cannot send a large
message of tiny chunks. A line has `_SIZE_LINE` bytes at most. All bytes of framing in a message,
trailers too, are at most those of the body and `chunk_overhead` more. And since each chunk costs
time beside its bytes, there is one for each `_EACH` bytes of the body, and a number of small ones
beside that: as many as there may be of one byte, a quarter of `chunk_overhead`.

Chunks that have arrived whole are taken together, as one piece. One call takes no more than
`_TOGETHER` of them and as many tiny ones (measured: 0.3 ms), so that who calls can let others have
their turn. (Measured on CPython 3.11, in ms for a MiB of body in chunks of 1, 5, 16, 64 and 1,024
bytes: 540, 110, 37, 27 and 2.6. One by one, an event for each, they were 2,430, 680, 240, 60 and
3.9.)
"""

from __future__ import annotations

from collections.abc import Callable

from .body import EndOfBody, Limits, Step
from .errors import ProtocolError, shown
from .fields import Malformed, check_lines, read_field, refuse_fields
from .grammar import CHUNK_LINE, RULING, TINY_CHUNK, TINY_CHUNKS

# The longest line with the size of a chunk, in bytes, with its extensions and CRLF.
_SIZE_LINE = 4098
# Bytes of the body for each of its chunks. (Who streams lines of JSON sends 20 and more.)
_EACH = 16
# So many chunks are taken in one call, and so many are looked at before an expression takes the
# tiny ones behind them: to compile it takes 2 ms, and few clients send such.
_TOGETHER, _FIRST = 256, 8
# A field that says how the message is framed, or whom it is for, comes too late in a trailer. It is
# refused: a server behind us might believe it.
_REFUSED = frozenset((b'content-length', b'host', b'transfer-encoding'))
# So does a field that says how to answer or understand the message, or who asks (RFC 9110 section
# 6.5.1). Some clients send one all the same (Go: Content-MD5), so it is dropped, and the
# application never sees it. Dropped are the fields of RULING, all Content-* fields except
# Content-Digest (RFC 9530 section 3), all X-Forwarded-* fields, and these.
_NOT_IN_TRAILERS = frozenset((
    b'accept', b'accept-charset', b'accept-encoding', b'accept-language', b'age', b'allow',
    b'cache-control', b'cookie', b'expires', b'forwarded', b'if-match', b'if-none-match',
    b'keep-alive', b'location', b'pragma', b'proxy-authenticate', b'proxy-connection',
    b'retry-after', b'set-cookie', b'te', b'trailer', b'user-agent', b'vary', b'via', b'warning',
    b'www-authenticate', b'x-real-ip'))


class ChunkedBody:
    """A body in chunks (RFC 9112 section 7.1). Its states are methods: `_state` is the next one."""

    __slots__ = ('_count', '_fields', '_left', '_limits', '_overhead', '_seen', '_size', '_state')

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = 0        # bytes of body announced so far
        self._overhead = 0    # bytes of framing so far
        self._count = 0       # chunks so far
        self._left = 0        # bytes still to come of this chunk; later: still allowed for trailers
        self._seen = 0        # bytes of an unfinished line that were searched already
        self._fields: list[tuple[bytes, bytes]] = []
        self._state: Callable[[ChunkedBody, bytes, int], Step] = ChunkedBody._size_line

    def take(self, data: bytes, pos: int) -> Step:
        """Return the next piece of the body, if it has arrived."""
        return self._state(self, data, pos)

    def _size_line(self, data: bytes, pos: int) -> Step:
        """Read the size and the extensions of a chunk."""
        if not self._seen:
            piece, pos = self._whole_chunks(data, pos)
            if piece:
                return piece, pos
        end = data.find(b'\r\n', pos + self._seen, pos + _SIZE_LINE)
        if end < 0:
            return self._await_line(
                data, pos, _SIZE_LINE, 400, f'a chunk size line exceeds {_SIZE_LINE} bytes')
        line = CHUNK_LINE.match(data, pos, end + 2)
        if line is None:
            check_lines(data, pos, end + 2)
            raise ProtocolError(400, 'a chunk size line is malformed', shown(data[pos:end]))
        self._seen = 0
        size, limits = int(line[1], 16), self._limits
        # The line, its CRLF, and the CRLF after the data, which the last chunk does not have.
        self._spend(end - pos + (4 if size else 2))
        self._count += 1
        if self._count * _EACH > 4 * limits.chunk_overhead + self._size:
            raise ProtocolError(
                400, f'there are more than {limits.chunk_overhead // 4} chunks beside one for each '
                f'{_EACH} bytes of the body (chunk_overhead)')
        self._size += size
        if limits.body_size is not None and self._size > limits.body_size:
            raise ProtocolError(413, f'the body exceeds {limits.body_size} bytes (body_size)')
        self._left = size or limits.trailer_size
        self._state = ChunkedBody._chunk if size else ChunkedBody._trailers
        return self._state(self, data, end + 2)

    def _whole_chunks(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """Take good chunks that have arrived whole; return their data and the place behind them.

        What is not whole, and what is refused, is left to the states. Hot: once for each chunk.
        """
        limits, match, seek = self._limits, CHUNK_LINE.match, True
        pieces: list[bytes] = []
        most, room = limits.body_size, limits.chunk_overhead
        stop = self._count + _TOGETHER
        while self._count < stop:
            line = match(data, pos, pos + _SIZE_LINE)
            if line is None:
                break
            size, begin = int(line[1], 16), line.end()
            end = begin + size
            if not size or data[end:end + 2] != b'\r\n':
                break
            overhead, count, before = self._overhead + begin - pos + 2, self._count + 1, self._size
            if overhead > room + before or count * _EACH > 4 * room + before or (
                    most is not None and before + size > most):
                break
            self._overhead, self._count, self._size = overhead, count, before + size
            pieces.append(data[begin:end])
            pos = end + 2
            if size < 48 and seek and len(pieces) > _FIRST:
                begin, pos = pos, self._tiny_chunks(data, pos, pieces)
                seek = pos > begin
        return b''.join(pieces), pos

    def _tiny_chunks(self, data: bytes, pos: int, pieces: list[bytes]) -> int:
        """Take chunks of 1 to 47 bytes, if there are such, and return the place behind them.

        All of them at once, if no limit is near (measured: 0.4 us for each, by a loop 1.6).
        """
        limits, run = self._limits, TINY_CHUNKS.match(data, pos)
        if run is None:
            return pos
        end = run.end()
        chunks: list[bytes] = TINY_CHUNK.findall(data, pos, end)
        # (A size of one digit stands before 15 bytes at most.)
        body = b''.join([chunk[3:-2] if len(chunk) < 21 else chunk[4:-2] for chunk in chunks])
        size, count = self._size + len(body), self._count + len(chunks)
        overhead = self._overhead + end - pos - len(body)
        if (overhead > limits.chunk_overhead + self._size
                or count * _EACH > 4 * limits.chunk_overhead + self._size
                or (limits.body_size is not None and size > limits.body_size)):
            return pos
        self._size, self._overhead, self._count = size, overhead, count
        pieces.append(body)
        return end

    def _spend(self, overhead: int) -> None:
        """Count bytes of framing. Raises `ProtocolError` if they are too many."""
        limits = self._limits
        self._overhead += overhead
        if self._overhead > limits.chunk_overhead + self._size:
            raise ProtocolError(400, 'the framing of the chunks exceeds the body by '
                                f'{limits.chunk_overhead} bytes (chunk_overhead)')

    def _chunk(self, data: bytes, pos: int) -> Step:
        """Read the data of a chunk, then CRLF. (h11 once took any two bytes for the CRLF.)"""
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
        raise ProtocolError(400, 'the data of a chunk is longer than its size')

    def _trailers(self, data: bytes, pos: int) -> Step:
        """Read trailer fields, line by line, up to the empty line (RFC 9112 section 7.1.2)."""
        limits = self._limits
        while not data.startswith(b'\r\n', pos):
            # There always is room for the empty line.
            room = max(self._left, 2)
            end = data.find(b'\r\n', pos + self._seen, pos + room)
            if end < 0:
                return self._await_line(
                    data, pos, room, 431,
                    f'the trailers exceed {limits.trailer_size} bytes (trailer_size)')
            try:
                name, value = read_field(data[pos:end])
            except Malformed:
                check_lines(data, pos, end + 2)
                refuse_fields(data, pos, end + 2)
                raise    # (One of the two has raised.)
            if len(self._fields) == limits.field_count:
                raise ProtocolError(
                    431, f'there are more than {limits.field_count} trailers (field_count)')
            if name in _REFUSED:
                raise ProtocolError(
                    400, 'a trailer cannot say how long the body is, nor its host', shown(name))
            self._spend(end + 2 - pos)
            self._fields.append((name, value))
            self._left -= end + 2 - pos
            self._seen = 0
            pos = end + 2
        # (Until here the dropped ones are there too: they count for `field_count`.)
        return EndOfBody([field for field in self._fields if may_come_last(field[0])]), pos + 2

    def _await_line(self, data: bytes, pos: int, size: int, status: int, sentence: str) -> Step:
        """Wait for the end of a line; refuse a line of more than `size` bytes with its CRLF."""
        stop = min(len(data), pos + size)
        self._seen = check_lines(data, pos + self._seen, stop) - pos
        if stop == pos + size:
            raise ProtocolError(status, sentence)
        return None, pos


def may_come_last(name: bytes) -> bool:
    """Return whether a field with this name, in lower case, may be a trailer."""
    if name.startswith(b'content-'):
        return name == b'content-digest'
    # (What has underscores for dashes would be the same in CGI and WSGI: edge/forwarding.py.)
    if name.replace(b'_', b'-').startswith(b'x-forwarded'):
        return False
    return name not in _NOT_IN_TRAILERS and name not in RULING

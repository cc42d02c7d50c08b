"""Parser: the bytes of a server in, answers out (RFC 9112). No sockets, no clock.

    parser = AnswerParser()
    parser.expect('GET')
    parser.feed(data)                  # in any pieces; `feed_eof()` at the end of the connection
    while (event := parser.next_event()) is not None:
        ...                            # AnswerHead, then bytes, then EndOfAnswer

It shares nothing with the parser of requests, nor with what makes our answers: a mistake there must
not be one here, too. It is as strict as it can be, for it reads what we have made: whatever a
client could misunderstand is an `AnswerError`. Its states are methods; `_state` is the next one:

    _idle --> _head --> _sized, _size_line <--> _chunk, _rest --> _idle
                |                  |
                +--> _upgraded     +--> _trailers --> _idle
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..typed import NamedTuple, NoReturn, Union
from .errors import AnswerError

# No head, no line and no trailers of a server of ours are longer, in bytes.
_LONGEST = 1 << 20
_STATUS_LINE = re.compile(rb'HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t -~\x80-\xff]*)\r\n')
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)\r\n")
_SIZE = re.compile(rb'([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n')

Fields = list[tuple[bytes, bytes]]


class AnswerHead(NamedTuple):
    """Status and fields of an answer; the names are in lower case. 1xx: another head follows."""

    status: int
    reason: str
    fields: Fields


class EndOfAnswer(NamedTuple):
    """The end of an answer, with its trailers."""

    trailers: Fields


Event = Union[AnswerHead, bytes, EndOfAnswer, None]


class AnswerParser:
    """The answers of one connection, one after the other."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._eof = False
        self._method = ''
        self._left = 0      # Bytes of the body, or of the chunk, that are still to come.
        self._taken = 0     # Bytes of the body so far.
        self.keep_alive = True    # Whether the connection goes on after this answer.
        self._state: Callable[[AnswerParser], Event] = AnswerParser._idle

    def expect(self, method: str) -> None:
        """Expect the answer to a request with this method. Raises `AnswerError`: there is one."""
        self.next_event()
        self._method = method
        self._state = AnswerParser._head

    def feed(self, data: bytes) -> None:
        """Take bytes from the server."""
        self._buffer += data

    def feed_eof(self) -> None:
        """Record that the server has ended the connection."""
        self._eof = True
        self.keep_alive = False

    def next_event(self) -> Event:
        """Return the next event; None until more comes. Raises `AnswerError`."""
        return self._state(self)

    def rest(self) -> bytes:
        """Return what came after the head of a 101: it is no HTTP any more."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    # -- the states -------------------------------------------------------------------------------

    def _idle(self) -> None:
        """Nothing is expected, so nothing may come."""
        if self._buffer:
            raise AnswerError('bytes came that belong to no answer: '
                              f'{bytes(self._buffer[:64])!r}')

    def _head(self) -> Event:
        """Read the head of an answer (RFC 9112 sections 4 and 5)."""
        block = self._block('head')
        if block is None:
            return None
        line = _STATUS_LINE.match(block)
        if line is None:
            raise AnswerError(f'malformed status line: {block.partition(bytes((10,)))[0][:64]!r}')
        status = int(line[2])
        head = AnswerHead(status, line[3].decode('latin-1'), _fields(block[line.end():-2]))
        if status == 101:
            self._state, self.keep_alive = AnswerParser._upgraded, False
        elif status >= 200:
            self._frame(head, minor=int(line[1]))
        elif _values(head.fields, b'content-length') or _values(head.fields, b'transfer-encoding'):
            raise AnswerError(f'an answer of {status} has no body, so no field may frame one')
        return head

    def _upgraded(self) -> None:
        """Keep what comes: from here on the connection speaks another protocol."""

    def _frame(self, head: AnswerHead, minor: int) -> None:
        """Find out how the body is framed (RFC 9112 section 6.3)."""
        codings = _values(head.fields, b'transfer-encoding')
        lengths = _values(head.fields, b'content-length')
        options = b','.join(_values(head.fields, b'connection')).lower()
        named = [option.strip(b' \t') for option in options.split(b',')]
        self.keep_alive = not self._eof and (
            b'close' not in named if minor else b'keep-alive' in named)
        if len(lengths) > 1 or (lengths and not re.fullmatch(rb'[0-9]{1,19}', lengths[0])):
            raise AnswerError(f'malformed Content-Length: {b", ".join(lengths)[:64]!r}')
        if codings and (lengths or not minor or [each.lower() for each in codings] != [b'chunked']):
            raise AnswerError('Transfer-Encoding is chunked, on HTTP/1.1, and without a '
                              f'Content-Length, not {b", ".join(codings)[:64]!r}')
        self._taken = 0
        if head.status == 204 and (codings or lengths):
            raise AnswerError('an answer of 204 has no body, so no field may frame one')
        if self._method == 'HEAD' or head.status in (204, 304):
            self._left, self._state = 0, AnswerParser._sized
        elif codings:
            self._state = AnswerParser._size_line
        elif lengths:
            self._left, self._state = int(lengths[0]), AnswerParser._sized
        else:
            self.keep_alive = False
            self._state = AnswerParser._rest

    def _sized(self) -> Event:
        """Read a body of a known length."""
        return self._piece() if self._left else self._end([])

    def _rest(self) -> Event:
        """Read a body that ends with the connection."""
        self._left = len(self._buffer)
        if self._left:
            return self._piece()
        return self._end([]) if self._eof else None

    def _size_line(self) -> Event:
        """Read the size of a chunk (RFC 9112 section 7.1)."""
        end = self._find(b'\r\n', 'size of a chunk')
        if end < 0:
            return None
        line = _SIZE.fullmatch(self._buffer, 0, end + 2)
        if line is None:
            raise AnswerError(f'malformed size of a chunk: {bytes(self._buffer[:end][:64])!r}')
        self._left = int(line[1], 16)
        del line    # (It would keep the buffer from changing its size.)
        del self._buffer[:end + 2]
        self._state = AnswerParser._chunk if self._left else AnswerParser._trailers
        return self._state(self)

    def _chunk(self) -> Event:
        """Read the data of a chunk, and the CRLF behind it."""
        if self._left:
            return self._piece()
        end = bytes(self._buffer[:2])
        if end == b'\r\n':
            del self._buffer[:2]
            self._state = AnswerParser._size_line
            return self._size_line()
        if end not in (b'', b'\r'):
            raise AnswerError('the data of a chunk is longer than its size')
        return self._cut() if self._eof else None

    def _trailers(self) -> Event:
        """Read trailers, up to the empty line."""
        if self._buffer.startswith(b'\r\n'):
            del self._buffer[:2]
            return self._end([])
        block = self._block('trailers')
        return None if block is None else self._end(_fields(block[:-2]))

    # -- what they share --------------------------------------------------------------------------

    def _piece(self) -> Event:
        """Return what has come of the body, at most `_left` bytes."""
        piece = bytes(self._buffer[:self._left])
        if not piece:
            return self._cut() if self._eof else None
        del self._buffer[:len(piece)]
        self._left -= len(piece)
        self._taken += len(piece)
        return piece

    def _end(self, trailers: Fields) -> EndOfAnswer:
        self._state = AnswerParser._idle
        return EndOfAnswer(trailers)

    def _block(self, what: str) -> bytes | None:
        """Return the lines up to the empty one, if they have come, with all CRLFs."""
        end = self._find(b'\r\n\r\n', what)
        if end < 0:
            return None
        block = bytes(self._buffer[:end + 4])
        del self._buffer[:end + 4]
        return block

    def _find(self, mark: bytes, what: str) -> int:
        """Return the place of a mark; -1 if it has not come."""
        end = self._buffer.find(mark, 0, _LONGEST)
        if end < 0 and len(self._buffer) >= _LONGEST:
            raise AnswerError(f'the {what} of an answer exceeds {_LONGEST} bytes')
        if end < 0 and self._eof:
            self._cut()
        return end

    def _cut(self) -> NoReturn:
        """Say that the connection has ended too early."""
        if self._state is AnswerParser._head:
            some = f': only {bytes(self._buffer[:64])!r} came' if self._buffer else ''
            raise AnswerError(f'the server ended the connection without an answer{some}')
        missing = f', {self._left} are missing' if self._left else ''
        raise AnswerError('the server ended the connection in the middle of the answer: '
                          f'{self._taken} bytes of its body came{missing}')


def _fields(block: bytes) -> Fields:
    """Split lines into names, in lower case, and values."""
    fields, place = [], 0
    while place < len(block):
        match = _FIELD.match(block, place)
        if match is None:
            line = block[place:].partition(b'\r\n')[0]
            raise AnswerError(f'malformed field of an answer: {line[:64]!r}')
        fields.append((match[1].lower(), match[2].strip(b' \t')))
        place = match.end()
    return fields


def _values(fields: Fields, wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name == wanted]

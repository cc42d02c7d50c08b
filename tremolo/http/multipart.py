"""Multipart: bytes of a multipart/form-data body in, parts out (RFC 7578, RFC 2046 section 5.1).

    parser = MultipartParser(boundary_of(content_type), PartLimits())
    parser.feed(data)
    event = parser.next_event()    # PartHead | bytes | EndOfPart | EndOfForm | None: needs more

Call `next_event` until it returns None, then feed again; `feed_eof` says that no more will come. A
part is a `PartHead`, its contents in pieces that are never empty, and `END_OF_PART`; the last event
is `END_OF_FORM`. What follows it (the epilogue) is dropped. The same bytes give the same events and
the same error, however they are cut.

A delimiter is a line: CRLF, `--boundary`, and `--` after the last part; blanks may follow. The CRLF
before it belongs to it, not to the contents. A line that goes on otherwise is contents. One with LF
alone before it, or CR or LF alone after it, is refused: other programs take it for a delimiter, and
no client chooses a boundary that its contents have.

    preamble, dropped         _preamble
    CRLF --boundary           _scan finds it, and _part counts
    CRLF head CRLF            _head
    CRLF contents             _content
    CRLF --boundary--         _close
    CRLF epilogue, dropped    _over

Here a CRLF stands before each thing: so a head begins at the CRLF that ends the line of the
delimiter, contents at that of the empty line (`_skip`), and a head or contents of no bytes are no
cases of their own.

Each byte of contents is seen by one `bytes.find` alone: it looks for LF and `--boundary`. No
boundary holds an LF: so if there is none, only the last LF in the buffer can begin one that is cut,
or a CR at its very end, and all before that goes out as one piece. If nothing is held back, the
piece is the very object that was fed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..typed import NamedTuple, Union
from .errors import FormError, shown
from .fields import Malformed, known_field, read_field
from .grammar import DELIMITER_END, FOLD
from .parameters import read_parameters, text_of

_PREAMBLE = 65536    # Bytes before the first delimiter; mail programs put a sentence there.
_PADDING = 128       # Blanks after a delimiter, in its line.
_OTHERS = 500        # Lines like a delimiter in one piece; each takes 2 us, and others wait for it.
# What no file name holds: the control characters of ASCII and of Latin-1.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)))


class PartLimits(NamedTuple):
    """The limits of a form in parts; what a part holds is the caller's to limit."""

    part_count: int = 1000        # parts in a form
    part_head_size: int = 8192    # bytes of the head of a part, with its empty line
    part_fields: int = 16         # fields in it


class PartHead(NamedTuple):
    """What the head of a part says of it."""

    name: str
    filename: str | None        # the last component, without control characters; None: a field
    raw_filename: str | None    # as it was sent
    content_type: str           # as it was sent; text/plain if there is none (RFC 7578 section 4.4)
    charset: str                # in lower case; utf-8 if none is named. See `decode_text`
    fields: list[tuple[bytes, bytes]]    # names in lower case, values trimmed


class EndOfPart:
    """The contents of a part are whole."""

    __slots__ = ()


class EndOfForm:
    """The form is whole."""

    __slots__ = ()


END_OF_PART = EndOfPart()
END_OF_FORM = EndOfForm()
Event = Union[PartHead, bytes, EndOfPart, EndOfForm]


class MultipartParser:
    """The parser of one form. A fault raises `FormError` once; then nothing is parsed."""

    __slots__ = ('_buffer', '_count', '_delimiter', '_dropped', '_eof', '_limits', '_pos',
                 '_searched', '_skip', '_state')

    def __init__(self, boundary: bytes, limits: PartLimits) -> None:
        self._limits = limits
        self._delimiter = b'\n--' + boundary
        # What has arrived, and where the part of it begins that is not parsed. The first delimiter
        # may stand at the very beginning, as if a line had ended before it.
        self._buffer = b'\r\n'
        self._pos = 0
        self._searched = 0    # up to where a head in pieces was searched for its end
        self._dropped = 0     # bytes of the preamble so far
        self._count = 0       # parts so far
        self._skip = 0        # bytes from `_pos` on that belong to no contents
        self._eof = False
        self._state: Callable[[MultipartParser], Event | None] = MultipartParser._preamble

    def feed(self, data: bytes) -> None:
        """Store bytes that arrived."""
        if self._buffer:
            self._searched -= self._pos
            self._buffer = self._buffer[self._pos:] + data
            self._pos = 0
        elif self._state is not MultipartParser._over:
            self._buffer = data

    def feed_eof(self) -> None:
        """Record that no more bytes will arrive."""
        self._eof = True

    def next_event(self) -> Event | None:
        """Parse and return the next event; None if more bytes are needed. Raises `FormError`."""
        try:
            return self._state(self)
        except FormError:
            self._end()
            raise

    def _preamble(self) -> Event | None:
        """Drop what stands before the first delimiter."""
        stop, delimiter = self._scan()
        if stop > self._pos:
            self._dropped += stop - self._pos
            if self._dropped > _PREAMBLE + 2:    # (The first CRLF did not arrive.)
                raise FormError(413, f'more than {_PREAMBLE} bytes before the first part')
            self._move(stop)
            return self._preamble()
        return self._pass(delimiter)

    def _head(self) -> Event | None:
        """Wait for the end of the head of a part."""
        data, begin, size = self._buffer, self._pos + 2, self._limits.part_head_size
        end = data.find(b'\r\n\r\n', max(self._searched, self._pos), begin + size)
        if end < 0:
            if len(data) - begin >= size:
                raise FormError(400, f'the head of a part exceeds {size} bytes (part_head_size)')
            self._searched = len(data) - 3
            self._refuse_end()
            return None
        head = read_part_head(data[begin:end], self._limits.part_fields)
        self._searched = 0
        self._pos = end + 2
        self._skip = 2
        self._state = MultipartParser._content
        return head

    def _content(self) -> Event | None:
        """Return what has arrived of the contents. Hot: once for each piece."""
        stop, delimiter = self._scan()
        begin = self._pos + self._skip
        if stop > self._pos:
            piece = self._buffer[begin:stop]
            self._skip = 0
            self._move(stop)
            return piece or self._content()
        return self._pass(delimiter, END_OF_PART)

    def _scan(self) -> tuple[int, re.Match[bytes] | None]:
        """Return up to where there is no delimiter, and the end of its line if one begins here.

        The latter is None if that has not arrived yet. Hot: once for each piece.
        """
        data, pos, delimiter, others = self._buffer, self._pos, self._delimiter, 0
        at = data.find(delimiter, pos)
        while at >= 0:
            match = DELIMITER_END.match(data, at + len(delimiter))
            if (match is None or match[3] or len(match[2]) > _PADDING or match.end() == len(data)
                    or others == _OTHERS):
                stop = at - 1 if data.endswith(b'\r', pos, at) else at
                return stop, self._checked(match) if match and stop == pos else None
            # The line goes on: it is no delimiter. (Its bytes leave in one piece with the others.)
            others += 1
            at = data.find(delimiter, at + 1)
        stop = len(data)
        at = data.rfind(b'\n', max(pos, stop - len(delimiter) + 1))
        if at >= 0 and delimiter.startswith(data[at:]):
            stop = at
        return stop - 1 if data.endswith(b'\r', pos, stop) else stop, None

    def _checked(self, match: re.Match[bytes]) -> re.Match[bytes] | None:
        """Return the end of the line of a delimiter if it is whole. Raises `FormError`."""
        dashes, padding, line_end = match.groups()
        if len(padding) > _PADDING:
            raise FormError(400, f'more than {_PADDING} blanks follow a delimiter')
        if not line_end and not (self._eof and dashes == b'--'):
            return None
        good = self._buffer.startswith(b'\r', self._pos)
        if good and line_end == b'\r' and match.end() == len(self._buffer) and not self._eof:
            return None
        if not good or line_end not in (b'\r\n', b''):
            raise FormError(400, 'the line of a delimiter begins or ends with CR or LF alone')
        return match

    def _pass(self, delimiter: re.Match[bytes] | None, event: Event | None = None) -> Event | None:
        """Go on after a delimiter, if it has come whole; return the event that it is."""
        if delimiter is None:
            self._refuse_end()
            return None
        self._pos = delimiter.end() - 2
        self._state = MultipartParser._close if delimiter[1] else MultipartParser._part
        return event or self._state(self)

    def _part(self) -> Event | None:
        """Begin another part."""
        most = self._limits.part_count
        if self._count == most:
            raise FormError(413, f'the form has more than {most} parts (part_count)')
        self._count += 1
        self._state = MultipartParser._head
        return self._head()

    def _close(self) -> Event | None:
        self._end()
        return END_OF_FORM

    def _over(self) -> None:
        """Return no event: the form is whole, or broken."""

    def _end(self) -> None:
        self._buffer = b''
        self._pos = 0
        self._state = MultipartParser._over

    def _refuse_end(self) -> None:
        """Raise `FormError` if no more bytes will come."""
        if self._eof:
            raise FormError(400, 'the form ends without its last delimiter')

    def _move(self, pos: int) -> None:
        """Continue at `pos`; drop the buffer if all of it is parsed."""
        if pos == len(self._buffer):
            self._buffer = b''
            pos = 0
        self._pos = pos


def read_part_head(block: bytes, most: int) -> PartHead:
    """Return the head of a part, given without its empty line. Raises `FormError`.

    A line that begins with a blank goes on with the field before it: mail programs fold long lines.
    Content-Length and Content-Transfer-Encoding mean nothing (RFC 7578 section 4.7).
    """
    lines = FOLD.sub(b' ', block).split(b'\r\n') if block else []
    if len(lines) > most:
        raise FormError(400, f'the head of a part has more than {most} fields (part_fields)')
    try:
        fields = [known_field(line) or read_field(line) for line in lines]
    except Malformed:
        # (No colon, no name, a control character, or CR or LF alone.)
        raise FormError(400, 'the head of a part is malformed', shown(block)) from None
    disposition = _single(fields, b'content-disposition') or b''
    kind, parameters = read_parameters(disposition)
    if b'name' in parameters and b'name*' in parameters:
        raise FormError(400, 'a part has two names')
    name = text_of(parameters, b'name')
    if kind != b'form-data' or name is None:
        raise FormError(400, 'a part has no Content-Disposition of form-data with a name')
    raw_filename = text_of(parameters, b'filename')
    content_type = _single(fields, b'content-type') or b'text/plain'
    charset = read_parameters(content_type)[1].get(b'charset') or b'utf-8'
    return PartHead(
        name, None if raw_filename is None else _cleaned(raw_filename), raw_filename,
        content_type.decode('latin-1'), charset.lower().decode('latin-1'), fields)


def _single(fields: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    values = [value for each, value in fields if each == name]
    if len(values) > 1:
        raise FormError(400, f'a part has two {name.decode()} fields')
    return values[0] if values else None


def _cleaned(filename: str) -> str:
    """Return the last component of a path, without control characters; '' if nothing is left.

    The name of a folder (`.`, `..`) is nothing that a file can have.
    """
    name = filename.translate(_CONTROLS).replace('\\', '/').rpartition('/')[2]
    return '' if name in ('.', '..') else name

"""Fields: what the head of a request and the trailers of a chunked body have in common.

Both are lines of text, and come in pieces, so a fault must be decided by where it is and never by
when it arrived. What no line of text may hold (a control character, a bare CR or LF) is refused as
soon as it is seen, and before every other fault of its head or line: `check_lines` looks for it.
Everything else waits until the head or line is whole, or longer than its limit allows.

Values are trimmed of SP and HTAB only, as bytes: `str.strip` knows more kinds of space than HTTP.
"""

from .errors import ProtocolError, shown
from .grammar import FIELD, LINES

# Fields as they were sent: a server hears the same few again and again (12 of a browser: 1.7 us,
# not 3.4). What is secret, and another for each client, is not kept.
_lines: dict[bytes, tuple[bytes, bytes]] = {}
_PRIVATE = frozenset((b'authorization', b'cookie', b'proxy-authorization'))


def check_lines(data: bytes, start: int, stop: int) -> int:
    """Refuse what no line of text holds, and return where to go on looking.

    That is `stop`, or one less when the last byte is a CR whose line feed may still come.
    """
    match = LINES.match(data, start, stop)
    # LINES matches the empty string too, so there always is a match.
    mark = match.end() if match else start
    if data[mark:stop] in (b'', b'\r'):
        return mark
    raise ProtocolError(
        400, f'a control character or half a line end: {shown(data[mark:mark + 1])}')


def refuse_fields(data: bytes, start: int, stop: int) -> None:
    """Refuse the first of the lines from `start` to `stop` that is no field."""
    for line in data[start:stop].splitlines(keepends=True):
        if FIELD.match(line) is None:
            raise ProtocolError(400, f'malformed header field: {shown(line[:-2])}')


def split_fields(block: bytes) -> list[tuple[bytes, bytes]]:
    """Make names (lower-case) and values of well-formed fields.

    `block` begins with the line feed before the first, and ends with the last one's.
    """
    # (Of bytes, splitlines knows CR and LF alone. `findall` takes half as long again.)
    fields = []
    for line in block[1:].splitlines():
        field = _lines.get(line)
        if field is None:
            name, _, value = line.partition(b':')
            field = name.lower(), value.strip(b' \t')
            if len(line) <= 256 and field[0] not in _PRIVATE:
                if len(_lines) == 1024:
                    _lines.clear()
                _lines[line] = field
        fields.append(field)
    return fields

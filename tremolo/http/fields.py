"""Fields: what the head of a request and the trailers of a chunked body have in common.

Both are lines of text, and come in pieces, so a fault must be decided by where it is and never by
when it arrived. What no line of text may hold (a control character, a bare CR or LF) is refused as
soon as it is seen, and before every other fault of its head or line: `check_lines` looks for it.
Everything else waits until the head or line is whole, or longer than its limit allows.

Values are trimmed of SP and HTAB only, as bytes: `str.strip` knows more kinds of space than HTTP.
"""

from .errors import ProtocolError, shown
from .grammar import FIELD, LINES

# Lines of fields as they were sent, with what they were split into: a server receives the same few
# again and again (measured: 12 of a browser 1.7 us, not 3.4). Only fields of these names are kept,
# for they say what a kind of client can do. A field that may identify one user (Cookie,
# Authorization, a token in a field of the application's own, an address, a URL) is never kept.
# At most 1,024 lines of at most 256 bytes; a full dictionary starts again.
_lines: dict[bytes, tuple[bytes, bytes]] = {}
_MOST_LINES = 1024
_LONGEST_LINE = 256
_KEPT = frozenset((
    b'accept', b'accept-charset', b'accept-encoding', b'accept-language', b'cache-control',
    b'connection', b'content-encoding', b'content-type', b'dnt', b'expect', b'host', b'origin',
    b'pragma', b'priority', b'save-data', b'sec-ch-ua', b'sec-ch-ua-mobile', b'sec-ch-ua-platform',
    b'sec-fetch-dest', b'sec-fetch-mode', b'sec-fetch-site', b'sec-fetch-user', b'sec-gpc', b'te',
    b'transfer-encoding', b'upgrade', b'upgrade-insecure-requests', b'user-agent', b'via',
    b'x-forwarded-host', b'x-forwarded-port', b'x-forwarded-proto', b'x-requested-with'))


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
            if field[0] in _KEPT and len(line) <= _LONGEST_LINE:
                # (`>=`: reactors in several threads may each add a line at once.)
                if len(_lines) >= _MOST_LINES:
                    _lines.clear()
                _lines[line] = field
        fields.append(field)
    return fields

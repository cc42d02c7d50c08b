"""Fields: how the head of a request and the trailers of a chunked body are checked and split.

Both consist of lines of text, and both may arrive in pieces. The error must depend on where a fault
is, never on where the pieces were cut. So there are two steps. First, `check_lines` refuses what no
line of text may hold (a control character, a CR or LF alone) as soon as it arrives, so this fault
wins over all others of the same head or line. Second, the other faults are looked for when the head
or line is whole, or longer than its limit.

SP and HTAB around a value are removed while it is bytes: `str.strip` removes other characters too.
"""

from .errors import ProtocolError, shown
from .grammar import FIELD, LINES

# Lines as they were sent, each with the name and value that it was split into: a server receives
# the same few lines again and again (measured: 12 fields of a browser 1.7 us, not 3.4). Only fields
# with a name in `_KEPT` are kept: their values are shared by many clients. A field that may
# belong to one user (a cookie, credentials, a token in any other field, an address, a page's URL)
# is never kept. There are at most 1,024 lines of at most 256 bytes; a full dictionary is emptied.
_lines: dict[bytes, tuple[bytes, bytes]] = {}
_MOST_LINES = 1024
_LONGEST_LINE = 256
_KEPT = frozenset((
    b'accept', b'accept-charset', b'accept-encoding', b'accept-language', b'cache-control',
    b'connection', b'content-encoding', b'content-length', b'content-type', b'dnt', b'expect',
    b'host', b'origin', b'pragma', b'priority', b'save-data', b'sec-ch-ua', b'sec-ch-ua-mobile',
    b'sec-ch-ua-platform', b'sec-fetch-dest', b'sec-fetch-mode', b'sec-fetch-site',
    b'sec-fetch-user', b'sec-gpc', b'te', b'transfer-encoding', b'upgrade',
    b'upgrade-insecure-requests', b'user-agent', b'via', b'x-forwarded-host',
    b'x-forwarded-port', b'x-forwarded-proto', b'x-requested-with'))


def check_lines(data: bytes, start: int, stop: int, begin: int = -1) -> int:
    """Refuse what no line of text may hold. Return the place from which the next call continues.

    The place is `stop`, or one less when the last byte is a CR whose LF may still arrive. If the
    lines are those of a head, it begins at `begin`.
    """
    match = LINES.match(data, start, stop)
    # (LINES also matches the empty string, so there always is a match; the `else` is for mypy.)
    mark = match.end() if match else start
    if data[mark:stop] in (b'', b'\r'):
        return mark
    if mark == begin and data[mark] == 22:    # The first byte of TLS (RFC 8446 section 5.1).
        raise ProtocolError(
            400, 'this looks like TLS: the port speaks plain HTTP (is the URL https?)')
    raise ProtocolError(
        400, 'a line holds a control character, or a CR or LF alone', shown(data[mark:mark + 1]))


def refuse_fields(data: bytes, start: int, stop: int) -> None:
    """Refuse the first line from `start` to `stop` that is not a well-formed field.

    Returns if there is none.
    """
    for line in data[start:stop].splitlines(keepends=True):
        if FIELD.match(line) is None:
            raise ProtocolError(400, 'a header field is malformed', shown(line[:-2]))


def split_fields(block: bytes) -> list[tuple[bytes, bytes]]:
    """Split well-formed fields into names, in lower case, and trimmed values.

    `block` begins with the LF of the line before the first field, and ends with a CRLF.
    """
    # (`bytes.splitlines` splits at CR and LF alone. `findall` takes 1.5 times as long.)
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

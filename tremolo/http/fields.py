"""Fields: how the head of a request and the trailers of a chunked body are checked and split.

Both consist of lines of text, and both may arrive in pieces. The error must depend on where a fault
is, never on where the pieces were cut. So there are two steps. First, `check_lines` refuses what no
line of text may hold (a control character, a CR or LF alone) as soon as it arrives, so this fault
wins over all others of the same head or line. Second, the other faults are looked for when the head
or line is whole, or longer than its limit.

SP and HTAB around a value are removed while it is bytes: `str.strip` removes other characters too.
"""

from .errors import ProtocolError, shown
from .grammar import CONTROLS, FIELD, LINES, RULING


class Malformed(Exception):
    """A head breaks the grammar; faults.py finds the first place where it does."""


# Lines as they were sent, each with the name and value that it was split into: a server receives
# the same few lines again and again, and a look-up is all that such a line costs. Only fields with
# a name in `_KEPT` are kept: their values are shared by many clients. A field that may belong to
# one user (a cookie, credentials, a token in any other field, an address, a page's URL) is never
# kept. There are at most 1,024 lines of at most 256 bytes; a full dictionary is emptied.
_lines: dict[bytes, tuple[bytes, bytes]] = {}
_MOST_LINES = 1024
_LONGEST_LINE = 256
known_field = _lines.get
_KEPT = frozenset((
    b'accept', b'accept-charset', b'accept-encoding', b'accept-language', b'cache-control',
    b'connection', b'content-encoding', b'content-length', b'content-type', b'dnt', b'expect',
    b'host', b'origin', b'pragma', b'priority', b'save-data', b'sec-ch-ua', b'sec-ch-ua-mobile',
    b'sec-ch-ua-platform', b'sec-fetch-dest', b'sec-fetch-mode', b'sec-fetch-site',
    b'sec-fetch-user', b'sec-gpc', b'sec-websocket-extensions', b'sec-websocket-version', b'te',
    b'transfer-encoding', b'upgrade', b'upgrade-insecure-requests', b'user-agent', b'via',
    b'x-forwarded-host', b'x-forwarded-port', b'x-forwarded-proto', b'x-requested-with'))

# The names that most requests have, as clients write them, each in lower case.
_NAMES = {
    written: name for name in (*_KEPT, *RULING, b'cookie', b'if-none-match', b'x-forwarded-for')
    for written in (name, name.title())}


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


def read_field(line: bytes) -> tuple[bytes, bytes]:
    """Split a line, without its CRLF, into the name, in lower case, and the trimmed value.

    Raises `Malformed`. Hot: for each line that `known_field` does not know.
    """
    raw, colon, value = line.partition(b':')
    name = _NAMES.get(raw)
    # (Of a known name only the value is checked: a third of the instructions of FIELD.)
    if name is None or not colon or len(value.translate(None, CONTROLS)) != len(value):
        if FIELD.fullmatch(line + b'\r\n') is None:
            raise Malformed
        name = raw.lower()
    field = name, value.strip(b' \t')
    if name in _KEPT and len(line) <= _LONGEST_LINE:
        # (`>=`: reactors in several threads may each add a line at once.)
        if len(_lines) >= _MOST_LINES:
            _lines.clear()
        _lines[line] = field
    return field

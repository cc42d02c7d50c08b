"""Response: the parts of an answer's head, and chunks, as bytes (RFC 9112 sections 4 to 7).

    head = status_line(200) + encode_fields([('Content-Type', 'text/plain')]) + b'\\r\\n'

The application chooses the status, its reason and the fields. They are checked here and in
encoder.py at the last moment before they are sent, no matter how they were set.
"""

from __future__ import annotations

from datetime import datetime, timezone

from ..late import expression
from .errors import HeaderError, shown
from .grammar import TEXT_STR
from .phrases import PHRASES

CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'
_DAYS = 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'
MONTHS = ('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')

_DATE = expression(
    r'[A-Za-z]{3}, ([0-9]{2}) ([A-Za-z]{3}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT')

# The status lines of all known statuses: to format one takes longer than the rest of a small head.
_STATUS_LINES = {
    status: b'HTTP/1.1 %d %s\r\n' % (status, phrase.encode('ascii'))
    for status, phrase in PHRASES.items()}


def status_line(status: int, reason: str | None = None) -> bytes:
    """Return a status line with CRLF.

    Without `reason` it has the standard one, which is empty for an unknown status. Raises
    `HeaderError` unless 100 <= status <= 599 and the reason is Latin-1 without control characters.
    """
    if reason is None:
        line = _STATUS_LINES.get(status)
        if line is not None:
            return line
        reason = ''
    if not isinstance(status, int) or not 100 <= status <= 599:
        raise HeaderError(f'status is 100 to 599, not {repr(status)[:64]}')
    if TEXT_STR.fullmatch(reason) is None:
        raise HeaderError(f'the reason of status {status} is no plain text: {shown(reason)}')
    return b'HTTP/1.1 %d %s\r\n' % (status, reason.encode('latin-1'))


def chunk(data: bytes) -> bytes:
    """Return a piece of a body as a chunk; b'' for b'', because a chunk of size 0 is the last."""
    return b'%x\r\n%s\r\n' % (len(data), data) if data else b''


def http_date(timestamp: float) -> str:
    """Return a time in seconds since the epoch in the form of HTTP (RFC 9110 section 5.6.7).

    For instance 784111777 is 'Sun, 06 Nov 1994 08:49:37 GMT'.
    """
    # (`email.utils.formatdate` does the same. Its import would be a tenth of a server's start.)
    when = datetime.fromtimestamp(timestamp, timezone.utc)
    return (f'{_DAYS[when.weekday()]}, {when.day:02} {MONTHS[when.month - 1]} {when.year:04} '
            f'{when.hour:02}:{when.minute:02}:{when.second:02} GMT')


def is_http_date(text: str) -> bool:
    """Tell whether a text is what `http_date` returns for some time."""
    found = _DATE.fullmatch(text)
    if found is None or found[2] not in MONTHS:
        return False
    day, year, hour, minute, second = map(int, found.group(1, 3, 4, 5, 6))
    month = MONTHS.index(found[2]) + 1
    try:
        when = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return False
    return http_date(when.timestamp()) == text

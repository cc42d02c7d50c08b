"""Response: the heads of answers, as bytes (RFC 9112 sections 4 to 7).

    head = status_line(200) + encode_fields([('Content-Type', 'text/plain')]) + b'\\r\\n'

Everything that an application may choose is checked here once more, whatever it was set with: the
status, its reason, the names and values of fields. `HeaderError` keeps it off the wire. What frames
a message is not the application's to choose: Transfer-Encoding is refused, since one that does not
tell the truth about the body splits the answer in two for whoever is in between.
"""

from __future__ import annotations

from http import HTTPStatus

from .errors import HeaderError, shown
from .grammar import TEXT_STR

CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'

# Every status line there is, made once: formatting one takes longer than the rest of a small head.
_STATUS_LINES = {
    status.value: b'HTTP/1.1 %d %s\r\n' % (status, status.phrase.encode('ascii'))
    for status in HTTPStatus}


def status_line(status: int, reason: str | None = None) -> bytes:
    """Make a status line with CRLF; an unknown status has an empty reason unless one is given.

    Raises `HeaderError` unless 100 <= status <= 599 and the reason is text without controls.
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
    """Frame a piece of a chunked body. Nothing makes no chunk: one of size 0 would be the last."""
    return b'%x\r\n%s\r\n' % (len(data), data) if data else b''


def http_date(timestamp: float) -> str:
    """Format seconds since the epoch: 'Sun, 06 Nov 1994 08:49:37 GMT' (RFC 9110 section 5.6.7)."""
    # (Imported late: a fifth of the time that `import tremolo` would take.)
    from email.utils import formatdate
    return formatdate(timestamp, usegmt=True)

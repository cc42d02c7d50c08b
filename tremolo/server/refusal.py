"""Refusal: the whole answer to a request that never became one (RFC 9112 section 2.2).

It is a sentence, and holds nothing of the request: nobody can have a text of his own shown to
others.
"""

from __future__ import annotations

from ..http import ProtocolError, status_line
from .errors import phrase


def refusal(error: ProtocolError, common: bytes) -> bytes:
    """Return the whole answer to a request that is refused; nothing of the request is in it."""
    status = error.status
    body = f'{status} {phrase(status)}: {error.sentence}\n'.encode('utf-8', 'backslashreplace')
    return b'%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close' \
        b'\r\n%s\r\n%s' % (status_line(status), len(body), common, body)

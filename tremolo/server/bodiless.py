"""Bodiless: answers that have no body by their status; a body that is given is left out.

    204, 304    no body and no framing (RFC 9112 section 6.3); a 304 may say in Content-Length how
                long the answer of 200 would be (RFC 9110 section 8.6)
    205         no body, and `Content-Length: 0`, because clients do not know it by the status
                (RFC 9110 section 15.3.6)

So are the answers that a condition of the request asks for, if the application has set an ETag or a
Last-Modified: 304, or 412 with `Content-Length: 0` (RFC 9110 section 13). Their body is left out
without a word.

An application that gives a body, or a length, has made a mistake that hurts nobody: the client gets
what the status means. So it is no 500, but a warning, once for each path.
"""

from __future__ import annotations

import logging
from weakref import WeakKeyDictionary

from ..pace import FREE
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .response import Response
    from .server import Server

_log = logging.getLogger('tremolo.error')

BODILESS = frozenset((204, 205, 304))
# The lines of answers that a condition asked for: these very objects.
UNMET: dict[int, tuple[int, str | None]] = {304: (304, None), 412: (412, None)}
# The fields that they do not have: that of a body (RFC 9110 section 15.4.5), and, since no cache
# may keep a 412, those for caches (RFC 9111 section 3).
UNTRUE = {304: ('Content-Encoding',), 412: ('Content-Encoding', 'Cache-Control', 'Expires')}

# The statuses and paths that each server has warned of: at most so many, then it is silent.
_MOST_WARNINGS = 100
_LINE = '%s: an answer of status %d has no body: %d bytes are left out'
FREE.add(_LINE)    # (That is bound enough.)
_warned: WeakKeyDictionary[Server, set[tuple[int, bytes]]] = WeakKeyDictionary()


def frame_bodiless(response: Response, size: int | None, length: int | None) -> tuple[str, bytes]:
    """Return the framing of such an answer and its field line, as `Response._frame` does."""
    status = response.status
    if status == 304:
        leave_out(response, size or 0)
        return 'none', b'' if length is None else b'Content-Length: %d\r\n' % length
    leave_out(response, size or length or 0)
    return 'none', b'Content-Length: 0\r\n' if status == 205 else b''


def leave_out(response: Response, size: int) -> None:
    """Warn of a body of `size` bytes that is left out, once for each path."""
    warned = _warned.setdefault(response.connection.server, set())
    place = response.status, response.request.target.partition(b'?')[0][:200]
    if size and place not in warned and len(warned) < _MOST_WARNINGS:
        warned.add(place)
        _log.warning(_LINE, response.connection.describe(), response.status, size)

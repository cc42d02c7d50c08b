"""Repeated: what becomes of a field that is there twice although its value is no list.

Of two values, two servers may believe different ones. Whoever frames, routes or allows a request by
such a field could be fooled, so the request is refused. A few fields only tell something; browsers
and proxies do repeat them, and other servers accept that. Of these the first line counts. The other
lines are taken out, so all who read the fields see the same value.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .errors import ProtocolError

if TYPE_CHECKING:
    from .head import RequestHead

# The fields of which the first line counts. With another date of If-Modified-Since or
# If-Unmodified-Since the answer is another one, but never that of another request.
_FIRST_COUNTS = frozenset((b'date', b'from', b'if-modified-since', b'if-unmodified-since',
                           b'referer'))


def keep_first(head: RequestHead, name: bytes) -> None:
    """Take all lines but the first of the field `name` out of a head. Raises `ProtocolError`."""
    if name not in _FIRST_COUNTS:
        # (The name is one of those in grammar.py, so nothing of the request is repeated.)
        raise ProtocolError(400, f'the field {name.decode()} is there twice')
    first, fields = True, []
    for field in head.fields:
        if field[0] != name or first:
            fields.append(field)
        first = first and field[0] != name
    head.block = fields

"""Upgrade: the answer 101, after which a handler has the stream (RFC 9110 section 7.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http import status_line
from ..http.encoder import encode
from ..loop import Stream
from .errors import HandlerError
from .throttle import begin_answer

if TYPE_CHECKING:
    from .response import Response


def upgrade(response: Response, protocol: str) -> Stream:
    """Answer 101 and return the stream (see `Response.upgrade`)."""
    offered = (response.request.upgrade or b'').decode('latin-1').lower().split(',')
    if response.head_sent or protocol.lower() not in [each.strip() for each in offered]:
        raise HandlerError(f'the client does not offer to upgrade to {protocol}')
    stream = response.connection.upgrade()
    begin_answer(response)
    response.framing = 'upgraded'
    response.headers['Upgrade'] = protocol
    fields, _, _, date, server = encode(response.headers.raw_items(), refuse_coding=True)
    response.connection.send(b'%sConnection: upgrade\r\n%s%s\r\n' % (
        status_line(101), fields, response.connection.server.heads.common_fields(date, server)))
    stream.fill(response.connection.parser.rest())
    return stream

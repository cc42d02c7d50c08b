"""Upgrade: the answer 101, after which a handler has the stream (RFC 9110 section 7.8)."""

from __future__ import annotations

from ..http import status_line
from ..http.encoder import encode
from ..loop import Stream
from ..throttling import begin_answer
from ..typed import TYPE_CHECKING
from .errors import HandlerError

if TYPE_CHECKING:
    from .response_head import ResponseHead


def switch(response: ResponseHead, protocol: str) -> Stream:
    """Answer 101 and return the stream (see `ResponseHead.switch`)."""
    offered = (response.request.upgrade or b'').decode('latin-1').lower().split(',')
    if response.framing or protocol.lower() not in [each.strip() for each in offered]:
        raise HandlerError(f'the client does not offer to upgrade to {protocol}')
    connection = response.connection
    if not connection.stream.reactor.in_loop_thread():
        raise HandlerError('only the thread of the loop has the stream: upgrade in a generator, an '
                           '`async def`, or a function without thread=True')
    # Before anything happens: a field that may not be sent is an answer of 500.
    lines = [line for line in response.headers.raw_items() if line[0].lower() != b'upgrade']
    fields, _, _, date, server = encode(lines, refuse_coding=True)
    stream = connection.upgrade()
    begin_answer(response)
    response.framing = 'upgraded'
    head = b'%sConnection: upgrade\r\nUpgrade: %s\r\n%s%s\r\n' % (
        status_line(101), protocol.encode('ascii'), fields,
        connection.server.heads.common_fields(date, server))
    connection.send(response.request.marked(head))
    return stream

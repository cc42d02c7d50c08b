"""Early answer: may a connection outlive an answer that begins before a body in chunks was read?

The client is told in the answer's head, so we have to know it then. A body with a Content-Length
says how much is still to come. A body in chunks does not: it may end with the next packet, or
never. If we promised to keep the connection and then ended it because the body turned out to be
long, the client's next request would be lost on its way. So the answer says `Connection: close`
(RFC 9112 section 9.6), with two exceptions:

    the end of the body has arrived already: usual for a small one that was sent at once
    the handler reads, and its answer is in chunks: it has only begun, and what answers while it
    reads (an echo, a filter) reads to the end
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .request import Request
    from .request_body import RequestBody


def is_untouched(body: RequestBody) -> bool:
    """Tell whether nobody has read anything of it."""
    inbox = body.request.inbox
    return inbox is None or inbox.size + len(body.last) == body.size


def may_go_on(body: RequestBody, request: Request) -> bool:
    """Tell whether the end of a body in chunks has come, or the handler will most likely read it.

    What has arrived is moved to the request's inbox if it is little enough to be thrown away
    (`discard_size`). There the handler finds it if it reads after it has begun to answer.
    """
    connection = request.connection
    response = connection.response
    if request.inbox is not None:
        # (What a thread waits for is there before somebody reads it: places/threads.py.)
        idle = request.inbox.size and is_untouched(body) and not request.inbox.waiting
        return response is not None and response.framing == 'chunked' and not idle
    if 0 < connection.parser.buffered <= connection.server.settings.discard_size:
        request.inbox = body.open()
        body.pump()
    return body.done

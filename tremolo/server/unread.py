"""Unread: what becomes of the rest of a body when its request is answered.

It is thrown away up to `discard_size`, or the connection ends: the rest is never taken for the next
request. The answer's head has to say which, so this is decided before (`may_discard`).
"""

from __future__ import annotations

from ..http import ProtocolError
from ..rates.progress import begin_of_wait
from ..typed import TYPE_CHECKING
from .body_turns import PER_TURN, postpone
from .early_answer import may_go_on

if TYPE_CHECKING:
    from .request_body import RequestBody


def may_discard(body: RequestBody) -> bool:
    """Tell whether the rest is known to be small enough to be read, to keep the connection."""
    head = body.request
    if body.error is not None or not _is_sent(body):
        return False
    most = body.size + body.connection.server.settings.discard_size
    return may_go_on(body, head) if head.chunked else (head.content_length or 0) <= most


def is_little(body: RequestBody) -> bool:
    """Tell whether the rest is known to be no more than may be thrown away, or is not sent."""
    return not _is_sent(body) or (
        body.request.content_length is not None and may_discard(body))


def _is_sent(body: RequestBody) -> bool:
    # A client that waits for our 100 may send its body now, or not: we cannot know what its next
    # bytes are (RFC 9110 section 10.1.1).
    return body.continued or not body.request.expect_continue


def discard(body: RequestBody) -> bool:
    """Throw away what has come; return False if the connection has to end.

    `body.done` is True when the whole body has come.
    """
    connection = body.connection
    stream, parser = connection.stream, connection.parser
    now, most = stream.reactor.now, connection.server.settings.discard_size
    left = PER_TURN
    while body.error is None and body.discarded <= most:
        if body.postponed or not left:
            postpone(body)
            return True
        left -= 1
        try:
            event = parser.next_event()
            if event is None and stream.eof:
                parser.feed_eof()    # It raises the error.
        except ProtocolError:
            return False
        if event is None:
            body.minimum_rate.wait(begin_of_wait(stream.read_rest, now))
            stream.resume_reading()
            return True
        if not isinstance(event, bytes):
            body.done = True
            return True
        body.discarded += len(event)
        body.minimum_rate.moved(now, len(event))
    return False

"""RequestBody: the body of one request, from the parser to the handler that reads it.

A request without a body has no such object. As long as nobody reads, nothing is parsed, and the
bytes stay where they are. From the first read on they go to the request's inbox, as far as the
inbox has room. What becomes of a body that the answer did not wait for is decided in unread.py.

The clocks of the upload (`stall_timeout`, `min_upload_rate`) run only while we wait for the client:
not while the client's bytes lie here and the handler is busy, nor while our own rate limit lets
them lie in the kernel.
"""

from __future__ import annotations

from ..http import CONTINUE, ProtocolError
from ..loop import Inbox, StreamClosed
from ..loop.timers import NEVER
from ..rates.minimum_rate import MinimumRate
from ..rates.progress import begin_of_wait
from ..typed import TYPE_CHECKING, Any
from . import deadlines
from .body_turns import PER_TURN, postpone
from .notices import gone, record

if TYPE_CHECKING:
    from .connection import Connection
    from .request import Request

_AHEAD = 65536    # Bytes of a body that wait for the handler; beyond that the client waits.
# Bytes that one `recv` asks for within a body. Most handlers read as many, and get what came: to
# cut it would be a copy.
_PIECE = 65536
# What a handler does with a body of so many bytes may take long: as JSON up to 4 ms. So of those
# that end together few have a turn of the loop. (Who counts knows the end with the last piece.)
LONG = 16384


class RequestBody:
    """One body on its way. It is the `Source` of the request's inbox."""

    __slots__ = ('connection', 'continued', 'discarded', 'done', 'error', 'last', 'minimum_rate',
                 'piece', 'postponed', 'request', 'size')

    def __init__(self, connection: Connection, request: Request) -> None:
        settings = connection.server.settings
        self.connection = connection
        self.request = request
        self.minimum_rate = MinimumRate(settings, settings.min_upload_rate)
        self.done = False    # Whether the whole body has come.
        self.piece = _PIECE    # (Who reads larger pieces sets more.)
        self.last = b''    # The last piece of a long body, which comes with its end.
        self.postponed = False    # Whether what has come waits until others had their turn.
        self.continued = False    # Whether 100 Continue was sent.
        self.size = self.discarded = 0    # Bytes for the inbox; bytes thrown away.
        self.error: ProtocolError | None = None    # Why the rest of the body does not come.

    @property
    def reading(self) -> bool:
        """Whether somebody reads, and more of the body is to come."""
        return not self.done and self.error is None and self.request.inbox is not None

    def open(self) -> Inbox:
        """Make the inbox of this body."""
        inbox = Inbox(self.connection.stream.reactor, self)
        if self.done:
            inbox.feed_eof()
        elif self.error is not None:
            inbox.feed_error(self.error)
        return inbox

    def wanted(self) -> None:
        """Read on: the handler waits for bytes, or has taken some (the inbox calls this)."""
        connection = self.connection
        if connection.request_body is not self or self.done:
            return
        response = connection.response
        if (self.request.expect_continue and not self.continued
                and response is not None and not response.head_sent and not connection.stream.eof):
            self.continued = True
            connection.send(CONTINUE)
        if self.reading:
            self.pump()

    def pump(self) -> None:
        """Move bytes to the inbox, as long as it has room or its reader waits for more."""
        connection, inbox, rate = self.connection, self.request.inbox, self.minimum_rate
        stream, parser = connection.stream, connection.parser
        now, length, left = stream.reactor.now, self.request.content_length, PER_TURN
        if self.postponed:
            return postpone(self)
        # (A reader that waits has asked for more bytes than there are, and has set their bound.)
        while inbox is not None and (inbox.waiting or inbox.size < _AHEAD):
            event: Any = None
            # (Without new bytes there is news at the end only: the parser is not asked in vain.)
            if parser.buffer or self.size == length or stream.eof:
                try:
                    event = parser.next_event()
                    if event is None and stream.eof:
                        parser.feed_eof()
                except ProtocolError as error:
                    return self.fail(error)
            if event is None:
                if not inbox.waiting:
                    rate.stop(now)
                elif rate.since == NEVER:
                    # (No other deadline comes nearer here.)
                    rate.wait(begin_of_wait(stream.read_rest, now))
                    deadlines.arm_upload(connection, rate)
                return stream.resume_reading(self.piece)
            if type(event) is bytes:
                size = self.size = self.size + len(event)
                rate.moved(now, len(event))
                if size >= LONG and size == length:
                    self.last = event
                else:
                    inbox.feed(event)
                if (left := left - 1) <= 0 and parser.buffer:
                    return postpone(self)
            else:
                self.request.trailers = event.trailers
                self.request.received = self.size
                self.done = True
                rate.stop(now)
                if self.size < LONG:
                    inbox.feed_eof()
                else:
                    connection.server.ends.call(self.tell_end)
                return stream.resume_reading()
        rate.stop(now)
        return stream.pause_reading()

    def tell_end(self) -> None:
        """Let reads end: the whole body has come."""
        last, self.last = self.last, b''
        if self.request.inbox is not None:
            if last:
                self.request.inbox.feed(last)
            self.request.inbox.feed_eof()

    def fail(self, error: ProtocolError) -> None:
        """Let reads raise this error; nothing more of the connection is read."""
        self.error = error
        record(self.connection, 'refused', error)
        self.minimum_rate.stop(self.connection.stream.reactor.now)
        if self.request.inbox is not None:
            self.request.inbox.feed_error(error)

    def close(self, cause: BaseException | None = None) -> None:
        """Let reads raise `StreamClosed`, for a reader that goes on after the answer."""
        self.request.received = self.size + self.discarded
        if self.request.inbox is not None and not self.done:
            self.request.inbox.feed_error(StreamClosed(cause))


def open_inbox(request: Request) -> Inbox:
    """Make the inbox of a request's body, when somebody begins to read it."""
    connection = request.connection
    request_body, response = connection.request_body, connection.response
    if request_body is not None and response is not None and response.request is request:
        return request_body.open()
    inbox = Inbox(connection.stream.reactor)
    if request.has_body:
        # Its answer is complete, or the client is gone.
        inbox.feed_error(StreamClosed(gone(connection)))
    else:
        inbox.feed_eof()
    return inbox

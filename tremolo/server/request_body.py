"""RequestBody: the body of one request, from the parser to the handler that reads it.

A request without a body has no such object. As long as nobody reads, nothing is parsed, and the
bytes stay where they are. From the first read on they go to the request's inbox, as far as the
inbox has room. When the answer is complete and the body is not, the rest of the body is thrown away
up to `discard_size`, or the connection ends: the rest is never taken for the next request. The
answer's head has to say which (`may_discard`).

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
from .body_turns import postpone
from .early_answer import may_go_on
from .notices import gone, record

if TYPE_CHECKING:
    from .connection import Connection
    from .request import Request

_AHEAD = 65536    # Bytes of a body that wait for the handler; beyond that the client waits.
# Bytes that one `recv` asks for within a body. Most handlers read as many, and get what came: to
# cut it would be a copy.
_PIECE = 65536
# Pieces of one body that are parsed before others have their turn. (Usually a read is one piece,
# but it may be thousands of chunks: http/chunked.py takes some hundreds of them at a time.)
_PER_TURN = 3


class RequestBody:
    """One body on its way. It is the `Source` of the request's inbox."""

    __slots__ = ('_continued', '_discarded', '_error', '_size', 'connection', 'done',
                 'minimum_rate', 'piece', 'postponed', 'request')

    def __init__(self, connection: Connection, request: Request) -> None:
        settings = connection.server.settings
        self.connection = connection
        self.request = request
        self.minimum_rate = MinimumRate(settings, settings.min_upload_rate)
        self.done = False    # Whether the whole body has come.
        self.piece = _PIECE    # (Who reads larger pieces sets more.)
        self.postponed = False    # Whether what has come waits until others had their turn.
        self._continued = False    # Whether 100 Continue was sent.
        self._size = self._discarded = 0    # Bytes given to the inbox; bytes thrown away.
        self._error: ProtocolError | None = None    # Why the rest of the body does not come.

    @property
    def reading(self) -> bool:
        """Whether somebody reads, and more of the body is to come."""
        return not self.done and self._error is None and self.request.inbox is not None

    @property
    def received(self) -> int:
        """How many bytes of it have come, without those that nobody has looked at yet."""
        return self._size + self._discarded

    @property
    def untouched(self) -> bool:
        """Whether nobody has read anything of it."""
        inbox = self.request.inbox
        return inbox is None or inbox.size == self._size

    def open(self) -> Inbox:
        """Make the inbox of this body."""
        inbox = Inbox(self.connection.stream.reactor, self)
        if self.done:
            inbox.feed_eof()
        elif self._error is not None:
            inbox.feed_error(self._error)
        return inbox

    def wanted(self) -> None:
        """Read on: the handler waits for bytes, or has taken some (the inbox calls this)."""
        connection = self.connection
        if connection.request_body is not self or self.done:
            return
        response = connection.response
        if (self.request.expect_continue and not self._continued
                and response is not None and not response.head_sent and not connection.stream.eof):
            self._continued = True
            connection.send(CONTINUE)
        if self.reading:
            self.pump()

    def pump(self) -> None:
        """Move bytes to the inbox, as long as it has room or its reader waits for more."""
        connection, inbox, rate = self.connection, self.request.inbox, self.minimum_rate
        stream, parser = connection.stream, connection.parser
        now, length, left = stream.reactor.now, self.request.content_length, _PER_TURN
        # (A reader that waits has asked for more bytes than there are, and has set their bound.)
        while inbox is not None and (inbox.waiting or inbox.size < _AHEAD):
            if self.postponed or not left:
                return postpone(self)
            left -= 1
            event: Any = None
            # (Without new bytes there is news at the end only: the parser is not asked in vain.)
            if parser.buffer or self._size == length or stream.eof:
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
                self._size += len(event)
                rate.moved(now, len(event))
                inbox.feed(event)
            else:
                self.request.trailers = event.trailers
                self.request.received = self._size
                self.done = True
                rate.stop(now)
                inbox.feed_eof()
                return stream.resume_reading()
        rate.stop(now)
        return stream.pause_reading()

    def discard(self) -> bool:
        """Throw away what has come; return False if the connection has to end.

        `done` is True when the whole body has come.
        """
        connection = self.connection
        stream, parser = connection.stream, connection.parser
        now, most = stream.reactor.now, connection.server.settings.discard_size
        left = _PER_TURN
        while self._error is None and self._discarded <= most:
            if self.postponed or not left:
                postpone(self)
                return True
            left -= 1
            try:
                event = parser.next_event()
                if event is None and stream.eof:
                    parser.feed_eof()    # It raises the error.
            except ProtocolError:
                return False
            if event is None:
                self.minimum_rate.wait(begin_of_wait(stream.read_rest, now))
                stream.resume_reading()
                return True
            if not isinstance(event, bytes):
                self.done = True
                return True
            self._discarded += len(event)
            self.minimum_rate.moved(now, len(event))
        return False

    def may_discard(self) -> bool:
        """Tell whether the rest is known to be small enough to be read, to keep the connection."""
        head = self.request
        # A client that waits for our 100 may send its body now, or not: we cannot know what its
        # next bytes are (RFC 9110 section 10.1.1).
        waits = head.expect_continue and not self._continued
        most = self._size + self.connection.server.settings.discard_size
        if waits or self._error is not None:
            return False
        return may_go_on(self, head) if head.chunked else (head.content_length or 0) <= most

    @property
    def is_little(self) -> bool:
        """Whether the rest is known to be no more than may be thrown away, or is not sent."""
        head = self.request
        return (head.expect_continue and not self._continued) or (
            self._error is None and head.content_length is not None and self.may_discard())

    def fail(self, error: ProtocolError) -> None:
        """Let reads raise this error; nothing more of the connection is read."""
        self._error = error
        record(self.connection, 'refused', error)
        self.minimum_rate.stop(self.connection.stream.reactor.now)
        if self.request.inbox is not None:
            self.request.inbox.feed_error(error)

    def close(self, cause: BaseException | None = None) -> None:
        """Let reads raise `StreamClosed`, for a reader that goes on after the answer."""
        self.request.received = self.received
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

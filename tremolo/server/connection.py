"""Connection: one client's life. Here the loop's bytes and http's messages meet.

The stream delivers bytes (`data_received`), the parser turns them into requests, and each request
is given to `Server.handle`. The response reports back with `send_whole` or `answered`. One request
is answered at a time. The phases of a connection (README.md draws how one leads to another):

    NEW      nothing has come yet               first_byte_timeout, then a quiet close
    IDLE     between requests                   idle_timeout, then a quiet close
    HEAD     a head has begun                   head_timeout, then 408
    BUSY     a request is being answered        stall_timeout, minimum rates,
                                                half_close_timeout, handler_timeout
    DISCARD  answered; the unread rest of its   stall_timeout and discard_size, then LINGER
             body is thrown away
    CLOSING  all is written; the connection     stall_timeout
             closes when the kernel has it
    LINGER   our side is ended; what the        linger_timeout; more in linger.py
             client still sends is thrown away,
             or a reset would destroy the answer
    UPGRADED the handler has the stream         none of ours
    OFFERED  another worker may take it, and    none of ours (room workers)
             we do not read
    CLOSED   with one of the `REASONS`

README.md also has the table of what happens in BUSY when two of Expect, pipelining, half-close,
upgrade and draining meet. A handler is cancelled at once when its client is gone (reset, hang-up,
failed write). When the client has only ended its side, the handler is cancelled after
`half_close_timeout` without a byte taken: a closed and a half-closed client look alike.
"""

from __future__ import annotations

from ..http import ProtocolError, RequestParser
from ..loop import Stream
from ..loop.timers import NEVER
from ..polling.pollers import Unwatched
from ..typed import TYPE_CHECKING, Any, Protocol
from . import deadlines
from .errors import HandlerError
from .lifetime import Lifetime
from .notices import cancel, shown_request, told_to_handler
from .phases import BUSY, CLOSED, DISCARD, HEAD, IDLE, NEW, UPGRADED
from .request_body import RequestBody
from .response import Response, answer_to
from .unread import discard, is_little, may_discard

if TYPE_CHECKING:
    from .server import Server

# Pipelined requests answered in one go, before other connections get a turn; and the seconds after
# which no other one of them begins.
_AT_ONCE, _ENOUGH = 32, 0.001


class Running(Protocol):
    """What runs a handler that has to wait: a task, for example."""

    def cancel(self) -> Any:
        """Stop the handler: nobody takes its answer any more."""

    def where(self) -> str:
        """Return where it stands, as file:line, for reports."""


class Connection(Lifetime):
    """One client, from accept to close. `context` lives as long as the connection."""

    __slots__ = ('_left_alone', 'keep', 'parser', 'response', 'task')

    def __init__(self, server: Server, stream: Stream) -> None:
        super().__init__(server, stream)
        self.parser = RequestParser(server.limits, server.request_class)
        # The answer in hand, and what runs its handler if that has to wait.
        self.response: Response | None = None
        self.task: Running | None = None
        self.keep = False    # Whether the connection outlives the answer in hand.
        # Whether `handle` returned before its answer was complete: then the end of the answer has
        # to begin the next request.
        self._left_alone = False
        self.timer = stream.reactor.timers.new(deadlines.tick, self)
        deadlines.arm(self)
        stream.receiver = self
        stream.start()

    # -- bytes in (called by the stream) --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the stream. Hot: once per request."""
        phase = self.phase
        if phase is IDLE or phase is NEW or phase is HEAD:
            parser = self.parser
            if parser.buffer:
                parser.feed(data)
            else:
                parser.buffer = data    # As `feed` does, without the call.
            self._next_request()
        elif phase is BUSY or phase is DISCARD:
            self.parser.feed(data)
            if phase is DISCARD:
                self.discard_body()
            elif self.request_body is not None and self.request_body.reading:
                self.request_body.pump()
            elif self.parser.buffered >= self.server.settings.pipeline_size:
                self.stream.pause_reading()
        elif phase is UPGRADED:
            self.stream.fill(data)

    def eof_received(self) -> None:
        """Answer the requests that are whole, then close: the client sends no more."""
        phase = self.phase
        if phase is BUSY:
            if self.request_body is not None and self.request_body.reading:
                self.request_body.pump()
            self.make_progress().half_close(self.stream)
            deadlines.arm(self)
        elif phase is DISCARD:
            self.close('done')
        elif phase is UPGRADED:
            self.stream.inbox.feed_eof()
        else:
            self._next_request()

    def stream_closed(self, cause: BaseException | None) -> None:
        """Stop the handler and let go of everything: nothing goes in or out any more."""
        if self.phase is CLOSED:
            return
        if isinstance(cause, Unwatched):
            self.reason = 'failed'
        elif not self.reason:
            # (TLS without a close_notify: between requests that is how many clients leave.)
            left = isinstance(cause, EOFError) and self.phase in (NEW, IDLE)
            self.reason = 'client' if left else 'reset' if cause is not None else 'hang-up'
        self.phase = CLOSED
        self.timer.cancel()
        request_body, task, response = self.request_body, self.task, self.response
        self.response = self.request_body = self.task = None
        if response is not None:
            response.live = False
        if request_body is not None:
            request_body.close(cause)
        if task is not None:
            cancel(task, told_to_handler(self, cause))
        if response is not None:
            response.cut(self.reason)
            if self.server.request_observers:
                self.server.request_ended(response, self.reason)
        self.server.connection_closed(self)

    # -- from one request to the next -----------------------------------------------------------

    def _next_request(self) -> None:
        """Begin the requests that are whole, one after the other. Hot: once per request."""
        parser, stream, handle = self.parser, self.stream, self.server.handle
        left = _AT_ONCE
        while True:
            try:
                request: Any = parser.next_event()
            except ProtocolError as error:
                return self.refuse(error, 'refused')
            if request is None:
                return self._await_head()
            self.phase = BUSY
            # (Usually the answer is complete in this turn, so IDLE begins at the same time.)
            self.since = stream.reactor.now
            request.begin(self)
            response = self.response = answer_to(request, self)
            if request.has_body:
                self.request_body = RequestBody(self, request)
            handle(request, response)
            if self.phase is not IDLE:
                self._left_alone = True
                if self.phase is BUSY:
                    self._wait_for_handler()
                return None
            if not (parser.buffer or stream.paused or stream.buffered):
                # The usual case: one request, one answer. The timer is not touched: when it comes
                # up, `tick` looks at `since`.
                return None
            left -= 1
            if left == _AT_ONCE - 1:
                until = stream.reactor.time() + _ENOUGH
            if not left or stream.buffered > stream.high or stream.reactor.time() > until:
                return self._postpone()

    def _wait_for_handler(self) -> None:
        """Watch the client and the clock while a handler takes its time."""
        stream = self.stream
        if stream.eof:
            self.make_progress().half_close(stream)
        elif self.request_body is None or not self.request_body.reading:
            if self.parser.buffered >= self.server.settings.pipeline_size:
                stream.pause_reading()
            else:
                # We see that a client has gone only while we read.
                stream.resume_reading()
        deadlines.arm(self)

    def _postpone(self) -> None:
        """Begin the next request when others had a turn, or when the client has read."""
        stream = self.stream
        self.since = stream.reactor.now
        stream.pause_reading()
        drain = stream.drain()
        if drain is None:
            stream.reactor.call_soon(self._go_on)
        else:
            drain.add_done_callback(self._go_on)
            deadlines.arm(self)

    def _go_on(self, _: object = None) -> None:
        if self.phase is IDLE:
            if self.stream.buffered > self.stream.high:
                self._postpone()
            else:
                self._next_request()

    def _await_head(self) -> None:
        """Wait for the next head, or for the rest of one."""
        stream = self.stream
        if stream.eof:
            return self.close('client' if self.parser.idle else 'truncated')
        if stream.paused:
            stream.resume_reading()
        phase = HEAD if not self.parser.idle else NEW if self.phase is NEW else IDLE
        if phase is IDLE or phase is not self.phase:
            self.phase = phase
            self.since = stream.reactor.now
        return deadlines.arm(self)

    def _come_back(self) -> None:
        """Go on after an answer that took its time. Hot: once per request whose handler waits."""
        self._left_alone = False
        self.task = None
        stream = self.stream
        self.since = stream.reactor.now
        # (The timer stands early enough since the handler was waited for. With the condition
        # below: 16 % of the instructions of a handler that waits once, measured.)
        if self.progress is not None or not self.server.keep_alive:    # (Not while it drains.)
            deadlines.arm(self)
        if self.parser.buffer or stream.paused or stream.buffered:    # (After its end: paused.)
            # The next pipelined request begins from the ready queue, and not deep in the stack of
            # the handler that ended this answer.
            stream.reactor.call_soon(self._go_on)

    def discard_body(self) -> None:
        """Throw away the rest of a body that nobody wants, then wait for the next request."""
        request_body = self.request_body
        if request_body is not None and not request_body.done and not discard(request_body):
            self.linger('unread')
        elif request_body is None or request_body.done:
            self.request_body = None
            self.phase = IDLE
            if self._left_alone:
                self._come_back()
        else:
            deadlines.arm(self)

    # -- bytes out (called by the response) -----------------------------------------------------

    def keep_alive(self, wanted: bool) -> bool:
        """Decide, for the answer's head, whether the connection goes on after the answer."""
        self.keep = wanted and self.server.keep_alive and (
            self.request_body is None or self.request_body.done or may_discard(self.request_body))
        return self.keep

    def send_whole(self, response: Response, answer: bytes) -> None:
        """Send a whole answer after which the connection goes on; the request is read. Hot."""
        stream = self.stream
        stream.write(answer)
        if not response.live:
            return    # The write showed that the client has gone; `stream_closed` cleaned up.
        self.response = self.request_body = None
        response.live = False
        self.phase = IDLE
        if self.server.request_observers:
            # (Now, as long as `since` is the request's begin. As `Server.request_ended` does: its
            # call would take 800 instructions.)
            for observer in self.server.request_observers:
                try:
                    observer(response, '')
                except BaseException as error:
                    self.server.observer_failed(observer, error)
        if self._left_alone:
            self._come_back()
        if stream.buffered:
            deadlines.watch_answer(self, len(answer))

    def answered(self) -> None:
        """Go on, or end: all of the answer is sent."""
        response, self.response, self.task = self.response, None, None
        if response is not None:
            response.live = False
            if self.server.request_observers:
                self.server.request_ended(response, '')
        if self.phase is not BUSY:
            # It was upgraded, or the client was found gone while the answer was sent.
            if self.phase is UPGRADED:
                self.close('upgraded')
        elif self.keep:
            self.phase = DISCARD
            if self.request_body is not None:
                self.request_body.close()
            self.discard_body()
        elif self.request_body is not None and not self.request_body.done:
            self.request_body.close()    # (Who waits for it would wait until the client has gone.)
            self.linger('done' if is_little(self.request_body) else 'unread')
        elif response is None or response.request.keep_alive or self.parser.buffer:
            self.linger('done')    # The client may be sending more: it does not know that we end.
        else:
            self.close('done')

    def upgrade(self) -> Stream:
        """Hand over the stream to the handler, for an answer of 101. Raises `HandlerError`."""
        if self.request_body is not None or self.phase is not BUSY:
            raise HandlerError('this request cannot be upgraded')
        self.phase = UPGRADED
        self.reason = 'upgraded'
        self.keep = False
        self.timer.move(NEVER)
        return self.stream

    # -- the ends (the others are in lifetime.py) -----------------------------------------------

    @property
    def transferable(self) -> bool:
        """Whether another process can go on: between requests, with no byte in our buffers."""
        stream = self.stream
        return (self.phase in (IDLE, NEW) and self.parser.idle and not stream.unsent
                and not stream.buffered and not stream.eof and not stream.closed
                # The keys of an encrypted stream cannot be handed over.
                and not stream.secure)

    def describe(self) -> str:
        """Tell which request is in hand, for the log: escaped and bounded."""
        # (A WebSocket, the receiver of its stream, has its request for itself.)
        in_hand = getattr(self.response or self.stream.receiver, 'request', None)
        return f'a connection ({self.phase})' if in_hand is None else shown_request(in_hand)

"""Connection: one client's life. Here the loop's bytes and http's messages meet.

The stream gives bytes (`data_received`), the parser makes events of them, and each request is given
to `server.handle(request, response)`; the response reports back with `answered`. One request is
answered at a time. The phases:

    NEW      nothing has come yet               first_byte_timeout, then a quiet close
    IDLE     between requests                   idle_timeout, then a quiet close
    HEAD     a head has begun                   head_timeout, then 408
    BUSY     a request is being answered        body_rate, answer_rate, half_close_timeout,
                                                handler_timeout
    DRAIN    answered; its unread body is       body_rate and drain_size, then LINGER
             thrown away
    CLOSING  all is said, the kernel takes it   answer_rate
    LINGER   our side is ended; what the        linger_timeout
             client still sends is thrown away,
             or a reset would destroy the answer
    UPGRADED the handler has the stream         none of ours
    CLOSED   with one of the `REASONS`

How five conditions meet in BUSY (row: what holds already; column: what comes or is asked then):

              | Expect              | pipelining          | half-close          | upgrade             | server drains
    Expect    | 100 is sent once,   | bytes behind the    | body ends early:    | refused: HandlerError | answer says close;
     (unsent) | when the handler    | head are the body;  | 400 for the reader, | while a body is     | a read still sends
              | begins to read      | unread: close       | answer may go out   | announced           | 100
    pipelined | each request has    | kept up to          | all that is whole   | `rest` goes to the  | the one in hand says
              | its own 100, when   | pipeline_size, then | is answered, in     | upgraded stream     | close; later ones
              | its turn comes      | reading pauses      | order, then close   | unparsed            | are not begun
    half-     | no 100 (nobody will | answered in order   | again: nothing, the | allowed; its reads  | as without: answer,
     closed   | send the body)      | from what is there  | read interest is off| give the end        | then close
    upgraded  | not possible (101   | not possible: all   | the handler reads   | refused: once only  | handler may finish
              | needs no body)      | bytes are its own   | b''                 |                     | until the deadline
    draining  | 100 still sent: the | not begun after the | answer, then close  | allowed             | again: nothing; the
              | answer is owed      | answer said close   |                     |                     | deadline stays

A handler is cancelled at once when the client is gone (reset, hang-up, failed write), and after
`half_close_timeout` without a byte sent when the client has ended its side: a closed and a
half-closed peer look alike.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..http import ProtocolError, RequestParser
from ..loop import Inbox, Stream, StreamClosed, Task
from ..loop.timers import NEVER
from .errors import HandlerError
from .intake import Intake
from .pace import Pace
from .request import Context, Request
from .response import Response, refusal

if TYPE_CHECKING:
    from .server import Server

_log = logging.getLogger('tremolo.server')

NEW, IDLE, HEAD, BUSY, DRAIN, CLOSING, LINGER, UPGRADED, CLOSED = (
    'new', 'idle', 'head', 'busy', 'drain', 'closing', 'linger', 'upgraded', 'closed')

# Why connections end; `server.closed` counts each.
REASONS = {
    'done': 'the last answer was given',
    'client': 'the client ended it between requests',
    'first_byte_timeout': 'nothing came',
    'idle_timeout': 'no further request came',
    'head_timeout': 'a head did not become whole in time (408)',
    'truncated': 'the client ended it within a head',
    'refused': 'the client broke HTTP',
    'unread': 'the rest of a body that nobody read was too much or too slow',
    'body_rate': 'a body came too slowly (408)',
    'answer_rate': 'an answer was taken too slowly',
    'half_closed': 'the client had ended its side and nothing could be sent',
    'hang-up': 'the client hung up',
    'reset': 'the connection broke',
    'failed': 'the handler failed after the head was sent',
    'handler_timeout': 'the handler took too long',
    'upgraded': 'the upgraded stream ended',
    'shutdown': 'the server stopped',
}

# Pipelined requests answered in one go, before other connections get a turn.
_AT_ONCE = range(32)
# Seconds that an idle connection of a draining server may still bring a request that is on its way.
DRAIN_IDLE = 2.0


class Connection:
    """One client, from accept to close. `context` lasts as long."""

    __slots__ = ('_answer_pace', '_begun', '_context', '_half_closed', '_keep', '_looping', '_mark',
                 '_since', '_timer', 'intake', 'parser', 'phase', 'reason', 'request', 'response',
                 'server', 'stream', 'task')

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        self.parser = RequestParser(server.limits)
        self.phase = NEW
        self.reason = ''
        # The request that is being answered, its body, and the task, if it had to wait.
        self.request: Request | None = None
        self.intake: Intake | None = None
        self.response: Response | None = None
        self.task: Task | None = None
        self._context: Context | None = None
        # Whether the connection outlives the answer in hand.
        self._keep = False
        self._looping = False
        # When the request in hand began; since when there is none.
        self._begun = self._since = 0.0
        self._answer_pace: Pace | None = None
        # When a half-closed client was last seen to take something, and what `sent` was then.
        self._half_closed = NEVER
        self._mark = 0
        reactor = stream.reactor
        self._timer = reactor.timers.new(self._tick)
        self._timer.move(reactor.now + server.settings.first_byte_timeout)
        stream.receiver = self
        stream.start()

    @property
    def context(self) -> Context:
        """A place for values that live as long as the connection."""
        if self._context is None:
            self._context = Context(self.server.options)
        return self._context

    # -- bytes in (called by the stream) --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the stream. Hot: once per request."""
        phase = self.phase
        if phase is IDLE or phase is NEW or phase is HEAD:
            self.parser.feed(data)
            self._next_request()
        elif phase is BUSY:
            self.parser.feed(data)
            if self.intake is not None and self.intake.reading:
                self.intake.pump()
            elif self.parser.buffered >= self.server.settings.pipeline_size:
                self.stream.pause_reading()
        elif phase is DRAIN:
            self.parser.feed(data)
            self._drain_body()
        elif phase is UPGRADED:
            self.stream.fill(data)

    def eof_received(self) -> None:
        """The client sends no more: answer what is whole, then close."""
        phase = self.phase
        if phase is BUSY:
            if self.intake is not None and self.intake.reading:
                self.intake.pump()
            self._half_closed = self.stream.reactor.now
            self._mark = self.stream.sent
            self.arm()
        elif phase is DRAIN:
            self._close('done')
        elif phase is LINGER:
            self.stream.close()
        elif phase is UPGRADED:
            self.stream.inbox.feed_eof()
        else:
            self._next_request()

    def stream_closed(self, cause: BaseException | None) -> None:
        """Nothing goes in or out any more: stop the handler and let go of everything."""
        if self.phase is CLOSED:
            return
        self.phase = CLOSED
        self._timer.cancel()
        if not self.reason:
            self.reason = 'reset' if cause is not None else 'hang-up'
        intake, task = self.intake, self.task
        self.request = self.response = self.intake = self.task = None
        if intake is not None:
            intake.close(cause)
        if task is not None:
            task.cancel()
        self.server.connection_closed(self)

    # -- from one request to the next -----------------------------------------------------------

    def _next_request(self) -> None:
        """Begin the requests that are whole, one after the other. Hot: once per request."""
        parser, stream = self.parser, self.stream
        handle = self.server.handle
        self._looping = True
        for _ in _AT_ONCE:
            try:
                head = parser.next_event()
            except ProtocolError as error:
                self._looping = False
                return self._refuse(error, 'refused')
            if head is None:
                self._looping = False
                return self._await_head()
            self.phase = BUSY
            request = self.request = Request(self, head)    # type: ignore[arg-type]
            response = self.response = Response(self, request)
            if request.head.has_body:
                self.intake = Intake(self, request)
            handle(request, response)
            if self.phase is not IDLE:
                break
            if not (parser.buffered or stream.eof or stream.buffered):
                # The usual case: one request, one answer. The timer is not touched: when it
                # comes up it looks at `_since`.
                self._since = stream.reactor.now
                self._looping = False
                return None
            if stream.buffered > stream.high:
                break
        self._looping = False
        if self.phase is IDLE:
            self._postpone()
        elif self.phase is BUSY:
            self._begun = stream.reactor.now
            self.arm()
        return None

    def _postpone(self) -> None:
        """Go on with the next request when others had a turn, or when the client has read."""
        stream = self.stream
        self._since = stream.reactor.now
        stream.pause_reading()
        drain = stream.drain()
        if drain is None:
            stream.reactor.call_soon(self._go_on)
        else:
            drain.add_done_callback(self._go_on)
            self.watch_answer()

    def _go_on(self, _: object = None) -> None:
        if self.phase is IDLE:
            self._next_request()

    def _await_head(self) -> None:
        """Wait for the bytes of a next head, or for their rest."""
        stream = self.stream
        now = stream.reactor.now
        if stream.eof:
            return self._close('client' if self.parser.idle else 'truncated')
        if stream.paused:
            stream.resume_reading()
        settings = self.server.settings
        if not self.parser.idle:
            if self.phase is not HEAD:
                self.phase = HEAD
                self._timer.move(now + settings.head_timeout)
        elif self.phase is not NEW:
            self.phase = IDLE
            self._since = now
            self._timer.move(now + self._idle_time())
        if stream.buffered:
            self.watch_answer()
        return None

    def answered(self) -> None:
        """Know that the answer is complete (the response calls this). Hot."""
        self.request = self.response = self.task = None
        if self.phase is not BUSY:
            # Unless it was upgraded, the client has gone while this was being sent.
            if self.phase is UPGRADED:
                self._close('upgraded')
        elif self._keep:
            if self.intake is None:
                self._go_idle()
            else:
                self.phase = DRAIN
                self.intake.close()
                self._drain_body()
        elif (self.intake is None or self.intake.done) and not self.server.draining:
            self._close('done')
        else:
            self._linger('done' if self.intake is None or self.intake.done else 'unread')

    def _go_idle(self) -> None:
        self.phase = IDLE
        if not self._looping:
            # A pipelined request that is free now starts from the ready queue, not deep in the
            # stack of whoever ended this answer.
            self.stream.reactor.call_soon(self._go_on)

    def _drain_body(self) -> None:
        """Throw away what is left of a body that nobody wants."""
        intake = self.intake
        if intake is not None and not intake.done and not intake.drain():
            self._linger('unread')
        elif intake is None or intake.done:
            self.intake = None
            self._go_idle()
        else:
            self.arm()

    def keep_alive(self, close: bool) -> bool:
        """Decide, for the answer's head, whether the connection goes on after it. Hot."""
        request = self.request
        self._keep = (
            request is not None and request.head.keep_alive and not close
            and not self.server.draining
            and (self.intake is None or self.intake.done or self.intake.may_drain()))
        return self._keep

    def open_inbox(self, request: Request) -> Inbox:
        """Make the inbox that a request's body goes to, when somebody begins to read it."""
        if request is self.request and self.intake is not None:
            return self.intake.open()
        inbox = Inbox(self.stream.reactor)
        if request is self.request or not request.head.has_body:
            inbox.feed_eof()
        else:
            inbox.feed_error(StreamClosed(self.stream.cause))
        return inbox

    # -- bytes out (called by the response) -----------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes of the answer; a client that is gone gets none and its handler is stopped."""
        stream = self.stream
        if not stream.closed:
            stream.write(data)
            if stream.buffered:
                self.watch_answer()

    def watch_answer(self) -> None:
        settings = self.server.settings
        pace = self._answer_pace
        if pace is None:
            pace = self._answer_pace = Pace(
                settings.answer_rate, settings.rate_grace, settings.idle_timeout)
        if pace.since == NEVER:
            pace.wait(self.stream.reactor.now)
            self._mark = self.stream.sent
            self.arm()

    def upgrade(self) -> Stream:
        """Hand over the stream, with what was read too far; for an answer of 101."""
        stream = self.stream
        if self.intake is not None or self.phase is not BUSY:
            raise HandlerError('this request cannot be upgraded')
        self.phase = UPGRADED
        self.reason = 'upgraded'
        self._keep = False
        self._timer.move(NEVER)
        return stream

    # -- the ends -------------------------------------------------------------------------------

    def _refuse(self, error: ProtocolError, reason: str) -> None:
        """Answer what is no request, and never read another."""
        _log.debug('refused: %s', error)
        if not self.stream.closed:
            self.stream.write(refusal(error.status, self.server.common_fields()))
        self._linger(reason)

    def cut(self, reason: str, reset: bool = False) -> None:
        """End it now, in the middle of an answer, so that the client knows."""
        self.reason = self.reason or reason
        self.stream.abort(reset)

    def _close(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.phase = CLOSING
        self.stream.close()
        if not self.stream.closed:
            self.watch_answer()
            self.arm()

    def _linger(self, reason: str) -> None:
        self.reason = self.reason or reason
        stream = self.stream
        if stream.eof:
            return self._close(reason)
        self.phase = LINGER
        stream.shutdown()
        stream.resume_reading()
        self._timer.move(stream.reactor.now + self.server.settings.linger_timeout)
        return None

    def drain(self) -> None:
        """The server stops: give a request that is on its way a moment, then close."""
        if self.phase in (NEW, IDLE):
            self.phase = IDLE
            self._since = self.stream.reactor.now
            self._timer.move(self._since + DRAIN_IDLE)

    def _idle_time(self) -> float:
        return DRAIN_IDLE if self.server.draining else self.server.settings.idle_timeout

    # -- deadlines ------------------------------------------------------------------------------

    def arm(self) -> None:
        """Set the timer to the first deadline of a request in hand."""
        settings = self.server.settings
        deadline = NEVER
        if self.intake is not None:
            deadline = self.intake.pace.deadline
        if self._answer_pace is not None:
            deadline = min(deadline, self._answer_pace.deadline)
        if self.phase is BUSY:
            if self._half_closed != NEVER:
                deadline = min(deadline, self._half_closed + settings.half_close_timeout)
            if settings.handler_timeout:
                deadline = min(deadline, self._begun + settings.handler_timeout)
        if self.phase in (BUSY, DRAIN, CLOSING):
            self._timer.move(deadline)
        elif self.phase is IDLE:
            self._timer.move(min(deadline, self._since + self._idle_time()))

    def _tick(self) -> None:
        """A deadline has come (by the timer)."""
        phase = self.phase
        if phase is NEW:
            self._close('first_byte_timeout')
        elif phase is IDLE:
            if self.stream.buffered:
                # Not idle: it still takes its last answer.
                self._since = self.stream.reactor.now
                self._check_paces()
            elif self._since + self._idle_time() > self.stream.reactor.now:
                self._timer.move(self._since + self._idle_time())
            else:
                self._close('shutdown' if self.server.draining else 'idle_timeout')
        elif phase is HEAD:
            self._refuse(ProtocolError(408, 'the head took too long (head_timeout)'),
                         'head_timeout')
        elif phase is LINGER:
            self.stream.abort()
        elif phase in (BUSY, DRAIN, CLOSING):
            self._check_paces()

    def _check_paces(self) -> None:
        stream, settings = self.stream, self.server.settings
        now = stream.reactor.now
        moved, self._mark = stream.sent - self._mark, stream.sent
        pace = self._answer_pace
        if pace is not None:
            pace.moved(now, moved)
            if not stream.buffered:
                pace.stop(now)
            elif pace.deadline <= now:
                return self.cut('answer_rate')
        if self.intake is not None and self.intake.pace.deadline <= now:
            if self.phase is DRAIN:
                return self._linger('unread')
            self.reason = 'body_rate'
            self.intake.fail(ProtocolError(408, 'the body came too slowly (body_rate)'))
        if self.phase is BUSY:
            if self._half_closed != NEVER:
                if moved:
                    self._half_closed = now
                elif self._half_closed + settings.half_close_timeout <= now:
                    return self.cut('half_closed')
            if settings.handler_timeout and self._begun + settings.handler_timeout <= now:
                return self._time_out_handler()
        self.arm()
        return None

    def _time_out_handler(self) -> None:
        """Stop a handler that took longer than `handler_timeout`: 503, if nothing was sent."""
        _log.error('%s: the handler took too long (handler_timeout)', self.describe())
        task, response = self.task, self.response
        if response is None or response.begun or task is None:
            return self.cut('handler_timeout', reset=True)
        # Its task is ours no longer, so that what it does yet cannot reach the client.
        self.task = self.response = None
        self.reason = 'handler_timeout'
        self._refuse(ProtocolError(503, 'the handler took too long (handler_timeout)'),
                     'handler_timeout')
        task.cancel()
        return None

    def describe(self) -> str:
        """Tell which request is in hand, for the log: escaped, and at most 200 characters."""
        if self.request is None:
            return f'a connection ({self.phase})'
        head = self.request.head
        return f'{head.method} {head.target.decode("latin-1")[:200]!a}'

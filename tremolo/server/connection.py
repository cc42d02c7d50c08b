"""Connection: one client's life. Here the loop's bytes and http's messages meet.

The stream gives bytes (`data_received`), the parser makes events of them, and each request is given
to `Server.handle`; the response reports back with `answered`. One request is
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

          | Expect          | pipelining      | half-close      | upgrade         | draining
Expect    | sent once, when | bytes behind    | the body is     | refused while a | answer says
(unsent)  | the handler     | the head are    | cut: 400 for    | body is         | close; a read
          | begins to read  | the body        | its reader, the | announced       | still sends 100
          |                 |                 | answer may go   |                 |
          |                 |                 | out             |                 |
pipelined | each has its    | kept up to      | what is whole   | the rest is the | the one in hand
          | own 100, when   | pipeline_size,  | is answered in  | upgraded        | says close, no
          | its turn comes  | then reading    | order, then     | stream's        | other is begun
          |                 | pauses          | close           |                 |
half-     | no 100: nobody  | answered in     | nothing: the    | allowed; its    | answer, then
closed    | will send the   | order from what | read interest   | reads give the  | close
          | body            | is there        | is off          | end             |
upgraded  | cannot be: 101  | cannot be: all  | the handler     | refused: once   | may go on until
          | needs no body   | bytes are its   | reads b''       | only            | the deadline
          |                 | own             |                 |                 |
draining  | 100 still sent: | not begun after | answer, then    | allowed         | nothing; the
          | an answer is    | close was said  | close           |                 | deadline stays
          | owed            |                 |                 |                 |

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
# The least time between two looks at the deadlines of a connection, where none is due: for an
# `idle_timeout` of next to nothing.
_OFTEN = 0.05


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
        reactor = stream.reactor
        # When the request in hand began; since when the phase lasts, if it may only last so long.
        self._begun = self._since = reactor.now
        self._answer_pace: Pace | None = None
        # When a half-closed client was last seen to take something; what `sent` was at that look.
        self._half_closed = NEVER
        self._mark = 0
        self._timer = reactor.timers.new(self._tick)
        self.arm()
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
            self._look_at_sent()
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
            if not (parser.buffered or stream.eof or stream.buffered or stream.paused):
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
            self._wait_for_handler()
        return None

    def _wait_for_handler(self) -> None:
        """Watch the client and the clock while a handler takes its time."""
        stream = self.stream
        self._begun = stream.reactor.now
        if stream.eof:
            self._half_closed = self._begun
            self._look_at_sent()
        elif self.intake is None or not self.intake.reading:
            if self.parser.buffered >= self.server.settings.pipeline_size:
                stream.pause_reading()
            else:
                # Who is not read from cannot be seen to leave.
                stream.resume_reading()
        self.arm()

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
            self.arm()

    def _go_on(self, _: object = None) -> None:
        if self.phase is IDLE:
            if self.stream.buffered > self.stream.high:
                self._postpone()
            else:
                self._next_request()

    def _await_head(self) -> None:
        """Wait for the bytes of a next head, or for their rest."""
        stream = self.stream
        now = stream.reactor.now
        if stream.eof:
            return self._close('client' if self.parser.idle else 'truncated')
        if stream.paused:
            stream.resume_reading()
        if not self.parser.idle:
            if self.phase is not HEAD:
                self.phase = HEAD
                self._since = now
        elif self.phase is not NEW:
            self.phase = IDLE
            self._since = now
        self.arm()
        return None

    def answered(self) -> None:
        """Know that the answer is complete (the response calls this). Hot."""
        request = self.request
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
        elif self.intake is not None and not self.intake.done:
            self._linger('unread')
        elif request is None or request.head.keep_alive or self.parser.buffered:
            # It may be sending more, not knowing that we end.
            self._linger('done')
        else:
            self._close('done')

    def _go_idle(self) -> None:
        self.phase = IDLE
        if not self._looping:
            self._since = self.stream.reactor.now
            self.arm()
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
                self.watch_answer(len(data))

    def watch_answer(self, size: int) -> None:
        """Wait for the client to take what is kept, of which `size` bytes are new."""
        pace, stream = self._answer_pace, self.stream
        if pace is None:
            settings = self.server.settings
            pace = self._answer_pace = Pace(
                settings.answer_rate, settings.rate_grace, settings.idle_timeout)
        if pace.since == NEVER or stream.buffered <= size:
            # All is new, so until now it was not the client whom we waited for.
            pace.since = NEVER
            self._look_at_sent()
            pace.wait(stream.reactor.now)
            self.arm()

    def _watch_kept(self) -> None:
        """Watch what was written in an earlier turn, and was not taken at that turn's end."""
        stream = self.stream
        if stream.buffered and (self._answer_pace is None or self._answer_pace.since == NEVER):
            self.watch_answer(stream.buffered)

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
        self.send(refusal(error.status, self.server.common_fields()))
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
            self._watch_kept()
            self.arm()

    def _linger(self, reason: str) -> None:
        self.reason = self.reason or reason
        stream = self.stream
        if stream.eof:
            return self._close(reason)
        self.phase = LINGER
        self._since = stream.reactor.now
        stream.shutdown()
        stream.resume_reading()
        self._watch_kept()
        return self.arm()

    def drain(self) -> None:
        """The server stops: give a request that is on its way a moment, then close."""
        if self.phase in (NEW, IDLE):
            self.phase = IDLE
            # Not `now`: a host may call this between two turns.
            self._since = self.stream.reactor.time()
            self.arm()

    def _idle_time(self) -> float:
        return DRAIN_IDLE if self.server.draining else self.server.settings.idle_timeout

    # -- deadlines ------------------------------------------------------------------------------

    def arm(self) -> None:
        """See to it that the timer comes no later than the next deadline.

        It may come earlier, and then works out anew what is due. So a deadline that moves away
        costs nothing, as the idle one does with each request.
        """
        deadline = self._deadline()
        if deadline < self._timer.deadline:
            self._timer.move(deadline)

    def _deadline(self) -> float:
        """Work out when to look again: at a deadline, or before one that is not known yet."""
        settings, phase = self.server.settings, self.phase
        if phase is UPGRADED:
            return NEVER
        # An answer that is given at once leaves the timer alone, and the idle time begins.
        deadline = self.stream.reactor.now + max(self._idle_time(), _OFTEN)
        if self.stream.buffered and self._answer_pace is not None:
            deadline = min(deadline, self._answer_pace.deadline)
        elif phase is NEW:
            deadline = min(deadline, self._since + settings.first_byte_timeout)
        elif phase is IDLE:
            deadline = min(deadline, self._since + self._idle_time())
        elif phase is LINGER:
            deadline = min(deadline, self._since + settings.linger_timeout)
        if phase is HEAD:
            deadline = min(deadline, self._since + settings.head_timeout)
        elif phase is BUSY:
            deadline = min(deadline, self._half_closed + settings.half_close_timeout)
            if settings.handler_timeout:
                deadline = min(deadline, self._begun + settings.handler_timeout)
        if self.intake is not None and (phase is BUSY or phase is DRAIN):
            deadline = min(deadline, self.intake.pace.deadline)
        return deadline

    def _tick(self) -> None:
        """Do what is due (by the timer)."""
        self._look_at_sent()
        self._watch_kept()
        now = self.stream.reactor.now
        if self._deadline() <= now:
            self._time_out(now)
        if self.phase is not CLOSED:
            self.arm()

    def _time_out(self, now: float) -> None:
        """Do what is due in this phase."""
        phase = self.phase
        if self._answer_pace is not None and self._answer_pace.deadline <= now:
            self.reason = 'answer_rate'
            self.cut('answer_rate')
        elif phase is NEW:
            self._close('first_byte_timeout')
        elif phase is IDLE:
            self._close('shutdown' if self.server.draining else 'idle_timeout')
        elif phase is HEAD:
            self._refuse(ProtocolError(408, 'the head took too long (head_timeout)'),
                         'head_timeout')
        elif phase is DRAIN:
            self._linger('unread')
        elif phase is LINGER:
            self.stream.abort()
        elif self._half_closed + self.server.settings.half_close_timeout <= now:
            self.cut('half_closed')
        elif self.intake is not None and self.intake.pace.deadline <= now:
            self.reason = 'body_rate'
            self.intake.fail(ProtocolError(408, 'the body came too slowly (body_rate)'))
        else:
            self._time_out_handler()

    def _look_at_sent(self) -> None:
        """Take note of what the client took since the last look."""
        stream = self.stream
        now = stream.reactor.now
        moved, self._mark = stream.sent - self._mark, stream.sent
        if moved and self._half_closed != NEVER:
            self._half_closed = now
        pace = self._answer_pace
        if pace is not None and pace.since != NEVER:
            pace.moved(now, moved)
            if not stream.buffered:
                pace.stop(now)
            if self.phase is IDLE or self.phase is LINGER:
                # It was busy with our answer up to now.
                self._since = now

    def _time_out_handler(self) -> None:
        """Stop a handler that took longer than `handler_timeout`: 503, if nothing was sent."""
        _log.error('%s: the handler took too long (handler_timeout)', self.describe())
        task, response = self.task, self.response
        if response is None or response.begun or task is None:
            return self.cut('handler_timeout', reset=True)
        # Its task is ours no longer, so that what it does yet cannot reach the client.
        self.request = self.response = self.task = None
        if self.intake is not None:
            self.intake.close()
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

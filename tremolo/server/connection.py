"""Connection: one client's life. Here the loop's bytes and http's messages meet.

The stream gives bytes (`data_received`), the parser makes events of them, and each request is given
to `Server.handle`; the response reports back with `send_whole` or `answered`. One request is
answered at a time. The phases:

    NEW      nothing has come yet               first_byte_timeout, then a quiet close
    IDLE     between requests                   idle_timeout, then a quiet close
    HEAD     a head has begun                   head_timeout, then 408
    BUSY     a request is being answered        min_upload_rate, min_download_rate,
                                                half_close_timeout, handler_timeout
    DISCARD  answered; its unread body is       min_upload_rate and discard_size, then LINGER
             thrown away
    CLOSING  all is said, the kernel takes it   min_download_rate
    LINGER   our side is ended; what the        linger_timeout
             client still sends is thrown away,
             or a reset would destroy the answer
    UPGRADED the handler has the stream         none of ours
    CLOSED   with one of the `REASONS`

README.md has the table of what happens in BUSY when two of Expect, pipelining, half-close, upgrade
and draining meet. A handler is cancelled at once when the client is gone (reset, hang-up, failed
write), and after `half_close_timeout` without a byte sent when the client has ended its side: a
closed and a half-closed peer look alike.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..http import ProtocolError, RequestParser
from ..loop import Inbox, Stream, StreamClosed
from ..loop.timers import NEVER
from . import deadlines
from .errors import HandlerError
from .phases import BUSY, CLOSED, CLOSING, DISCARD, HEAD, IDLE, LINGER, NEW, UPGRADED
from .progress import DownloadProgress
from .request import Context, Request
from .request_body import RequestBody
from .response import Response, answer_to, refusal

if TYPE_CHECKING:
    from .server import Server

_log = logging.getLogger('tremolo.server')

_AT_ONCE = 32    # Pipelined requests answered in one go, before other connections get a turn.


class Running(Protocol):
    """Whatever runs the handler of an answer in hand, if that was not given at once."""

    def cancel(self) -> Any:
        """Stop it: nobody takes its answer any more."""

    def where(self) -> str:
        """Return where it stands, as file:line, for reports."""


class Addresses(NamedTuple):
    """The two ends of a connection: `(host, port)`, or of a UNIX socket None and its path."""

    client: Any
    server: Any


class Connection:
    """One client, from accept to close. `context` lasts as long."""

    __slots__ = ('_addresses', '_context', '_left_alone', 'keep', 'parser', 'phase', 'progress',
                 'reason', 'request_body', 'response', 'server', 'since', 'stream', 'task', 'timer')

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream: Stream = stream
        self.parser = RequestParser(server.limits, Request)
        self.phase = NEW
        self.reason = ''
        # The answer in hand, the body of its request, and what runs the handler if it has to wait.
        self.response: Response | None = None
        self.request_body: RequestBody | None = None
        self.task: Running | None = None
        self._context: Context | None = None
        self._addresses: Addresses | None = None    # Kept here once they were asked for.
        self.keep = False    # Whether it outlives the answer in hand (the response may say so).
        # Whether that answer was not given at once, so that nobody waits here for its end.
        self._left_alone = False
        reactor = stream.reactor
        self.since = reactor.now    # When the phase began; in BUSY, when its request did.
        self.progress: DownloadProgress | None = None
        self.timer = reactor.timers.new(deadlines.tick, self)
        deadlines.arm(self)
        stream.receiver = self
        stream.start()

    @property
    def context(self) -> Context:
        """A place for values that live as long as the connection."""
        if self._context is None:
            self._context = Context()
            self._context.options = self.server.options
        return self._context

    @property
    def addresses(self) -> Addresses:
        """The addresses of the client and of our own end.

        They are asked of the stream (two system calls), once, by whoever needs them first.
        """
        found = self._addresses
        if found is None:
            client, server = self.stream.peer, self.stream.sockname
            if isinstance(server, tuple):
                found = Addresses(tuple(client[:2]) if client else None, tuple(server[:2]))
            else:
                # The path of a UNIX socket, where clients have no address.
                found = Addresses(None, (os.fsdecode(server or b''), None))
            if not self.stream.closed:
                self._addresses = found
        return found

    @property
    def ends(self) -> Addresses:
        """The old name of `addresses`."""
        return self.addresses

    @property
    def begun(self) -> float:
        """The old name of `request_began`."""
        return self.since

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
                self._discard_body()
            elif self.request_body is not None and self.request_body.reading:
                self.request_body.pump()
            elif self.parser.buffered >= self.server.settings.pipeline_size:
                self.stream.pause_reading()
        elif phase is UPGRADED:
            self.stream.fill(data)

    def eof_received(self) -> None:
        """The client sends no more: answer what is whole, then close."""
        phase = self.phase
        if phase is BUSY:
            if self.request_body is not None and self.request_body.reading:
                self.request_body.pump()
            self.make_progress().half_close(self.stream)
            deadlines.arm(self)
        elif phase is DISCARD:
            self.close('done')
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
        self.timer.cancel()
        if not self.reason:
            self.reason = 'reset' if cause is not None else 'hang-up'
        request_body, task, response = self.request_body, self.task, self.response
        self.response = self.request_body = self.task = None
        if response is not None:
            response.live = False
        if request_body is not None:
            request_body.close(cause)
        if task is not None:
            task.cancel()
        if response is not None and self.server.request_observers:
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
                # The usual case: one request, one answer. The timer is not touched: when it
                # comes up it looks at `since`.
                self.since = stream.reactor.now
                return None
            left -= 1
            if not left or stream.buffered > stream.high:
                return self._postpone()

    def _wait_for_handler(self) -> None:
        """Watch the client and the clock while a handler takes its time."""
        stream = self.stream
        self.since = stream.reactor.now
        if stream.eof:
            self.make_progress().half_close(stream)
        elif self.request_body is None or not self.request_body.reading:
            if self.parser.buffered >= self.server.settings.pipeline_size:
                stream.pause_reading()
            else:
                stream.resume_reading()    # Who is not read from cannot be seen to leave.
        deadlines.arm(self)

    def _postpone(self) -> None:
        """Go on with the next request when others had a turn, or when the client has read."""
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
        """Wait for the bytes of a next head, or for their rest."""
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

    def send_whole(self, response: Response, answer: bytes) -> None:
        """Send all of an answer that lets the connection go on; there is no body to read. Hot."""
        stream = self.stream
        self.response = None
        response.live = False
        self.phase = IDLE
        if self._left_alone:
            self._come_back()
        stream.write(answer)
        if stream.buffered:
            deadlines.watch_answer(self, len(answer))
        if self.server.request_observers:
            self.server.request_ended(response, '')

    def answered(self) -> None:
        """Know that the answer is complete (the response calls this)."""
        response, self.response, self.task = self.response, None, None
        if response is not None:
            response.live = False
            if self.server.request_observers:
                self.server.request_ended(response, '')
        if self.phase is not BUSY:
            # Unless it was upgraded, the client has gone while this was being sent.
            if self.phase is UPGRADED:
                self.close('upgraded')
        elif self.keep:
            self.phase = DISCARD
            if self.request_body is not None:
                self.request_body.close()
            self._discard_body()
        elif self.request_body is not None and not self.request_body.done:
            self.linger('unread')
        elif response is None or response.request.keep_alive or self.parser.buffer:
            self.linger('done')    # It may be sending more, not knowing that we end.
        else:
            self.close('done')

    def _come_back(self) -> None:
        """Go on after an answer that took its time."""
        self._left_alone = False
        self.task = None
        self.since = self.stream.reactor.now
        deadlines.arm(self)
        # A pipelined request that is free now starts from the ready queue, not deep in the stack
        # of whoever ended this answer.
        self.stream.reactor.call_soon(self._go_on)

    def _discard_body(self) -> None:
        """Throw away what is left of a body that nobody wants."""
        request_body = self.request_body
        if request_body is not None and not request_body.done and not request_body.discard():
            self.linger('unread')
        elif request_body is None or request_body.done:
            self.request_body = None
            self.phase = IDLE
            if self._left_alone:
                self._come_back()
        else:
            deadlines.arm(self)

    def keep_alive(self, wanted: bool) -> bool:
        """Decide, for the answer's head, whether the connection goes on after it."""
        self.keep = wanted and self.server.keep_alive and (
            self.request_body is None or self.request_body.done or self.request_body.may_discard())
        return self.keep

    def open_inbox(self, request: Request) -> Inbox:
        """Make the inbox that a request's body goes to, when somebody begins to read it."""
        request_body, response = self.request_body, self.response
        if request_body is not None and response is not None and response.request is request:
            return request_body.open()
        inbox = Inbox(self.stream.reactor)
        if request.has_body:
            inbox.feed_error(StreamClosed(self.stream.cause))
        else:
            inbox.feed_eof()
        return inbox

    def make_progress(self) -> DownloadProgress:
        """Return what the client has taken so far, from now on watched."""
        if self.progress is None:
            settings = self.server.settings
            self.progress = DownloadProgress(
                settings.min_download_rate, settings.rate_grace, settings.idle_timeout,
                self.stream.sent)
        return self.progress

    def count_from(self, moment: float) -> None:
        """Let the time of this phase count from `moment` on."""
        self.since = moment

    # -- bytes out (called by the response) -----------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes of the answer; a client that is gone gets none and its handler is stopped."""
        stream = self.stream
        if not stream.closed:
            kept = stream.buffered
            stream.write(data)
            if stream.buffered:
                # (What waited for the end of the turn is as new as `data`.)
                deadlines.watch_answer(self, stream.buffered - kept)

    def upgrade(self) -> Stream:
        """Hand over the stream, with what was read too far; for an answer of 101."""
        stream = self.stream
        if self.request_body is not None or self.phase is not BUSY:
            raise HandlerError('this request cannot be upgraded')
        self.phase = UPGRADED
        self.reason = 'upgraded'
        self.keep = False
        self.timer.move(NEVER)
        return stream

    @property
    def transferable(self) -> bool:
        """Whether another process can go on with it: idle, with no byte in our buffers."""
        stream = self.stream
        return (self.phase in (IDLE, NEW) and self.parser.idle and not stream.unsent
                and not stream.buffered and not stream.eof and not stream.closed)

    def transfer(self) -> int:
        """Return a descriptor of its socket for another process; here it ends, unnoticed."""
        fd = os.dup(self.stream.fd)
        self.timer.move(NEVER)
        self.abort('handed over')
        return fd

    # -- the ends -------------------------------------------------------------------------------

    def refuse(self, error: ProtocolError, reason: str) -> None:
        """Answer what is no request, and never read another."""
        _log.debug('refused: %s', error)
        self.send(refusal(error.status, self.server.heads.common_fields()))
        self.linger(reason)

    def ends_because(self, reason: str) -> None:
        """Record the reason of its end, in place of one that was recorded before."""
        self.reason = reason

    def abort(self, reason: str, reset: bool = False) -> None:
        """End it now, in the middle of an answer, so that the client knows."""
        self.reason = self.reason or reason
        self.stream.abort(reset)

    cut = abort    # The old name.

    def close(self, reason: str) -> None:
        """End it when the client has taken what is kept."""
        self.reason = self.reason or reason
        self.phase = CLOSING
        self.stream.close()
        if not self.stream.closed:
            deadlines.watch_kept(self)
            deadlines.arm(self)

    def linger(self, reason: str) -> None:
        """End our side, and throw away what still comes: a reset would destroy the answer."""
        self.reason = self.reason or reason
        stream = self.stream
        if stream.eof:
            return self.close(reason)
        self.phase = LINGER
        self.since = stream.reactor.now
        stream.shutdown()
        stream.resume_reading()
        deadlines.watch_kept(self)
        return deadlines.arm(self)

    def drain(self) -> None:
        """The server stops: give a request that is on its way a moment, then close."""
        if self.phase in (NEW, IDLE):
            self.phase = IDLE
            # Not `now`: a host may call this between two turns.
            self.since = self.stream.reactor.time()
            deadlines.arm(self)

    def time_out_handler(self) -> None:
        """Stop a handler that took longer than `handler_timeout`: 503, if nothing was sent."""
        _log.error('%s: the handler took too long (handler_timeout)', self.describe())
        task, response = self.task, self.response
        if response is None or response.head_sent or task is None:
            return self.abort('handler_timeout', reset=True)
        # From now on what the handler does cannot reach the client.
        self.response = self.task = None
        response.live = False
        if self.server.request_observers:
            self.server.request_ended(response, 'handler_timeout')
        if self.request_body is not None:
            self.request_body.close()
        self.refuse(ProtocolError(503, 'the handler took too long (handler_timeout)'),
                     'handler_timeout')
        task.cancel()
        return None

    def describe(self) -> str:
        """Tell which request is in hand, for the log: escaped, and at most 200 characters."""
        if self.response is None:
            return f'a connection ({self.phase})'
        request = self.response.request
        return f'{request.method} {request.target.decode("latin-1")[:200]!a}'

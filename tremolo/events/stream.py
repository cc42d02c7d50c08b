"""Stream: the events of one answer: its head, the events, a comment now and then, and its end.

    yield sse.send('text', event='news', id='7', retry=3000)

The head goes with the first event. A handler that has sent none after a moment gets its head sent
all the same: only then the client knows that it is connected. Until the head, a handler may answer
with something else.
"""

from __future__ import annotations

from ..loop import Future, StreamClosed
from ..loop.threads import call_on_loop
from ..loop.timers import Timer
from ..server import HandlerError
from ..server.notices import cancel, gone
from ..typed import TYPE_CHECKING, Callable
from .drain import Drain
from .wire import COMMENT, encode

if TYPE_CHECKING:
    from ..server import Response

CONTENT_TYPE = 'text/event-stream; charset=utf-8'
OPEN_AFTER = 0.5    # Seconds until the head of a handler that has sent nothing.

# `no-store`: what was missed comes by Last-Event-ID, and never from a cache. The other one tells
# nginx, and what has learned it from there, not to collect the answer before it passes it on.
_FIELDS = (('Cache-Control', 'no-store'), ('X-Accel-Buffering', 'no'))


class EventStream:
    """What a handler gets as `sse`."""

    __slots__ = ('_drain', '_fail', '_heartbeat', '_response', '_sent_at', '_timer', 'ended',
                 'opened')

    def __init__(self, response: Response, heartbeat: float,
                 fail: Callable[[Exception], object]) -> None:
        """Begin for a request. After `heartbeat` seconds without a byte goes a comment; 0: never.

        `fail` is called with an error that does not arise in the handler's own call: of a comment,
        or of the end.
        """
        server = response.connection.server
        reactor = response.connection.stream.reactor
        self._response = response
        self._heartbeat = heartbeat
        self._fail = fail
        self.opened = False    # Whether the head of an event stream is sent.
        self._sent_at = reactor.time()
        self._timer: Timer = reactor.call_later(OPEN_AFTER, self._tick)
        self._drain = Drain.of(server)
        self._drain.join(self)
        self.ended = False    # Whether nothing more can be sent.

    instead = ': write `yield sse.send(...)`, and return nothing'    # Of who returns it.

    @property
    def last_id(self) -> str | None:
        """The id of the last event that this client got before it came back (Last-Event-ID).

        None if it is here for the first time, or got no event with an id. A client may send
        anything: look it up, and do not trust it.
        """
        text = self._response.request.headers.get('last-event-id')
        # (Fields are Latin-1; this one is UTF-8, says WHATWG.)
        return None if text is None else text.encode('latin-1').decode('utf-8', 'replace')

    def send(self, data: str | bytes, *, event: str | None = None, id: str | int | None = None,
             retry: int | None = None) -> Future:
        """Send an event; return a Future to wait for: it is done when the client takes more.

            yield sse.send('text')    # `await` in an `async def`, `.result()` in a thread

        `event` is its type, 'message' by default; `id` is what `last_id` is when the client comes
        back; `retry` is the time in milliseconds after which it does. Each line end in `data`
        arrives as LF. Raises `HandlerError` for what cannot be sent, as a line end in `event` or
        `id`, and `StreamClosed` when the client is gone, or the server has ended the stream.
        """
        block = encode(data, event, id, retry)
        return call_on_loop(self._response.connection.stream.reactor, self._send, block)

    # -- called by the server and by `web` --------------------------------------------------------

    def _send(self, block: bytes) -> Future:
        response = self._response
        if self.ended or not response.live:
            raise StreamClosed(gone(response.connection))
        self._sent_at = response.connection.stream.reactor.time()
        self._open()
        future = response.write(block)
        if response.framing == 'none':
            self.stop('the answer is complete')    # HEAD: the head is all of it.
        return future

    def _open(self) -> None:
        """Set what is in the head, right before it is sent."""
        response = self._response
        if self.opened:
            return
        if response.head_sent:
            raise HandlerError('the answer had begun before its first event: send all of it by '
                               '`sse.send(...)`, or by `response.write(...)`')
        response.content_type = CONTENT_TYPE
        response.headers.pop('Content-Type', None)
        for name, value in _FIELDS:
            response.headers.setdefault(name, value)
        response.handler_timeout = 0    # That was for what came before: a stream may last.
        self.opened = True
        self._timer.cancel()
        if self._heartbeat:
            reactor = response.connection.stream.reactor
            self._timer = reactor.call_later(self._heartbeat, self._tick)

    def _tick(self) -> None:
        """Send the head, or a comment, if it is time."""
        connection = self._response.connection
        reactor = connection.stream.reactor
        if self.ended or not self._response.live:
            return
        if not self.opened:
            if not self._response.head_sent:    # (Else the handler answers by itself.)
                self._send_comment()
            return
        wait = self._sent_at + self._heartbeat - reactor.time()
        if wait <= 0:
            wait = self._heartbeat
            # (What a slow client has not taken yet is as good as a comment.)
            if not connection.stream.buffered and not self._send_comment():
                return
        self._timer = reactor.call_later(wait, self._tick)

    def _send_comment(self) -> bool:
        """Send a comment; return whether the stream goes on."""
        try:
            self._send(COMMENT)
        except Exception as error:
            self._fail(error)
        return not self.ended

    def stop(self, why: str) -> None:
        """End the answer in good order, now, and then cancel the handler with this reason."""
        response = self._response
        if self.ended or (response.head_sent and not self.opened):
            return
        task = response.connection.task if response.live else None
        if response.live:
            try:
                self._open()
                if not response.head_sent:
                    response.write(b'')
                response.finish()
            except Exception as error:
                self._fail(error)    # The fields of the handler make no head, or no end.
        self.forget()
        if task is not None:
            cancel(task, why)

    def forget(self) -> None:
        """Let go of the clock and the server: the stream has ended."""
        self.ended = True
        self._timer.cancel()
        self._drain.leave(self)

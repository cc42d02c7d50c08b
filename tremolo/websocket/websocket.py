"""WebSocket: one socket, as a handler sees it (RFC 6455).

    yield websocket.accept()
    while True:
        message = yield websocket.receive()    # str or bytes; raises WebSocketClosed at the end
        yield websocket.send(message)

A socket is in one of four states. README.md has the table of what ends each of them.

    'handshake'   not accepted yet: its connection still has the stream (door.py)
    'open'        messages go both ways
    'closing'     we have closed, and wait for the close of the client (closing.py)
    'closed'      it is over; its connection may linger for a while

Each call returns a Future, which may be waited for in a generator, in an `async def`, and by
`.result()` in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import get_ident

from ..loop import Future
from ..loop.done import DONE
from ..loop.threads import call_on_loop
from ..server import HandlerError, Request, Response
from ..typed import Any
from ..ws.handshake import Handshake
from ..ws.parser import BINARY, TEXT, frame
from . import closing, keepalive
from .door import Door
from .drain import Drain
from .handshake import answer
from .outlet import Outlet
from .reading import SMALL, Reading
from .streams import Incoming, Sink


class WebSocket(Reading):
    """One WebSocket, for native handlers and for ASGI."""

    __slots__ = ()

    @classmethod
    def to(cls, request: Request, response: Response, handshake: Handshake) -> WebSocket:
        """Make the socket of a handshake that is in hand."""
        websocket = cls(request, response, handshake)
        Drain.watch(websocket.connection.server)
        websocket.wire.receiver = Door(websocket, websocket.connection, response)
        return websocket

    # -- the handshake --------------------------------------------------------------------------

    def accept(self, subprotocol: str | None = None,
               headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Future:
        """Answer 101, with one of `subprotocols` if any, and with fields of your own.

        Raises `HandlerError` the second time, and for what may not be sent.
        """
        return call_on_loop(self.reactor, self._accept, subprotocol, headers)

    def _accept(self, subprotocol: str | None, headers: Any) -> Future:
        response, handshake = self._response, self._handshake
        if self.state == 'closed':
            return self.refused()
        if response is None or handshake is None:
            raise HandlerError('the WebSocket is accepted already')
        if response.framing:
            raise HandlerError('the handshake has an answer already: leave out `accept`, or what '
                               'has sent it, `response.send` or `response.write`')
        if not response.live:
            closing.end(self, 1006, '')
            return self.refused()
        answered = answer(response, handshake, subprotocol, headers)
        if answered is None:
            return self.refused()    # (The door has ended it.)
        rest, deflate, self.parser = answered
        if deflate is not None:
            self.deflater = deflate.deflater()
        self._response = self._handshake = None
        self.state = 'open'
        stream = self.wire
        stream.receiver = self
        keepalive.begin(self)
        stream.resume_reading()
        if rest:
            self.data_received(rest)
        if stream.eof and self.state == 'open':
            self.eof_received()
        return DONE

    # -- messages out ---------------------------------------------------------------------------

    def send(self, message: str | bytes) -> Future:
        """Send a message; return a Future that is done when the client takes more.

        It raises `WebSocketClosed` if the socket is over. Hot: once per message.
        """
        if self.reactor.thread != get_ident() and not self.reactor.in_loop_thread():
            return call_on_loop(self.reactor, self.send, message)
        if type(message) is str:
            opcode, payload = TEXT, message.encode()
        elif type(message) is bytes:
            opcode, payload = BINARY, message
        else:
            opcode, payload = as_message(message)
        if self.state != 'open':
            return self.refused()
        stream = self.wire
        if self.deflater is not None:
            small = self.deflater.compress(payload)
            data = frame(opcode, payload) if small is None else frame(opcode, small, True)
        elif len(payload) < SMALL:
            data = b'%c%c%b' % (opcode | 0x80, len(payload), payload)
        else:
            data = frame(opcode, payload)
        if self.outlet is not None and self.outlet.sink is not None:
            future = Future(self.reactor)
            self.outlet.send_later(data, future)
            return future
        stream.write(data)
        return DONE if stream.buffered <= stream.high else self.room()

    def room(self) -> Future:
        """Return a Future that is done when the client takes more."""
        if self.state != 'open' or self.wire.buffered <= self.wire.high:
            return DONE
        if self.outlet is None:
            self.outlet = Outlet()
        return self.outlet.wait(self)

    def deliver(self, data: bytes, compressed: bool) -> None:
        """Send a whole frame that others get too; `compressed` by nobody's own compressor."""
        if self.state != 'open':
            return
        if compressed and self.deflater is not None:
            self.deflater.start_afresh()
        if self.outlet is not None and self.outlet.sink is not None:
            self.outlet.send_later(data)
        else:
            self.wire.write(data)

    # -- control frames -------------------------------------------------------------------------

    def ping(self) -> Future:
        """Send a ping; return a Future of the seconds until its answer, or a later one, came."""
        if not self.reactor.in_loop_thread():
            return call_on_loop(self.reactor, self.ping)
        if self.state != 'open':
            return self.refused()
        future = Future(self.reactor)
        keepalive.send_ping(self, future)
        return future

    def close(self, code: int = 1000, reason: str = '') -> Future:
        """Close, behind all that was sent; return a Future that is done when it is over.

        Raises `ValueError` for a code that may not be sent, and for a reason over 123 bytes.
        """
        return call_on_loop(self.reactor, self._close, code, reason)

    def _close(self, code: int, reason: str) -> Future:
        if self.state == 'handshake':
            raise HandlerError('the WebSocket is not accepted: before `accept` raise Forbidden, or '
                               'another HTTPError, and the client gets that answer')
        closing.close(self, code, reason)
        return DONE if self.state == 'closed' else self.disconnected.follower()

    def fail(self, code: int, reason: str, why: str = 'websocket') -> None:
        """Close because the client did wrong; `why` is one of the server's `REASONS`."""
        if self.state == 'open':
            closing.fail(self, code, reason, why)

    # -- streams --------------------------------------------------------------------------------

    def stream(self, text: bool | None = None) -> Any:
        """Return a Future of a `Source`: the next message, in pieces, whatever its size.

        With `text` return a `Sink` instead, for a message of ours: of str or of bytes.
        """
        if text is None:
            return call_on_loop(self.reactor, self._next_source)
        return call_on_loop(self.reactor, Sink, self, text)

    def _next_source(self) -> Future:
        if self.incoming is None:
            if self.state == 'handshake':
                return self.refused()
            incoming = self.incoming = Incoming(self.settings)
            backlog, self.backlog = self.backlog, None
            waiting, self.waiting = self.waiting, None
            incoming.take_over(self, backlog, waiting)
            self.parser.pieces = True
        return self.incoming.next_source(self)


def as_message(message: Any) -> tuple[int, bytes]:
    """Return the opcode and the payload of what is no plain str or bytes. Raises `TypeError`."""
    if isinstance(message, str):
        return TEXT, message.encode()
    if isinstance(message, (bytes, bytearray, memoryview)):
        return BINARY, bytes(message)
    raise TypeError(f'a message is str or bytes, not {type(message).__name__}: write '
                    'json.dumps(...) for other values')

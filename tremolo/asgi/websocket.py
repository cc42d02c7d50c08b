"""SocketExchange: one WebSocket, between the server and an ASGI application.

The messages and their order follow the ASGI specification, WebSocket version 2.4, with the
extension `websocket.http.response`. What the application may send, by what it has sent:

    connect   nothing                         websocket.accept, websocket.close (an answer of 403),
                                              websocket.http.response.start (its own answer)
    open      websocket.accept                websocket.send, websocket.close
    denial    websocket.http.response.start   websocket.http.response.body
    ended     websocket.close, or the last    nothing
              piece of its own answer

`receive` returns `websocket.connect`, the messages of the client, and from the end on
`websocket.disconnect`. The application is told that its client has left and is not cancelled. When
it returns the socket is closed with 1000, when it raises, with 1011. If it has not accepted, both
are answered with 500.
"""

from __future__ import annotations

import asyncio
import logging

from ..bridge import bridge_to
from ..bridge.exits import error_of
from ..bridge.wakeup import Wakeup
from ..frames import place_of
from ..loop import Future
from ..loop.done import DONE
from ..loop.task import TIME_SLICE
from ..pages import send_error, tell_client
from ..server import Request, Response
from ..server.errors import Forbidden
from ..server.notices import about, shown_request, why
from ..typed import TYPE_CHECKING, Any
from ..websocket import WebSocket, WebSocketClosed
from ..ws.handshake import Handshake
from .accepting import own_fields
from .client_gone import comes_from_us, socket_gone
from .exchange import Exchange, Message, exchange_of

if TYPE_CHECKING:
    from .runner import Runner

_log = logging.getLogger('tremolo.error')

# What may be sent, for the error of a message out of order.
_EXPECTED = {
    'connect': 'websocket.accept, websocket.close or websocket.http.response.start',
    'open': 'websocket.send or websocket.close',
    'denial': 'websocket.http.response.body',
}
# The messages of an answer of its own, and when they may be sent.
_DENIAL = {'websocket.http.response.start': 'connect', 'websocket.http.response.body': 'denial'}


class SocketExchange:
    """One WebSocket: the `receive` and the `send` of one call."""

    __slots__ = ('_changed', '_connected', '_denial', '_phase', '_request', '_response', '_runner',
                 '_take', '_task', '_told', '_turn', '_until', '_wakeup', '_websocket')

    def __init__(self, runner: Runner, request: Request, response: Response,
                 handshake: Handshake) -> None:
        self._runner = runner
        self._request = request
        self._response = response
        self._websocket = WebSocket.to(request, response, handshake)
        # The application's task. None if the task ended at once, or has ended since.
        self._task: asyncio.Task[Any] | None = None
        self._phase = 'connect'
        self._connected = False    # Whether `receive` has returned `websocket.connect`.
        self._told: int | None = None    # The code of the `websocket.disconnect` that it returned.
        self._denial: Exchange | None = None    # Takes the application's own answer.
        # A task that waits for the next message, and the function that gives it the message.
        loop = bridge_to(self._websocket.reactor).loop
        self._wakeup = Wakeup(loop, self._websocket.put_back)
        self._take = self._wakeup.wake
        # Those that wait for a message before the handshake is answered wait for this.
        self._changed: asyncio.Future[None] | None = None
        # The turn in which `send` was called last, and the time at which it lets others run.
        self._turn, self._until = 0, 0.0

    def follow(self, task: asyncio.Task[Any]) -> None:
        """Keep the task of an application that did not end at once, until it ends."""
        self._task = task
        # (Asyncio itself keeps only weak references to its tasks.)
        self._runner.running.add(task)
        task.add_done_callback(self._runner.running.discard)
        task.add_done_callback(self.finished)
        places = self._response.connection.server.places
        if places is not None and self._websocket.state == 'handshake':
            places.keep(self._request, task)    # (Until its 101, at most.)
        if self._response.live or self._websocket.state == 'open':
            self._response.connection.task = self

    def cancel(self) -> None:
        """Tell the application that the client is gone; cancel it after `handler_timeout`."""
        self._wake()
        reason = self._response.connection.reason
        if self._task is not None and reason == 'handler_timeout':
            self._task.cancel(why(reason))

    def where(self) -> str:
        """Return where the application stands, as file:line, for reports."""
        return place_of(self._task.get_coro()) if self._task is not None else 'ended'

    def finished(self, task: asyncio.Task[Any]) -> None:
        """Close the socket when the application's task has ended, or answer the handshake."""
        self._task = None
        websocket, response = self._websocket, self._response
        error = asyncio.CancelledError() if task.cancelled() else error_of(task)
        accepted = websocket.state != 'handshake' and self._phase not in ('connect', 'denial')
        lost = not response.live if not accepted else websocket.state != 'open'
        if error is None and not lost and self._phase in ('connect', 'denial'):
            error = RuntimeError('the application returned without an answer to the handshake')
        self._phase = 'ended'
        self._wake()
        answers = error is not None and not (accepted or lost)
        if error is not None and not (answers or (lost and self._tells_of_the_end(error))):
            _log.error('the ASGI application failed on %s', shown_request(self._request),
                       exc_info=error, extra=about(self._request))
            tell_client(self._request.connection, error)
        if accepted:
            if websocket.state == 'open':
                self._close(1000 if error is None else 1011)
        elif error is not None and answers:
            self._runner.failed(response, error, shown_request(self._request))

    def _tells_of_the_end(self, error: BaseException) -> bool:
        """Return whether an error says that the socket has ended, and nothing else.

        That is our own error, or one made from it; a cancellation; or an error with the code of the
        disconnect, as frameworks raise it.
        """
        return (isinstance(error, asyncio.CancelledError) or comes_from_us(error)
                or (self._told is not None and getattr(error, 'code', None) == self._told))

    def _close(self, code: int, reason: str = '') -> None:
        # (With a callback its error counts as seen: that the client has left is no fault.)
        self._websocket.close(code, reason).add_done_callback(id)

    def _wake(self, _: object = None) -> None:
        """Let those go on that wait for the answer to the handshake."""
        changed, self._changed = self._changed, None
        if changed is not None:
            self._websocket.disconnected.withdraw(self._wake)
            if not changed.done():
                changed.set_result(None)

    # -- the application's side -----------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next message of the client. Hot: once per message.

        The first is `websocket.connect`. When the socket has ended it is `websocket.disconnect`,
        again and again.
        """
        websocket, message = self._websocket, None
        if self._connected and websocket.state == 'open' and not (
                websocket.backlog or websocket.taker or websocket.waiting):
            # The usual case: nothing has come yet, and nobody else waits.
            websocket.taker = self._take
            try:
                message = await self._wakeup
            finally:
                if websocket.taker is self._take:
                    websocket.taker = None    # It was cancelled.
        if message is None:
            return await self._receive()
        if type(message) is str:
            return {'type': 'websocket.receive', 'text': message, 'bytes': None}
        return {'type': 'websocket.receive', 'text': None, 'bytes': message}

    async def _receive(self) -> Message:
        """Return the next message in all but the usual case."""
        websocket = self._websocket
        if not self._connected:
            self._connected = True
            return {'type': 'websocket.connect'}
        while websocket.state == 'handshake' and self._phase != 'ended':
            await self._change()
        code, reason = 1006, ''
        if websocket.state != 'handshake':
            try:
                message = await websocket.receive()
            except WebSocketClosed as closed:
                code, reason = closed.code, closed.reason
            else:
                kind, other = ('text', 'bytes') if type(message) is str else ('bytes', 'text')
                return {'type': 'websocket.receive', kind: message, other: None}
        self._told = code
        return {'type': 'websocket.disconnect', 'code': code, 'reason': reason}

    async def _change(self) -> None:
        """Wait until the handshake is answered, or the client has left."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
            self._websocket.disconnected.add_done_callback(self._wake)
        await asyncio.wait((self._changed,))

    async def send(self, message: Message) -> None:
        """Take the next message of the application; return when more may be sent. Hot.

        Raises `RuntimeError` for a message out of order, `TypeError` and `ValueError` for wrong
        contents, `OSError` when the client is gone.
        """
        kind, websocket = message['type'], self._websocket
        if kind == 'websocket.send' and self._phase == 'open':
            text, data = message.get('text'), message.get('bytes')
            if data is None and type(text) is str:
                wait = websocket.send(text)
            else:
                wait = websocket.send(_payload(text, data))
            reactor = websocket.reactor
            if wait is not DONE:
                await self._room(wait)
            elif self._turn != reactor.turns:
                self._turn, self._until = reactor.turns, reactor.now + TIME_SLICE
            elif reactor.time() > self._until:
                # It has sent for 10 ms without ever having to wait: let others run.
                await asyncio.sleep(0)
        elif self._phase == 'connect' and kind == 'websocket.accept':
            await self._room(websocket.accept(
                message.get('subprotocol'), own_fields(message.get('headers') or ())))
            self._phase = 'open'
            self._wake()
        elif self._phase in ('connect', 'open') and kind == 'websocket.close':
            self._end(message)
        elif _DENIAL.get(kind) == self._phase:
            await self._deny(message)
        elif self._phase != 'ended':
            raise RuntimeError(f'expected {_EXPECTED[self._phase]}, got {kind}')
        else:
            after = 'the answer was complete' if self._denial is not None else 'websocket.close'
            raise RuntimeError(f'{kind} after {after}')

    async def _room(self, wait: Future) -> None:
        """Wait until more may be sent. Raises `OSError` when the client is gone."""
        try:
            await wait
        except WebSocketClosed as closed:
            raise socket_gone(closed) from None

    def _end(self, message: Message) -> None:
        """Close the socket, or refuse the handshake with 403."""
        code, reason = message.get('code'), message.get('reason')
        if self._phase == 'open':
            self._close(1000 if code is None else code, reason or '')
        elif self._response.live:
            # (What a client sends that does not wait for this answer is no request.)
            self._request.keep_alive = False
            send_error(self._response, Forbidden())
        self._phase = 'ended'
        self._wake()

    async def _deny(self, message: Message) -> None:
        """Answer the handshake with an answer of the application's own."""
        denial = self._denial
        if denial is None:
            denial = exchange_of(self._runner, self._request, self._response)
            self._request.keep_alive = False
        inner = {**message, 'type': message['type'][len('websocket.'):], 'trailers': False}
        await denial.send(inner)
        self._denial, self._phase = denial, 'denial'
        if self._response.ended:
            self._phase = 'ended'
            self._wake()


def _payload(text: Any, data: Any) -> str | bytes:
    """Return what a `websocket.send` holds, unless it is an ordinary str."""
    if (text is None) == (data is None):
        raise ValueError('a websocket.send has either text or bytes, and the other is None')
    if text is not None:
        if not isinstance(text, str):
            raise TypeError(f'the text of a websocket.send is str, not {type(text).__name__}')
        return str(text)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f'the bytes of a websocket.send are bytes, not {type(data).__name__}')
    return bytes(data)

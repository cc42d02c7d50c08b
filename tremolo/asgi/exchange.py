"""Exchange: one request and its answer, between the server and an ASGI application.

An exchange has the two functions that the application is called with: `receive` and `send`. The
messages and their order follow the ASGI specification, HTTP version 2.3, and as in 2.4 `send`
raises OSError when the client is gone
(https://asgi.readthedocs.io/en/latest/specs/www.html). The extensions early_hint, trailers and
pathsend are supported, in debug mode also debug (.../extensions.html).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping

from ..errors import readable
from ..frames import place_of
from ..http import ProtocolError
from ..http.encoder import encode
from ..loop import Future, Reactor, StreamClosed
from ..loop.stream import READ_SIZE
from ..pages import tell_client
from ..server import Request, Response
from ..server.notices import about, shown_request, why
from ..typed import TYPE_CHECKING, Any
from .client_gone import client_gone, comes_from_us
from .extensions import add_trailers, take_extension

if TYPE_CHECKING:
    from .runner import Runner

Message = MutableMapping[str, Any]

_log = logging.getLogger('tremolo.error')

# The largest piece of a request's body in one message, in bytes: what the largest `recv` brings,
# and within a body it is less. (To cut a piece would be a copy.)
_PIECE = READ_SIZE

_START = 'http.response.start'
_BODY = 'http.response.body'
_TRAILERS = 'http.response.trailers'


class Exchange:
    """One request and its answer: the `receive` and the `send` of one call."""

    __slots__ = ('_gone', '_reading', '_taken', '_task', '_until', 'expected', 'request',
                 'response', 'runner', 'trailers')

    runner: Runner
    request: Request
    response: Response
    # The application's task. None if the task ended at once, or has ended since.
    _task: asyncio.Task[Any] | None
    expected: str    # The type of the next message; '' after the last one.
    # The trailers so far; None if the application announced no trailers.
    trailers: bytes | None
    # The time at which `send` lets other tasks run; 0.0 before the first piece.
    _until: float
    # How many bytes of the body were received; None once the application has its end.
    _taken: int | None
    # Set while a task reads the body: other tasks of the application wait for this Future.
    _reading: asyncio.Future[None] | None
    # A task that waits for the client to leave waits for this Future.
    _gone: Future | None

    @staticmethod
    def of(runner: Runner, request: Request, response: Response) -> Exchange:
        """Make the exchange of a request. Hot. (CPython 3.11 does not inline an `__init__`.)"""
        exchange = Exchange()
        exchange.runner = runner
        exchange.request = request
        exchange.response = response
        exchange.expected = _START
        exchange._task = exchange.trailers = exchange._reading = exchange._gone = None
        exchange._taken = 0
        exchange._until = 0.0
        return exchange

    def follow(self, task: asyncio.Task[Any]) -> None:
        """Keep the task of an application that did not end at once, until it ends."""
        self._task = task
        # (Asyncio itself keeps only weak references to its tasks.)
        self.runner.running.add(task)
        # (One callback for all that is to do then: each is a Handle of asyncio, and its context.)
        task.add_done_callback(self.finished)
        response = self.response
        if (places := response.connection.server.places) is not None:
            places.keep(self.request, task)
        if response.live:
            response.connection.task = self

    def finished(self, task: asyncio.Task[Any]) -> None:
        """Complete the answer when the application's task has ended.

        An error becomes the answer; if the head was sent already, the connection is cut.
        """
        if self._task is not None:
            self._task = None
            self.runner.running.discard(task)
        # Other tasks of the application may still wait for the client to leave.
        if self._gone is not None:
            self.wake()
        response = self.response
        # (Middleware may still be sending an answer that the application has completed.)
        lost = not response.live or not self.expected
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            if lost:
                return
            error = RuntimeError('the application returned without a complete answer')
        error = readable(error)
        if lost and (isinstance(error, asyncio.CancelledError) or comes_from_us(error)):
            return
        if not lost:
            self.runner.failed(response, error, response.connection.describe())
        else:
            _log.error('the ASGI application failed on %s', shown_request(self.request),
                       exc_info=error, extra=about(self.request))
            tell_client(self.request.connection, error, lost)

    def cancel(self) -> None:
        """Tell the application that the client is gone; cancel it after `handler_timeout`."""
        self.wake()
        reason = self.response.connection.reason
        if self._task is not None and reason == 'handler_timeout':
            self._task.cancel(why(reason))

    def where(self) -> str:
        """Return where the application stands, as file:line, for reports."""
        return place_of(self._task.get_coro()) if self._task is not None else 'ended'

    def wake(self) -> None:
        """Let `receive` return `http.disconnect`, if a task waits for that."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result()

    # -- the application's side -----------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the body, and after its end `http.disconnect`.

        That comes when the client has left or the answer is complete.
        """
        request, response = self.request, self.response
        connection = response.connection
        if self._taken is not None and response.live:
            if not request.has_body:
                self._taken = None
                return {'type': 'http.request', 'body': b'', 'more_body': False}
            while self._reading is not None:
                await asyncio.wait((self._reading,))
            # (Another task may have received the end of the body in the meantime.)
            if self._taken is not None and response.live:
                return await self._read()
        if response.live:
            # (A task that gave up waiting has cancelled this Future.)
            if self._gone is None or self._gone.cancelled():
                self._gone = Future(connection.stream.reactor)
            await self._gone
        return {'type': 'http.disconnect'}

    async def _read(self) -> Message:
        """Return the message with the next piece of the body."""
        read = self.request.read(_PIECE)
        try:
            if read.done():
                data = read.result()
            else:
                self._reading = asyncio.get_running_loop().create_future()
                data = await read
        except ProtocolError as error:
            self.runner.fail(self.response, error)
            return {'type': 'http.disconnect'}
        except StreamClosed:
            return {'type': 'http.disconnect'}
        finally:
            reading, self._reading = self._reading, None
            if reading is not None:
                reading.set_result(None)
        taken = (self._taken or 0) + len(data)
        more = bool(data) and taken != self.request.content_length
        self._taken = taken if more else None
        return {'type': 'http.request', 'body': data, 'more_body': more}

    async def send(self, message: Message) -> None:
        """Take the next message of the answer; return when more may be sent. Hot.

        Raises `RuntimeError` for a message out of order, `TypeError` and `ValueError` for wrong
        contents, `HandlerError` for more or less body than announced, `OSError` when the client is
        gone.
        """
        kind = message['type']
        response = self.response
        if kind != self.expected:
            await take_extension(self, kind, message)
        elif not response.live:
            raise client_gone(response)
        elif kind == _BODY:
            body = message.get('body', b'')
            if type(body) is not bytes:
                if not isinstance(body, (bytes, bytearray, memoryview)):
                    raise TypeError(f'the body of a message is bytes, not {type(body).__name__}')
                body = bytes(body)
            if message.get('more_body'):
                wait = response.write_pieces(b'', body)
                reactor = response.connection.stream.reactor
                # (Mostly there is nothing to wait for, and a call would make a coroutine.)
                if wait is not None or reactor.time() > self._until:
                    await self._room(wait, reactor)
            elif self.trailers is not None:
                self._write(body)
                self.expected = _TRAILERS
            else:
                # (An empty body for HEAD says nothing of the length that GET would get.)
                if response.framing or (not body and self.request.method == 'HEAD'):
                    self._write(body)
                    response.finish()
                else:
                    response.send_body(body)
                self.expected = ''
                if self._gone is not None:
                    self.wake()
        elif kind == _START:
            response.set_encoded(message['status'], encode(message.get('headers', ())))
            if message.get('trailers'):
                self.trailers = b''
            self.expected = _BODY
        else:
            add_trailers(self, message)

    def _write(self, body: bytes) -> None:
        """Write the last piece of a body, without waiting for the client."""
        wait = self.response.write_pieces(b'', body)
        if wait is not None:
            wait.add_done_callback(id)    # With a callback its error counts as seen.

    async def _room(self, wait: Future | None, reactor: Reactor) -> None:
        """Wait until there is room for more; while there always is, let others run every 10 ms."""
        if wait is not None:
            try:
                await wait
            except StreamClosed as error:
                raise client_gone(self.response) from error
        elif not self._until:
            self._until = reactor.slice_end(self)
        else:
            await (reactor.turn_of(self) or asyncio.sleep(0))
            self._until = reactor.slice_end(self)


# (As `answer_to` of the response.)
exchange_of = Exchange.of

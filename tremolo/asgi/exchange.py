"""Exchange: one request and its answer, between the server and an ASGI application.

The messages and their order are those of the ASGI specification, HTTP version 2.4, with the
extensions early_hint, trailers and pathsend, and in debug mode debug
(https://asgi.readthedocs.io/en/latest/specs/www.html and .../extensions.html).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, MutableMapping
from types import CoroutineType
from typing import Any, Callable

from ..bridge import awaiting
from ..http import ProtocolError
from ..http.encoder import encode, encode_links, encode_trailers
from ..loop import Future, Reactor, StreamClosed
from ..loop.task import TIME_SLICE
from ..server import Request, Response

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None]]

_log = logging.getLogger('tremolo.error')

_PIECE = 65536    # Bytes of a body that one message holds at most.
_FILE_PIECE = 262144    # Bytes of a file that are read at once.

_START = 'http.response.start'
_BODY = 'http.response.body'
_TRAILERS = 'http.response.trailers'


class ClientGone(OSError):
    """Nobody takes the answer any more; raised in the application."""

    def __init__(self) -> None:
        super().__init__('the client is gone')


class Exchange:
    """What an application is given to answer one request."""

    __slots__ = (
        '_expected',
        '_gone',
        '_reading',
        '_request',
        '_response',
        '_runner',
        '_taken',
        '_task',
        '_trailers',
        '_until',
    )

    def __init__(self, runner: Runner, request: Request, response: Response) -> None:
        self._runner = runner
        self._request = request
        self._response = response
        # The application's task, if it did not end at once.
        self._task: asyncio.Task[Any] | None = None
        self._expected = _START    # The message that comes next; '' when there is none.
        # The trailers so far; None if none were announced.
        self._trailers: bytes | None = None
        self._until = 0.0    # When others get a turn.
        # Bytes of the body that were taken; None when its end was told. Who reads it now. Who waits
        # for the client to leave.
        self._taken: int | None = 0
        self._reading: asyncio.Future[None] | None = None
        self._gone: Future | None = None

    def follow(self, task: asyncio.Task[Any]) -> None:
        """Wait for an application that did not end at once."""
        self._task = task
        # (Asyncio itself holds tasks only weakly.)
        self._runner.running.add(task)
        task.add_done_callback(self._runner.running.discard)
        task.add_done_callback(self.finished)
        response = self._response
        if response.live:
            response.connection.task = self

    def finished(self, task: asyncio.Task[Any]) -> None:
        """Know that the application has ended; its error becomes the answer, or cuts it."""
        self._task = None
        self._wake()    # Others of it may wait for the end yet.
        response = self._response
        lost = not response.live
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            if lost:
                return
            error = RuntimeError('the application returned without a complete answer')
        if lost and (isinstance(error, asyncio.CancelledError) or _was_told(error)):
            return
        _log.error('the ASGI application failed on %s', response.connection.describe()
                   if not lost else self._request, exc_info=error)
        if not lost:
            self._runner.fail(response, error)

    def cancel(self) -> None:
        """Tell the application that the client is gone; cancel it if its time is over."""
        self._wake()
        if self._task is not None and self._response.connection.reason == 'handler_timeout':
            self._task.cancel()

    def _wake(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result()

    # -- the application's side -----------------------------------------------------------------

    async def receive(self) -> Message:
        """Give the next piece of the body, or tell that the client has left."""
        request, response = self._request, self._response
        connection = response.connection
        if self._taken is not None and response.live:
            if not request.has_body:
                self._taken = None
                return {'type': 'http.request', 'body': b'', 'more_body': False}
            while self._reading is not None:
                await asyncio.wait((self._reading,))
            # (Another may have taken the last of it meanwhile.)
            if self._taken is not None and response.live:
                return await self._read()
        if response.live:
            # (Who gave up waiting has cancelled it.)
            if self._gone is None or self._gone.cancelled():
                self._gone = Future(connection.stream.reactor)
            await self._gone
        return {'type': 'http.disconnect'}

    async def _read(self) -> Message:
        """Give the next piece of a body."""
        read = self._request.read(_PIECE)
        if not read.done():
            self._reading = asyncio.get_running_loop().create_future()
        try:
            data = await read
        except ProtocolError as error:
            self._runner.fail(self._response, error)
            return {'type': 'http.disconnect'}
        except StreamClosed:
            return {'type': 'http.disconnect'}
        finally:
            reading, self._reading = self._reading, None
            if reading is not None:
                reading.set_result(None)
        taken = (self._taken or 0) + len(data)
        more = bool(data) and taken != self._request.content_length
        self._taken = taken if more else None
        return {'type': 'http.request', 'body': data, 'more_body': more}

    async def send(self, message: Message) -> None:
        """Take the next message of the answer; return when the client has room for more. Hot.

        Raises `RuntimeError` for one out of order, `TypeError` and `ValueError` for what it holds,
        `HandlerError` for more or less body than announced, `OSError` when the client is gone.
        """
        kind = message['type']
        response = self._response
        if kind != self._expected:
            await self._extension(kind, message)
        elif not response.live:
            raise ClientGone
        elif kind == _BODY:
            body = message.get('body', b'')
            if type(body) is not bytes:
                if not isinstance(body, (bytes, bytearray, memoryview)):
                    raise TypeError(f'the body of a message is bytes, not {type(body).__name__}')
                body = bytes(body)
            if message.get('more_body', False):
                await self._room(response.write(body), response.connection.stream.reactor)
            elif self._trailers is not None:
                self._write(body)
                self._expected = _TRAILERS
            else:
                # (What HEAD has no body for, GET may have one of any length for.)
                if response.framing or (not body and self._request.method == 'HEAD'):
                    self._write(body)
                    response.end()
                else:
                    response.send(body)
                self._expected = ''
                if self._gone is not None:
                    self._wake()
        elif kind == _START:
            response.set_encoded(message['status'], encode(message.get('headers', ())))
            if message.get('trailers', False):
                self._trailers = b''
            self._expected = _BODY
        else:
            self._add_trailers(message)

    def _write(self, body: bytes) -> None:
        """Write the last of a body; nobody waits for the client any more."""
        wait = self._response.write(body)
        if wait is not None:
            wait.add_done_callback(id)    # So that an error of it counts as seen.

    async def _room(self, wait: Future | None, reactor: Reactor) -> None:
        """Wait until the client has room; and let others run, however fast this one is."""
        if wait is not None:
            try:
                await wait
            except StreamClosed as error:
                raise ClientGone from error
        elif not self._until:
            self._until = reactor.now + TIME_SLICE
        elif reactor.time() > self._until:
            await asyncio.sleep(0)
            self._until = reactor.time() + TIME_SLICE

    async def _extension(self, kind: str, message: Message) -> None:
        """Take a message that may come, but need not; or say which should have come."""
        expected = self._expected
        if kind == 'http.response.early_hint' and expected in (_START, _BODY):
            self._response.hint(encode_links(message.get('links', ())))
        elif kind == 'http.response.pathsend' and expected == _BODY and not self._response.framing:
            await self._send_file(message['path'])
        elif kind == 'http.response.debug' and expected == _START and self._runner.debug:
            _log.debug('%s: %.1000r', self._request, message['info'])
        elif expected:
            raise RuntimeError(f'expected {expected}, got {kind}')
        else:
            raise RuntimeError(f'{kind} after the answer was complete')

    async def _send_file(self, path: str) -> None:
        """Send a whole file as the body, piece by piece. Raises `OSError`."""
        response = self._response
        with open(path, 'rb', buffering=0) as file:
            while self._request.method != 'HEAD':
                piece = file.read(_FILE_PIECE)
                if not piece:
                    break
                if not response.live:
                    raise ClientGone
                await self._room(response.write(piece), response.connection.stream.reactor)
        self._expected = _BODY
        self._trailers = None
        await self.send({'type': _BODY})

    def _add_trailers(self, message: Message) -> None:
        """Collect trailers, and send them after the last message if the client wants them."""
        self._trailers = (self._trailers or b'') + encode_trailers(message.get('headers', ()))
        if not message.get('more_trailers', False):
            asked = ','.join(self._request.headers.get_all('te')).lower().split(',')
            wanted = 'trailers' in [each.partition(';')[0].strip() for each in asked]
            self._response.end(self._trailers if wanted else b'')
            self._expected = ''
            self._wake()


def _was_told(error: BaseException) -> bool:
    """Whether an error comes from our having told that the client is gone."""
    link: BaseException | None = error
    chain: dict[int, BaseException] = {}
    # (`raise error from error` makes a chain without an end.)
    while link is not None and id(link) not in chain:
        chain[id(link)] = link
        link = link.__cause__ or link.__context__
    return any(isinstance(each, (ClientGone, StreamClosed)) for each in chain.values())


class Runner:
    """Runner the requests of a server with an application."""

    def __init__(self, app: Application, start: Callable[..., asyncio.Task[Any]],
                 fail: Callable[[Response, BaseException], None], root_path: str = '',
                 state: dict[str, Any] | None = None, debug: bool = False) -> None:
        """`start` makes a named task that has begun; `fail` answers when the application failed."""
        self._app = app
        self._start = start
        self.fail = fail
        self.debug = debug
        self._root = root_path
        self._raw_root = root_path.encode('utf-8')
        self._state = state if state is not None else {}
        self._extensions: dict[str, Any] = {
            'http.response.early_hint': {}, 'http.response.trailers': {},
            'http.response.pathsend': {}, **({'http.response.debug': {}} if debug else {})}
        self.running: set[asyncio.Task[Any]] = set()    # The tasks that wait.

    def handle(self, request: Request, response: Response) -> None:
        """Call the application. Hot: once per request."""
        exchange = Exchange(self, request, response)
        scope = self.scope(request)
        try:
            coroutine: Any = self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            _log.error('the ASGI application failed on %s', request, exc_info=error)
            self.fail(response, error)
            return
        if type(coroutine) is not CoroutineType and not asyncio.iscoroutine(coroutine):
            coroutine = awaiting(coroutine)
        # A context of its own: nothing leaks from one request into the next.
        task = self._start(coroutine, contextvars.Context(), scope['path'])
        if task.done():
            exchange.finished(task)
        else:
            exchange.follow(task)

    def scope(self, request: Request) -> Message:
        """Make the scope of a request: names in lower case as bytes, the path decoded. Hot."""
        connection = request.connection
        client, server = connection.addresses
        path, _, query = request.target.partition(b'?')
        headers = request.fields
        if path[:1] != b'/':
            path, query = request.raw_path, request.query_string
            # What the target names wins over the Host field (RFC 9112 section 3.2.2).
            headers = [(b'host', request.authority or b''),
                       *(field for field in headers if field[0] != b'host')]
        return {
            'type': 'http',
            'asgi': {'version': '3.0', 'spec_version': '2.4'},
            'http_version': '1.1' if request.minor else '1.0',
            'method': request.method,
            'scheme': 'http',
            # (`in` would first try whether the bytes are a number: 0.2 us.)
            'path': self._root + (path.decode('ascii') if path.find(b'%') < 0 else request.path),
            'raw_path': self._raw_root + path,
            'query_string': query,
            'root_path': self._root,
            'headers': headers,
            'client': client,
            'server': server,
            'state': self._state.copy() if self._state else {},
            'extensions': self._extensions.copy(),
        }

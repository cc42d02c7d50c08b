"""Exchange: one request and its answer, between the server and an ASGI application.

The messages and their order are those of the ASGI specification, HTTP version 2.4
(https://asgi.readthedocs.io/en/latest/specs/www.html).
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, MutableMapping
from typing import Any, Callable

from ..http import ProtocolError
from ..loop import Future, StreamClosed
from ..loop.bridge import future_of
from ..server import Request, Response

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None]]

_log = logging.getLogger('tremolo.error')

_VERSIONS = {'version': '3.0', 'spec_version': '2.4'}
# Bytes of a body that one message holds at most.
_PIECE = 65536


class Exchange:
    """What an application is given to answer one request."""

    __slots__ = ('_answered', '_fail', '_gone', '_request', '_response', '_start', '_told',
                 'future')

    def __init__(
        self, request: Request, response: Response,
        fail: Callable[[Response, BaseException], None],
    ) -> None:
        self._request = request
        self._response = response
        # Answers an error, in place of the application.
        self._fail = fail
        # The application's task; its first message; whether the answer is complete.
        self.future: Future | None = None
        self._start: Message | None = None
        self._answered = False
        # Whether the end of the body was told; who waits for the client to leave.
        self._told = False
        self._gone: Future | None = None

    def cancel(self) -> None:
        """Tell the application that the client is gone; cancel it if its time is over."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result()
        if self.future is not None and not self._response.connection.stream.closed:
            self.future.cancel()

    @property
    def _lost(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._response.connection.response is not self._response

    # -- the application's side -----------------------------------------------------------------

    async def receive(self) -> Message:
        """Give the next piece of the body, or tell that the client has left."""
        if not self._told and not self._lost:
            data = b''
            if self._request.has_body:
                try:
                    data = await self._request.read(_PIECE)
                except ProtocolError as error:
                    self._fail(self._response, error)
                    return {'type': 'http.disconnect'}
                except StreamClosed:
                    return {'type': 'http.disconnect'}
            self._told = not data
            return {'type': 'http.request', 'body': data, 'more_body': bool(data)}
        if not self._lost:
            if self._gone is None:
                self._gone = Future(self._response.connection.stream.reactor)
            await self._gone
        return {'type': 'http.disconnect'}

    async def send(self, message: Message) -> None:
        """Take the next message of the answer; return when the client has room for more.

        Raises `RuntimeError` for one out of order, `TypeError` and `ValueError` for what it holds,
        `OSError` when the client is gone.
        """
        kind = message['type']
        if self._start is None:
            if kind != 'http.response.start':
                raise RuntimeError(f'expected http.response.start, got {kind}')
            self._begin(message)
            self._start = message
            return
        if kind != 'http.response.body':
            raise RuntimeError(f'expected http.response.body, got {kind}')
        if self._answered:
            raise RuntimeError('http.response.body after the answer was complete')
        if self._lost:
            raise OSError('the client is gone')
        body = message.get('body', b'')
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f'the body of a message is bytes, not {type(body).__name__}')
        response = self._response
        if message.get('more_body', False):
            wait = response.write(bytes(body))
            if wait is not None:
                try:
                    await wait
                except StreamClosed as error:
                    raise OSError('the client is gone') from error
            return
        if response.begun:
            response.write(bytes(body))
            response.end()
        else:
            response.send(bytes(body))
        self._answered = True
        if self._gone is not None and not self._gone.done():
            self._gone.set_result()

    def _begin(self, message: Message) -> None:
        """Take over status and headers; they go out with the first of the body."""
        response = self._response
        status = message['status']
        if not isinstance(status, int):
            raise TypeError(f'a status is an int, not {type(status).__name__}')
        if self._lost:
            raise OSError('the client is gone')
        response.reset()
        response.status = status
        response.content_type = ''
        for name, value in message.get('headers', ()):
            if not isinstance(name, bytes) or not isinstance(value, bytes):
                raise TypeError(f'a header is a pair of bytes, not {name!r}: {value!r}')
            if name.lower() != b'transfer-encoding':
                response.headers.add(name.decode('latin-1'), value.decode('latin-1'))

    # -- from beginning to end ------------------------------------------------------------------

    async def run(self, app: Application, scope: Message) -> None:
        """Call the application; an error of it becomes the answer, or cuts the connection."""
        try:
            await app(scope, self.receive, self.send)
            if not self._answered and not self._lost:
                raise RuntimeError('the application returned without a complete answer')
        except Exception as error:
            if self._lost and isinstance(error, (OSError, StreamClosed)):
                # It was told so.
                return
            _log.error('the ASGI application failed on %s %a', self._request.method,
                       self._request.target[:200].decode('latin-1'), exc_info=error)
            if not self._lost:
                self._fail(self._response, error)


def exchange(
    app: Application, request: Request, response: Response, root_path: str, state: Message,
    fail: Callable[[Response, BaseException], None],
) -> Future:
    """Let an application answer a request; give the Future of its task."""
    one = Exchange(request, response, fail)
    scope = make_scope(request, root_path, state)
    # A context of its own: nothing leaks from one request into the next.
    future = contextvars.Context().run(future_of, one.run(app, scope))
    one.future = future
    connection = response.connection
    if not future.done() and connection.response is response:
        connection.task = one    # type: ignore[assignment]
    return future


def make_scope(request: Request, root_path: str, state: Message) -> Message:
    """Make the scope of a request: names in lower case as bytes, the path decoded."""
    stream = request.connection.stream
    here, peer = stream.sockname, stream.peer
    unix = isinstance(here, (str, bytes))
    return {
        'type': 'http',
        'asgi': _VERSIONS,
        'http_version': request.version,
        'method': request.method,
        'scheme': 'http',
        'path': root_path + request.path,
        'raw_path': root_path.encode('utf-8') + request.raw_path,
        'query_string': request.query_string,
        'root_path': root_path,
        'headers': request.fields,
        'client': tuple(peer[:2]) if isinstance(peer, tuple) else None,
        'server': (here, None) if unix else tuple(here[:2]) if here else None,
        'state': dict(state),
        'extensions': {},
    }

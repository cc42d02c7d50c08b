"""Runner: calls an ASGI application for each request, with the scope of that request.

    https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope

The application runs as a task of asyncio. The task starts at once and mostly ends at once: then the
request is answered before `handle` returns. Otherwise the request's Exchange follows the task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from ..server import Request, Response
from ..typed import Any, Callable
from .calling import as_coroutine_function
from .exchange import Exchange, Message
from .unusual import split_target, upper_method

Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None]]

_log = logging.getLogger('tremolo.error')


class Runner:
    """Calls an application for each request of a server."""

    def __init__(self, app: Application, start: Callable[..., asyncio.Task[Any]],
                 fail: Callable[[Response, BaseException], None], root_path: str = '',
                 state: dict[str, Any] | None = None, debug: bool = False) -> None:
        """Prepare what is the same for all requests.

        `start(coroutine, context, name)` starts a task that has run up to its first wait when
        `start` returns. `fail(response, error)` answers a request after the application failed.
        """
        self._app: Callable[..., Any] = as_coroutine_function(app)
        self._start = start
        self.fail = fail
        self.debug = debug
        self._root = root_path
        self._raw_root = root_path.encode('utf-8')
        self._state = state if state is not None else {}
        self._extensions: dict[str, Any] = {
            'http.response.early_hint': {}, 'http.response.trailers': {},
            'http.response.pathsend': {}, **({'http.response.debug': {}} if debug else {})}
        self.running: set[asyncio.Task[Any]] = set()    # The tasks that have not ended.

    def handle(self, request: Request, response: Response) -> None:
        """Call the application for a request. Hot: once per request."""
        exchange: Any = Exchange(self, request, response)
        scope = self.scope(request)
        if request.upgrade is not None:
            # (Imported here, because only few applications have sockets.)
            from .upgrade import upgraded
            exchange = upgraded(exchange, scope)
            if exchange is None:
                return
        # A copy of the context after the start: nothing leaks from one request into the next.
        context = request.connection.server.new_context()
        try:
            task = self._start(
                self._app(scope, exchange.receive, exchange.send), context, scope['path'])
        except Exception as error:
            _log.error('the ASGI application failed on %s', request, exc_info=error)
            self.fail(response, error)
            return
        if task.done():
            exchange.finished(task)
        else:
            exchange.follow(task)

    def scope(self, request: Request) -> Message:
        """Return the scope of a request. Hot: once per request.

        The names of its headers are lower-case bytes, its path is percent-decoded.
        """
        connection = request.connection
        client, server, scheme = connection.addresses
        method = request.method
        path, _, query = request.target.partition(b'?')
        headers = request.fields
        if path[:1] != b'/':
            path, query, headers = split_target(request)
        return {
            'type': 'http',
            # 2.3, because 2.4 tells frameworks that a `send` is enough to learn that the client
            # has left. A stream that is silent never calls it (Starlette would not end one).
            'asgi': {'version': '3.0', 'spec_version': '2.3'},
            'http_version': '1.1' if request.minor else '1.0',
            # (`isupper` takes 400 instructions, the comparison 60.)
            'method': method if method == 'GET' or method.isupper() else upper_method(request),
            'scheme': scheme,
            # (`b'%' in path` would first try to convert b'%' to a number: 0.2 us more.)
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

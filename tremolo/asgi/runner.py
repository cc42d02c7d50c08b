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
from ..server.notices import about
from ..typed import Any, Callable
from .calling import as_coroutine_function
from .exchange import Message, exchange_of
from .extensions import tell_tls
from .unusual import split_target, upper_method

Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None]]

_log = logging.getLogger('tremolo.error')

# 2.3, because 2.4 tells frameworks that a `send` is enough to learn that the client has left. A
# stream that is silent never calls it (Starlette would not end one).
_ASGI = {'version': '3.0', 'spec_version': '2.3'}

# The targets whose scopes are kept: at most 256 for each application, of at most 64 bytes and
# without a query. A target may be a secret (a link to set a new password); a full dictionary is
# emptied.
_MOST_KEPT = 256
_LONGEST_KEPT = 64


class Runner:
    """Calls an application for each request of a server."""

    name = 'the ASGI application'    # For the log.

    def __init__(self, app: Application, start: Callable[..., asyncio.Task[Any]],
                 fail: Callable[[Response, BaseException], None], root_path: str = '',
                 state: dict[str, Any] | None = None, debug: bool = False,
                 mounted_at: str = '') -> None:
        """Prepare what is the same for all requests.

        `start(coroutine, context, name)` starts a task that has run up to its first wait when
        `start` returns. `fail(response, error)` answers a request after the application failed.
        The path of each request begins with `mounted_at`; before it, a proxy has taken away
        `root_path`.
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
        # What most scopes have alike; `_begun` and `scope` set the rest.
        self._common: dict[str, Any] = {
            'type': 'http', 'asgi': None, 'http_version': '1.1', 'method': 'GET', 'scheme': 'http',
            'path': '', 'raw_path': b'', 'query_string': b'', 'root_path': root_path + mounted_at,
            'headers': None, 'client': None, 'server': None, 'state': None, 'extensions': None}
        self._kept: dict[bytes, dict[str, Any]] = {}    # Such scopes, by target.
        self.running: set[asyncio.Task[Any]] = set()    # The tasks that have not ended.

    def handle(self, request: Request, response: Response) -> None:
        """Call the application for a request. Hot: once per request."""
        # (A callable in an attribute never specialises in CPython 3.11: locals first.)
        app, start, new_context = self._app, self._start, request.connection.server.new_context
        exchange: Any = exchange_of(self, request, response)
        scope = self.scope(request)
        if request.upgrade is not None:
            # (A server without WebSockets does without; with them it is imported at the start.)
            from .upgrade import upgraded
            exchange = upgraded(exchange, scope)
            if exchange is None:
                return
        # A copy of the context after the start: nothing leaks from one request into the next.
        wrapped: Any = response
        context = wrapped.context.copy() if response.layers else new_context()
        try:
            task = start(app(scope, exchange.receive, exchange.send), context, scope['path'])
        except Exception as error:
            self.failed(response, error, str(request))
            return
        if task.done():
            exchange.finished(task)
        else:
            exchange.follow(task)

    def failed(self, response: Response, error: BaseException, what: str) -> None:
        """Log an error of the application and answer it, unless what stands around takes it."""
        wrapped: Any = response
        if response.layers and not response.head_sent:
            wrapped.throw(self, error)    # (That logs what nobody takes.)
        else:
            _log.error('%s failed on %s', self.name, what, exc_info=error,
                       extra=about(response.request))
            self.fail(response, error)

    def scope(self, request: Request) -> Message:
        """Return the scope of a request. Hot: once per request.

        The names of its headers are lower-case bytes, its path is percent-decoded.
        """
        kept = self._kept.get(request.target)
        if kept is not None:
            scope, block = kept.copy(), request.block
            # (Of most heads that is what the property `fields` returns. A property is a call: 400
            # instructions in CPython 3.11. The same holds for `addresses` below.)
            headers = block if type(block) is list else request.fields
        else:
            scope, headers = self._begun(request)
        # What may change, and what the application may change, is new in each scope.
        scope['asgi'] = _ASGI.copy()
        scope['headers'] = headers
        connection, forwarded = request.connection, request.forwarded
        scope['client'], scope['server'], scheme = (
            forwarded or connection.known_addresses or connection.addresses)
        if not request.minor:
            scope['http_version'] = '1.0'
        method = request.method
        if method != 'GET':
            scope['method'] = method if method.isupper() else upper_method(request)
        scope['state'] = self._state.copy() if self._state else {}
        scope['extensions'] = self._extensions.copy()
        if scheme != 'http' or forwarded is not None:
            scope['scheme'] = scheme
            tell_tls(request, scope)
        return scope

    def _begun(self, request: Request) -> tuple[dict[str, Any], list[tuple[bytes, bytes]]]:
        """Return a scope with what its target says, and the fields; keep such a scope, if short."""
        target = request.target
        path, mark, query = target.partition(b'?')
        keep = not mark and len(target) <= _LONGEST_KEPT
        headers = request.fields
        if path[:1] != b'/':
            path, query, headers = split_target(request)
            keep = False
        scope = self._common.copy()
        # (`b'%' in path` would first try to convert b'%' to a number: 0.2 us more.)
        scope['path'] = self._root + (path.decode('ascii') if path.find(b'%') < 0 else request.path)
        scope['raw_path'] = self._raw_root + path
        scope['query_string'] = query
        if keep:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[target] = scope.copy()
        return scope, headers

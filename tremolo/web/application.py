"""Application: a Service whose requests are answered by routes and their handlers.

    app = Application()

    @app.route('/hello')
    def hello(**server):
        yield b'Hello '
        yield b'world!'

    app.run('0.0.0.0', 8000, debug=True)

`route` puts a Handler for the function into the Router. `_handle` is called for each request: it
finds the Handler in the Router and runs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ..loop import Reactor
from ..server import Handle, HTTPError, Request, Response, Server
from ..server.errors import MethodNotAllowed, NotFound
from ..server.pages import send_error
from ..service import Service
from ..settings import Settings
from .routing import Route, Router

if TYPE_CHECKING:
    from .handlers import Handler

F = TypeVar('F', bound=Callable[..., Any])


class Application(Service):
    """A Service with routes: which function answers which path."""

    def __init__(self) -> None:
        super().__init__()
        self._router: Router[Handler] = Router()
        self._exact = self._router.exact
        self._handlers: list[Handler] = []

    def route(self, path: str, methods: Iterable[str] = ('GET',)) -> Callable[[F], F]:
        """Return a decorator that registers a function for `path` and `methods`.

        The function itself is not changed. A route for GET answers HEAD too. Raises `ValueError`
        for a malformed path or method and for a route that exists already, `HandlerError` for a
        function that cannot be a handler.
        """
        if isinstance(methods, str):
            raise ValueError(f"methods is a list of names: [{methods!r}]")
        names = [str(method).upper() for method in methods]
        if not names or not all(name.isascii() and name.isalpha() for name in names):
            raise ValueError(f'methods is a list of names such as GET, not {names!r}')
        # Late: it imports `inspect`, which would be an eighth of the time of `import tremolo`.
        from .handlers import Handler
        groups = Route[Handler](path).groups

        def register(function: F) -> F:
            handler = Handler(function, groups)
            self._router.add(path, names, handler)
            self._handlers.append(handler)
            if self._server is not None:
                self._bind(handler, self._server)
            return function

        return register

    def _handle(self, request: Request, response: Response) -> None:
        """Find the handler and run it. Hot: once per request."""
        try:
            # Most requests are for an exact path, with the usual percent-encoding.
            handler = self._exact[request.target][request.method]
        except KeyError:
            try:
                handler = self._find(request)
            except HTTPError as error:
                send_error(response, error)
                return
        handler.run(request, response)

    def _find(self, request: Request) -> Handler:
        """Find the handler of a request. Raises `NotFound` and `MethodNotAllowed`."""
        if request.target == b'*':
            # OPTIONS for the server as a whole (RFC 9110 section 9.3.7).
            known = {'OPTIONS', 'HEAD', *self._router.methods()}
            raise HTTPError(204, headers={'Allow': ', '.join(sorted(known))})
        found = self._router.find(request.path)
        if found is None:
            raise NotFound
        route, request.groups = found
        methods = route.methods
        handler = methods.get(request.method)
        if handler is None and request.method == 'HEAD':
            handler = methods.get('GET')
        if handler is None:
            raise MethodNotAllowed([*methods, 'HEAD'] if 'GET' in methods else methods)
        return handler

    # -- called by the service --------------------------------------------------------------------

    def handle_on(self, reactor: Reactor, settings: Settings) -> Handle:
        """Return the function that answers each request."""
        return self._handle

    def prepare(self, server: Server) -> None:
        """Bind the handlers to the server: its options, and the objects that they may ask for."""
        for handler in self._handlers:
            self._bind(handler, server)

    def _bind(self, handler: Handler, server: Server) -> None:
        names = self._names(server.reactor)
        if handler.is_async:
            # Late: a process without asyncio starts faster and stays smaller.
            from ..bridge import bridge_to
            names['loop'] = bridge_to(server.reactor).loop
        handler.bind(server.options, names)

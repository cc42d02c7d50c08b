"""Application: a Service whose requests are answered by routes and their handlers.

    app = Application()

    @app.route('/hello')
    def hello(**server):
        yield b'Hello '
        yield b'world!'

    app.run('0.0.0.0', 8000, debug=True)

`route` puts a Handler for the function into the Router. For each request the Dispatcher finds the
Handler there and runs it.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterable, Iterator

from ..loop import Reactor
from ..loop.work import Work
from ..routing import Each, Router
from ..server import Handle, HandlerError, Server
from ..service import Service
from ..settings import Settings
from ..typed import TYPE_CHECKING, Any, Callable, TypeVar
from .dispatcher import Dispatcher
from .request import Request

if TYPE_CHECKING:
    from ..around import Middleware
    from ..routing.converters import Converters
    from ..websocket.group import Group, Groups
    from .error_handlers import ErrorHandlers
    from .handlers import Handler
    from .mounts import Mount

F = TypeVar('F', bound=Callable[..., Any])


class Application(Service):
    """A Service with routes: which function answers which path."""

    def __init__(self, *, origins: Iterable[str] | None = None) -> None:
        """Make one; `origins` are those of each route that names none (see `route`)."""
        super().__init__()
        self._router: Router[Handler] = Router()
        self._handlers: list[Handler] = []
        self.mounted_at = ''    # What `url_for` puts before each path.
        # The origins of all routes for WebSockets that name none; None: all pages may connect.
        self._origins: frozenset[str] | None = None
        if origins is not None:
            from .origins import checked_origins
            self._origins = checked_origins(origins)
        self._middleware: list[Middleware] = []    # The outermost is the first.
        self._errors: ErrorHandlers | None = None
        self._mounts: list[Mount] = []
        self._groups: Groups | None = None
        self._secret_keys: list[str | bytes] = []
        self._signer: Any = None    # Signs cookies with these keys.

    def route(self, path: str, methods: Any = ..., *, origins: Any = ...,
              name: str | None = None) -> Callable[[F], F]:
        """Return a decorator that registers a function for `path` and `methods`: `['GET']`.

        The function itself is not changed. A route for GET answers HEAD too. The methods of a class
        are those that it has, `get`, `post` and so on: see views.py. `origins` are those of the
        pages that may open a WebSocket here, as `['https://example.org']`; None: all may; without
        it those of the application. `name` is for `url_for`: without it that of the function.
        Raises `ValueError` for a malformed path, method, origin and name and for a route that
        exists already, `HandlerError` for a function that cannot be a handler.
        """
        # Late: it imports `inspect`, which would be an eighth of the time of `import tremolo`. (And
        # what `Request.accepts` needs: a request may find no descriptor for it.)
        from ..http import accept  # noqa: F401
        from ..mistakes.registration import check_methods, check_name, check_path
        from .registration import check_groups, handlers_of, served_twice
        check_path(path, lambda: self.converters)
        check_name(name)
        names = None if methods is ... else check_methods(methods)
        groups = self._router.groups_of(path)
        check_groups(path, groups)

        def register(function: F) -> F:
            handlers = handlers_of(function, groups, names, origins, self._origins)
            if not {'GET', 'HEAD'}.issuperset(handlers):
                # What `Request.form` and `Request.files` need, likewise.
                # (The body of a GET has no meaning: RFC 9110 section 9.3.1.)
                from .. import uploads  # noqa: F401
            own = getattr(function, '__name__', '') if name is None else name
            head = 'GET' not in handlers or not handlers['GET'].sockets_only
            try:
                self._router.add(path, handlers, name=own, head=head)
            except ValueError as error:
                raise served_twice(error, [*self._handlers, *handlers.values()]) from None
            self._keep(dict.fromkeys(handlers.values()))
            return function

        return register

    def get(self, path: str, **more: Any) -> Callable[[F], F]:
        """Return the decorator of `route` for GET and HEAD."""
        return self.route(path, ['GET'], **more)

    def post(self, path: str, **more: Any) -> Callable[[F], F]:
        """Return the decorator of `route` for POST."""
        return self.route(path, ['POST'], **more)

    def put(self, path: str, **more: Any) -> Callable[[F], F]:
        """Return the decorator of `route` for PUT."""
        return self.route(path, ['PUT'], **more)

    def patch(self, path: str, **more: Any) -> Callable[[F], F]:
        """Return the decorator of `route` for PATCH."""
        return self.route(path, ['PATCH'], **more)

    def delete(self, path: str, **more: Any) -> Callable[[F], F]:
        """Return the decorator of `route` for DELETE."""
        return self.route(path, ['DELETE'], **more)

    @property
    def converters(self) -> Converters:
        """The kinds of groups in paths, by their names. One of your own is set before its routes:

            app.converters['date'] = (r'\\d{4}-\\d\\d-\\d\\d', date.fromisoformat, date.isoformat)

        See routing/converters.py.
        """
        return self._router.converters

    def url_for(self, name: str, /, **groups: Any) -> str:
        """Return the path of a route, percent-encoded, with the prefix of a mount and `root_path`.

            app.url_for('page', id=7)    # '/page/7'

        The name is that of the function or class, unless `route` was given another. Of routes with
        the same name the first one counts that has these groups. Raises `ValueError` for a name or
        groups that no route has, and for a value that the route would not read again.
        """
        root = self._server.settings.root_path if self._server is not None else ''
        return root + self.mounted_at + self._router.url(name, groups)

    def static(self, path: str, folder: str | os.PathLike[str],
               cache_control: str | None = None) -> None:
        """Answer all below `path` with the files of a folder; see files/static.py.

            app.static('/assets', 'build/assets', cache_control='max-age=3600')

        `'/'` is the whole site. A route wins over a file, and of two folders the longer path. A
        relative folder is that of the working directory of now. Raises `ValueError` for what is no
        folder, a malformed path, or one that is served already, and `HeaderError`.
        """
        # Late: few programs serve files.
        from ..files.static import StaticFolder
        from ..mistakes.registration import check_path
        from .registration import handlers_of
        check_path(path)
        if path.startswith('^') or '<' in path:
            raise ValueError(f"the path of a folder is plain, not {path!r}: write '/assets'")
        handlers = handlers_of(StaticFolder(path, folder, cache_control).find, (), None, ..., None)
        self._router.add_below(path, handlers)
        self._keep(handlers.values())

    def middleware(self, function: F = None) -> F:  # type: ignore[assignment]
        """Let a generator function stand around all answers; the first one is the outermost.

            @app.middleware
            def timed(request, response):
                begun = time.monotonic()
                yield                      # the rest runs here; an exception arrives here
                response.headers['X-Seconds'] = f'{time.monotonic() - begun:.3f}'

        It may ask for `request`, `response` and `app`. Raises `HandlerError` for what is none, and
        while the application is served.
        """
        from ..around import Middleware
        made = Middleware(function, self)
        self._check_not_served(f'the middleware {made.name}')
        self._middleware.append(made)
        return function

    def error(self, kind: int | type[Exception]) -> Callable[[F], F]:
        """Return a decorator: the function answers errors of a status, or of a class.

            @app.error(404)
            def lost(request, error, content_type='text/plain'):
                return f'There is no {request.path}'

        It may be of each kind that a handler may be. The response has the error's status and
        fields already. The nearest class comes first, then the status. Raises `ValueError` for what
        is neither, or has one already, and `HandlerError` as `route` does.
        """
        from .error_handlers import check_kind, error_handler_of
        check_kind(kind)

        def register(function: F) -> F:
            handler = error_handler_of(function)
            self._check_not_served(f'the error handler {handler.name}')
            errors = self._errors = {} if self._errors is None else self._errors
            if kind in errors:
                raise ValueError(f'@app.error({getattr(kind, "__name__", kind)}) is there already: '
                                 f'{errors[kind].name}')
            errors[kind] = handler
            self._handlers.append(handler)
            return function

        return register

    if not TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any:
            """Say what to write instead of a name of tremolo 0.5, or of another framework."""
            from ..mistakes.registration import instead_of_name
            raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}'
                                 f'{instead_of_name(name)}')

    def mount(self, prefix: str, other: Any) -> None:
        """Answer all below a prefix by another application, of tremolo, ASGI or WSGI.

            app.mount('/admin', admin)

        Its routes, middleware, error handlers and hooks come along. In it `request.path` stays
        whole, and `request.root_path` is the prefix. A route wins over it, and of mounts and
        folders the longest prefix. Raises `ValueError` for a malformed prefix, one that is served
        already, and an application inside itself; `HandlerError` for what is no application, and
        while this one is served.
        """
        from .mounts import Mount, check_mount, check_prefix, service_of
        bare = check_prefix(prefix)
        service = service_of(other)
        self._check_not_served(f'the mount {prefix}')
        check_mount(self, service)
        mount: Any = Mount(bare, service)
        self._router.add_below(bare or '/', Each(mount))
        service.outer = self
        self._mounts.append(mount)

    def _check_not_served(self, what: str) -> None:
        server = self._server
        if server is not None and not server.stopped.done() and not server.reactor.closed:
            raise HandlerError(f'{what} comes too late: the application is served already, and '
                               'requests would see the half of it; register it before')

    def group(self, name: str) -> Group:
        """Return the group of WebSockets with this name: what is sent to it, each of them gets.

            app.group('room').add(websocket)
            app.group('room').send('hello')

        A group belongs to one worker, and is forgotten when it is empty and nobody holds it.
        """
        if self._groups is None:
            from ..websocket.group import Groups
            self._groups = Groups()
        return self._groups.named(name)

    @property
    def secret_keys(self) -> list[str | bytes]:
        """The keys of signed cookies: the first one signs, and what any of them signed is accepted.

            app.secret_keys = [new_key, old_key]

        A key is str or bytes, of 32 bytes or more; to make them anew at each start would end all
        sessions. Raises `ValueError` for a key that is too short, or none.
        """
        return list(self._secret_keys)

    @secret_keys.setter
    def secret_keys(self, keys: Iterable[str | bytes]) -> None:
        # Late: few programs sign, and `hmac` takes long to import.
        from .signed import Signer
        keys = keys if isinstance(keys, (str, bytes)) else list(keys)
        self._signer = Signer(keys)
        self._secret_keys = list(keys)
        if self._server is not None:
            self._sign(self._server)

    @property
    def signer(self) -> Any:
        """What signs the cookies of this application; None without keys."""
        return self._signer

    def _sign(self, server: Server) -> None:
        """Let the server sign with our keys, unless it is another application's."""
        if not self.inside:
            for each in {server, *server.parts.values()}:
                each.signer = self._signer

    # -- called by the service --------------------------------------------------------------------

    def handle_on(self, reactor: Reactor, settings: Settings, mounted_at: str = '') -> Handle:
        """Return the function that answers each request."""
        self.mounted_at = mounted_at
        for mount in self._mounts:
            mount.bind(reactor, settings, mounted_at)
        if self.outer is None and not self._middleware and self._errors is None:
            return Dispatcher(self._router).handle
        from .wrapping import WrappingDispatcher
        return WrappingDispatcher(self._router, self._middleware, self._errors).handle

    def prepare(self, server: Server) -> None:
        """Bind the handlers to the server: its options, and the objects that they may ask for."""
        server.request_class = Request
        if server.settings.debug and self.outer is None:
            server.routes = self.listed
        self._sign(server)
        for mount in self._mounts:
            mount.service.serve_in(server, self._lock)
        for handler in self._handlers:
            self._bind(handler, server)

    def listed(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Give each path with its methods, also those of what is mounted (for people)."""
        yield from ((self.mounted_at + path, each) for path, each in self._router.listed())
        for mount in self._mounts:
            if isinstance(mount.service, Application):
                yield from mount.service.listed()

    def waits(self) -> bool:
        """Return whether the start or the end may have to wait, also of what is mounted."""
        return super().waits() or any(mount.service.waits() for mount in self._mounts)

    def startup(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """Call the start hooks, then start what is mounted; return as `Service.startup` does."""
        rest = super().startup(settings)
        if not self._mounts:
            return rest
        from .mounts import start_all
        return start_all(rest, self._mounts, settings)

    def shutdown(self, seconds: float = 0.0) -> Coroutine[Any, Any, None] | None:
        """End what is mounted, then call the stop hooks; return as `Service.shutdown` does."""
        if not self._mounts:
            return super().shutdown(seconds)
        from .mounts import stop_all
        return stop_all([super().shutdown, *(mount.service.shutdown for mount in self._mounts)],
                        seconds)

    def left(self) -> Iterable[Work]:
        """Return what requests of what is mounted have left running."""
        return [work for mount in self._mounts for work in mount.service.left()]

    def _keep(self, handlers: Iterable[Handler]) -> None:
        """Keep new handlers, and bind them if the server is there already."""
        for handler in handlers:
            self._handlers.append(handler)
            if self._server is not None:
                self._bind(handler, self._server)

    def _bind(self, handler: Handler, server: Server) -> None:
        names = self._names(server.reactor)
        if handler.is_async:
            # Late: a process without asyncio starts faster and stays smaller. (Not later: a request
            # may find no descriptor for an import.)
            from ..bridge import bridge_to
            from . import coroutines  # noqa: F401
            names['loop'] = bridge_to(server.reactor).loop
        handler.bind(server.options, names)

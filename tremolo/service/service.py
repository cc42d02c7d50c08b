"""Application: routes on one side, a server on the other.

    app = Application()

    @app.route('/hello')
    def hello(**server):
        yield b'Hello '
        yield b'world!'

    app.run('0.0.0.0', 8000, debug=True)

`run` serves until a signal ends it; `start` serves inside another program or a test.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Callable, NoReturn, TypeVar

from .. import running
from ..errors import SettingError, TremoloError
from ..loop import Listener, ListenError, Reactor
from ..monitor import watch
from ..routing import Route, Router
from ..running import HostedServer, RunningServer
from ..server import HTTPError, Request, Response, Server, announce
from ..server.errors import MethodNotAllowed, NotFound
from ..server.pages import send_error
from ..server.request import Context
from ..settings import Address, Settings, parse_bind, part_options
from ..workers.lock import Lock

if TYPE_CHECKING:
    from ..handlers import Handler
    from ..workers.slot import Slot

F = TypeVar('F', bound=Callable[..., Any])

_log = logging.getLogger('tremolo')

_HUP = getattr(signal, 'SIGHUP', -1)


class Application:
    """An application: what answers which path, and where it listens."""

    def __init__(self) -> None:
        self.logger = logging.getLogger('tremolo.app')
        # The application's own values, and the options of the server that runs it.
        self.context = Context()
        self.context.options = {}
        self._router: Router[Handler] = Router()
        self._exact = self._router.exact
        self._handlers: list[Handler] = []
        # Where else it listens, and the options for that.
        self._listens: list[tuple[Address, dict[str, Any]]] = []
        self._bound: list[tuple[Address, list[Listener]]] = []
        self._server: Server | None = None
        self._lock: Lock
        # What is called in each process, before and after.
        self._starts: list[Callable[..., Any]] = []
        self._stops: list[Callable[..., Any]] = []

    # -- routes ---------------------------------------------------------------------------------

    def route(self, path: str, methods: Iterable[str] = ('GET',)) -> Callable[[F], F]:
        """Register the function below for `path` and `methods`; it is returned unchanged.

        HEAD is answered wherever GET is. Raises `ValueError` for a malformed path or method or one
        that is served already, `HandlerError` for a function that cannot be a handler.
        """
        if isinstance(methods, str):
            raise ValueError(f"methods is a list of names: [{methods!r}]")
        names = [str(method).upper() for method in methods]
        if not names or not all(name.isascii() and name.isalpha() for name in names):
            raise ValueError(f'methods is a list of names such as GET, not {names!r}')
        # Late: `inspect` is an eighth of what `import tremolo` would take.
        from ..handlers import Handler
        groups = Route[Handler](path).groups

        def register(function: F) -> F:
            handler = Handler(function, groups)
            self._router.add(path, names, handler)
            self._handlers.append(handler)
            if self._server is not None:
                self._bind(handler, self._server)
            return function

        return register

    def _bind(self, handler: Handler, server: Server) -> None:
        names = self._names(server.reactor)
        if handler.is_async:
            # Asyncio is imported when something needs it, and not before.
            from ..bridge import bridge_to
            names['loop'] = bridge_to(server.reactor).loop
        handler.bind(server.options, names)

    def _names(self, reactor: Reactor) -> dict[str, Any]:
        """Return what handlers and hooks may ask for, in all that this process serves."""
        return {'app': self, 'globals': self.context, 'lock': self._lock, 'logger': self.logger,
                'loop': reactor, 'reactor': reactor}

    def _handle(self, request: Request, response: Response) -> None:
        """Find the handler and run it. Hot: once per request."""
        try:
            # Most requests are for an exact path, written as everybody writes it.
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
            # What the server as a whole can do (RFC 9110 section 9.3.7).
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

    # -- serving --------------------------------------------------------------------------------

    def listen(self, port: int | str, host: str = '127.0.0.1', **options: Any) -> None:
        """Listen there too when the application runs, with options of its own for who comes there.

            app.listen(8001, download_rate='1MiB', idle_timeout=5)
            app.listen('unix:/run/app.sock', body_size='64MiB')

        It takes a port, or a text as `bind` does. The options are those of limits, timeouts and
        throttling. Raises `SettingError`.
        """
        if not isinstance(port, str):
            port = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
        self._listens.append((parse_bind(port), part_options(options)))

    def addresses(self, settings: Settings) -> list[tuple[Address, dict[str, Any]]]:
        """Return where it listens, by the settings and by `listen`, with options for each."""
        return [*((address, {}) for address in settings.addresses), *self._listens]

    def serve_on(self, reactor: Reactor, settings: Settings, slot: Slot | None = None) -> Server:
        """Bind a server of this application to a reactor; it accepts after `Server.start`.

        Sockets that a slot has are taken from there. Raises `ListenError`.
        """
        handle = self._handle
        if settings.limit_concurrency:
            from ..server.concurrency import Limit
            handle = Limit(handle, settings.limit_concurrency).handle
        server = Server(reactor, settings, handle)
        self._server = server
        self._lock = Lock(reactor, slot.locks if slot else None)
        self.context.options = server.options
        for handler in self._handlers:
            self._bind(handler, server)
        self._bound.clear()
        try:
            for address, options in self.addresses(settings):
                part = server
                if options:
                    part = Server(reactor, settings.replace(**options), handle, server)
                listeners = slot.open(part, address) if slot else part.listen(address)
                self._bound.append((address, listeners))
            if slot:
                # Of the program as it was when it was started, and is no longer.
                self._bound += [(address, slot.open(server, address))
                                for address, _ in list(slot.left)]
        except ListenError:
            server.close()
            raise
        return server

    def on_worker_start(self, hook: F) -> F:
        """Call it in each process before the first connection; what it raises ends the start."""
        self._starts.append(hook)
        return hook

    def on_worker_stop(self, hook: F) -> F:
        """Call it in each process after the last connection; the last that came is called first."""
        self._stops.insert(0, hook)
        return hook

    def begin(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """Do what comes before the first connection; what has to wait is left to a coroutine.

        Raises `HookFailed`.
        """
        return self._call_all(self._starts, False)

    def end(self) -> Coroutine[Any, Any, None] | None:
        """Do what comes after the last connection; what fails is logged."""
        return self._call_all(self._stops, True)

    def _call_all(
        self, functions: list[Callable[..., Any]], go_on: bool
    ) -> Coroutine[Any, Any, None] | None:
        if not functions or self._server is None:
            return None
        from ..hooks import call_all
        names = {**self._names(self._server.reactor), 'context': self.context}
        return call_all(functions, names, go_on)

    def serve(self, host: str | None = None, port: int | None = None,
              **options: Any) -> HostedServer:
        """Serve inside a running asyncio program, as a guest of its loop.

            await app.serve('0.0.0.0', 8000)           # until it is cancelled, or `stop` is called

            async with app.serve() as server:          # as long as the block lasts
                print(server.url)

        Without a port it is a free one. Both raise what `start` raises.
        """
        return HostedServer(self, _settings({'host': host, 'port': port, **options}))

    def start(self, reactor: Reactor | None = None, thread: bool = True,
              **options: Any) -> RunningServer:
        """Serve inside another program: in a thread, or with thread=False stepped by the caller.

            with app.start(port=0) as server:
                urllib.request.urlopen(server.url)

        A `reactor` that is given stays open when the server stops. Raises `SettingError` and
        `ListenError`.
        """
        settings = _settings(options)
        if settings.loop != 'reactor' and (reactor is not None or not thread):
            raise SettingError(f'loop: {settings.loop} needs a thread and a reactor of its own')
        own = reactor is None
        reactor = reactor or running.make_reactor(settings)
        try:
            server = self.serve_on(reactor, settings)
            try:
                running.complete(reactor, self.begin(settings))
            except BaseException:
                server.close()
                raise
        except BaseException:
            if own:
                reactor.close()
            raise
        watch(reactor, settings)
        return RunningServer(reactor, server, thread, own, self.end)

    def run(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT; what is in flight is finished first.

        Options are those of settings/. Prints the address when it is ready. A mistake ends in
        one line and `SystemExit`: 2 for an option, 1 for an address the system refuses, 3 for an
        ASGI application or a hook that fails at the start; a second SIGINT, or SIGQUIT, ends at
        once with 128 + signal.
        """
        try:
            settings = Settings.load({'host': host, 'port': port, **options}, os.environ)
        except SettingError as error:
            _leave(error, 2)
        slot = None
        if 'TREMOLO_INHERITED' in os.environ:
            from ..workers.slot import Slot
            slot = Slot.inherited()
        if settings.workers and slot is None:
            work = functools.partial(self.work, settings)
            program = None if settings.preload else running.command_line()
            addresses = [address for address, _ in self.addresses(settings)]
            status = supervise(settings, addresses, work, program)
        else:
            set_up_logging(settings)
            status = self.work(settings, slot)
        if status or (slot is not None and slot.channel_end is not None):
            # (What the program does afterwards is for the process that its user started.)
            raise SystemExit(status)

    def work(self, settings: Settings, slot: Slot | None = None) -> int:
        """Serve in this process, as the worker of a slot if there is one, until a signal.

        Returns 0, or 128 + the signal that forced the end. Raises `SystemExit` as `run` does.
        """
        alone = slot is None or slot.channel_end is None
        try:
            if alone:
                running.reserve_descriptors(settings.connections)
            made = running.make_reactor(settings)
        except SettingError as error:
            _leave(error, 2)
        except ListenError as error:
            _leave(error, 1)
        from ..report import answer_to_signal
        with made as reactor:
            try:
                server = self.serve_on(reactor, settings, slot)
            except ListenError as error:
                _leave(error, 1)
            try:
                running.complete(reactor, self.begin(settings))
            except TremoloError as error:
                server.close()
                _leave(error, 3)
            watch(reactor, settings)
            answer_to_signal(server)

            def ready() -> None:
                if slot is not None:
                    slot.ready(server)
                if alone:
                    announce(each.address for each in server.listeners)

            kept: list[Slot] = []

            def keep() -> None:
                from ..workers.slot import Slot
                kept.append(Slot([(address, [each.share() for each in listeners])
                                  for address, listeners in self._bound]))

            ended = run_until_signal(reactor, server, ready, keep if alone else None)
            if ended in (0, _HUP):
                running.complete(reactor, self.end())
        if kept and ended == _HUP:
            try:
                kept[0].start_afresh(running.command_line())
            except OSError as error:
                _leave(error, 1)
        for each in kept:
            each.discard()
        return 128 + ended if ended else 0

    def stop(self) -> None:
        """Stop gracefully what `run` or `start` serves; from any thread."""
        server = self._server
        if server is not None:
            server.reactor.call_soon_threadsafe(server.drain)


def _settings(options: dict[str, Any]) -> Settings:
    """Make the settings of a server in another program: on a free port if none is given."""
    given = {name: value for name, value in options.items() if value is not None}
    return Settings(**given if 'bind' in given else {'port': 0, **given})


def supervise(settings: Settings, addresses: Iterable[Address], work: Callable[[Slot], int],
              program: list[str] | None = None) -> int:
    """Serve with workers; return the exit status, 1 for what the system refuses.

    `program` is what SIGHUP starts afresh in new workers; without it they are forked.
    """
    from ..workers.supervisor import Supervisor
    set_up_logging(settings)
    try:
        running.reserve_descriptors(settings.connections)
        return Supervisor(settings, addresses, work, program).run()
    except ListenError as error:
        _leave(error, 1)


def run_until_signal(reactor: Reactor, server: Server, ready: Callable[[], None],
                     renew: Callable[[], None] | None = None) -> int:
    """Serve until a signal; return 0, or the number of the one that forced the end.

    `ready` is called when it accepts. With `renew` SIGHUP calls that, ends gracefully, and is
    returned. What is cleaned up afterwards a further signal ends.
    """
    ended = 0
    over = False

    def stop(signum: int) -> None:
        nonlocal ended
        if over:
            os._exit(128 + signum)
        again = server.draining and ended != _HUP
        if signum == signal.SIGQUIT or (signum == signal.SIGINT and again):
            ended = signum
            reactor.stop()
            return
        if signum != _HUP:
            ended = 0
        elif renew is not None and not server.draining:
            ended = signum
            renew()
        if not server.draining:
            _log.info('stopping: finishing what is in flight')
        server.drain()

    for name in ('SIGTERM', 'SIGINT', 'SIGQUIT', *(('SIGHUP',) if renew else ())):
        signum = getattr(signal, name, None)
        if signum is not None:
            reactor.add_signal(signum, functools.partial(stop, signum))
    running.keep_from_children(reactor)
    server.start()
    server.stopped.add_done_callback(lambda _: None if over else reactor.stop())
    ready()
    reactor.run()
    over = True
    server.close()
    return ended


def set_up_logging(settings: Settings) -> None:
    """Show our log, unless the program has set up logging itself."""
    logger = logging.getLogger('tremolo')
    logger.setLevel('DEBUG' if settings.debug else settings.log_level.upper())
    if not logging.getLogger().handlers and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(name)s: %(message)s'))
        logger.addHandler(handler)


def _leave(error: Exception, status: int) -> NoReturn:
    print(f'tremolo: error: {error}', file=sys.stderr)
    raise SystemExit(status)

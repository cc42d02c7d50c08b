"""Service: where an application listens, how it is run, and its hooks.

It is the base class of every kind of application: `web.Application` with routes,
`asgi.AsgiApplication` for an application written for ASGI. A kind overrides:

    handle_on(reactor, settings)    returns the function that answers each request (required)
    prepare(server)                 is called after `handle_on`, before the first socket listens
    startup(settings), shutdown(s)  before the first connection, after the last

Everything else is the same for all kinds. `run` serves until a signal ends it, `start` serves
inside another program or a test, and `serve` inside a running asyncio program.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Coroutine, Iterable, Mapping

from ..errors import SettingError, TremoloError
from ..late import Reserve
from ..loop import Future, InvalidState, Listener, Reactor
from ..loop.work import Work
from ..server import Context, Handle, Server
from ..settings import Address, Settings, parse_bind
from ..settings.address import bare_host
from ..settings.settings import address_with
from ..typed import TYPE_CHECKING, Any, Callable, TypeVar
from ..workers.lock import Lock
from . import release  # noqa: F401 (It notes in which folder this process was started.)
from .embedded import HostedServer, RunningServer, start
from .system import keep_from_children

if TYPE_CHECKING:
    from ..client import Client
    from ..systemd.manager import Manager
    from ..workers.slot import Slot
    from .connection_hooks import ConnectionHooks

F = TypeVar('F', bound=Callable[..., Any])
_claiming = threading.Lock()    # Two threads may start one application at once.


class Service:
    """An application that can be served, whatever its kind."""

    def __init__(self) -> None:
        self.logger = logging.getLogger('tremolo.app')
        # The application's own values, and the options of the server that runs it.
        self.context = Context()
        self.context.options = {}
        # The addresses given by `listen`, with the options of each.
        self._listens: list[tuple[Address, dict[str, Any]]] = []
        self._bound: list[tuple[Address, list[Listener]]] = []
        self._server: Server | None = None    # The server that serves it, once it is bound.
        self._process = 0    # The process in which that was made; a fork has none of its own.
        self._lock: Lock
        # The hooks that each process calls before the first connection and after the last.
        self._starts: list[Callable[..., Any]] = []
        # Why the application has ended by itself, while it was served.
        self.failure: TremoloError | None = None
        self._stops: list[Callable[..., Any]] = []
        self.tested: Any = None    # The server that its test clients share, while there are any.
        self._connection_hooks: ConnectionHooks | None = None
        self.outer: Service | None = None    # The application in which it is mounted.
        self.inside = False    # Whether it is served there, and not by itself.
        # The service manager, if it was asked what it gives before the application was imported.
        self.manager: Manager | None = None

    # -- what each kind of application says -------------------------------------------------------

    def handle_on(self, reactor: Reactor, settings: Settings, mounted_at: str = '') -> Handle:
        """Return the function that answers each request; called once for each server.

        `mounted_at` is what the path of each request begins with, in another application.
        """
        raise NotImplementedError

    def prepare(self, server: Server) -> None:
        """Prepare for a server that was made and does not listen yet."""

    def left(self) -> Iterable[Work]:
        """Return what requests of this application have left running, as far as it is known.

        (It is asked on a reactor of somebody else, which has other work. On one of ours all work
        that there is comes from the application.)
        """
        return ()

    @staticmethod
    def answering_by(handle: Handle) -> Service:
        """Return a service that answers each request by this function, for `--reload`."""
        service = Service()
        service.handle_on = lambda *_: handle  # type: ignore[method-assign]
        return service

    # -- serving ----------------------------------------------------------------------------------

    def listen(self, port: int | str, host: str = '127.0.0.1', **options: Any) -> None:
        """Listen on one more address when the application runs, with options for its clients.

            app.listen(8001, download_rate='1MiB', idle_timeout=5)
            app.listen('unix:/run/app.sock', body_size='64MiB')
            app.listen('fd:web', proxy_protocol='v2')    # a socket that systemd has opened

        `port` may also be a text as `bind` takes it. The options are those of limits, timeouts,
        throttling, WebSocket, TLS and PROXY, and `socket_mode`. Raises `SettingError`.
        """
        if not isinstance(port, str):
            host = bare_host(host)
            port = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
        self._listens.append(address_with(parse_bind(port), options))

    def addresses(self, settings: Settings,
                  given: bool = False) -> list[tuple[Address, dict[str, Any]]]:
        """Return all addresses, of the settings and of `listen`, with the options of each.

        With `given`, others have opened sockets that stand in place of host and port.
        """
        return [*settings.listens(given), *self._listens]

    def serve_on(self, reactor: Reactor, settings: Settings, slot: Slot | None = None,
                 listen: bool = True) -> Server:
        """Make a server of this service on a reactor, and bind it; it accepts after `Server.start`.

        With a slot, the sockets that the slot has are used. Raises `ListenError`, `SettingError`,
        and `InvalidState` while it is served already.
        """
        with _claiming:
            self.check_free()
            settings.check()
            self.failure, self.inside = None, False
            self._server = server = Server(reactor, settings, self.handle_on(reactor, settings))
            self._process = os.getpid()
        reactor.threads = settings.threads
        reactor.serves = True
        if settings.debug:
            from ..pages import debug  # noqa: F401 (Not later: no descriptor may be left for it.)
        if settings.limit_concurrency or settings.connections_per_client:
            from ..places.concurrency import limit
            limit(server)
        if settings.trusted_proxies:
            from ..edge.forwarding import Forwarding
            Forwarding(server)
        self._lock = Lock(reactor, slot.locks if slot else None)
        try:
            if settings.request_id:
                from ..access.request_ids import RequestIds
                RequestIds(server)    # (Before all that answers, and before the log tells of it.)
            if settings.access_log or settings.access_logfile:
                from ..access.log import AccessLog
                AccessLog(server)
            self._prepare(server)
            if settings.health:
                from .health import Health
                Health(server, settings.health)    # (Before all others.)
            if listen:
                self._listen(server, slot)
                if not reactor.simulated:
                    server.stopped.add_done_callback(Reserve(reactor).close)
                if settings.control:
                    from ..control.desk import open_here, tell_supervisor
                    if slot is not None and slot.channel_end is not None:
                        tell_supervisor(server)
                    else:
                        open_here(server, settings.control)
        except BaseException:
            server.close()
            raise
        if not reactor.simulated:
            keep_from_children(reactor, server, always=False)
        return server

    def serve_in(self, server: Server, lock: Lock) -> None:
        """Be served on the server of the application in which this one is mounted."""
        self.failure, self.inside = None, True
        self._server, self._process, self._lock = server, os.getpid(), lock
        self._prepare(server)

    def _prepare(self, server: Server) -> None:
        from . import jobs  # noqa: F401 (Not later: a request may find no descriptor for it.)
        self.context.options = server.options
        if (hooks := self._connection_hooks) is not None:
            if hooks.need_asyncio:
                # (Not later: a connection may find no descriptor for it.)
                from ..bridge import bridge_to
                bridge_to(server.reactor)
            server.at_connect.append(hooks.connected)
            server.at_close.append(hooks.closed)
        self.prepare(server)

    def check_free(self) -> None:
        """Raise `InvalidState` while another server serves this application.

        Its handlers have one reactor, one lock and one set of options.
        """
        server = self._server
        if (server is not None and self._process == os.getpid() and not server.stopped.done()
                and not server.reactor.closed):
            where = ', '.join(server.urls) or 'for a test client'
            raise InvalidState(f'this application is served already ({where}): stop that server '
                               'first, or make another application; one server listens on more '
                               'addresses with `app.listen`')

    def waits(self) -> bool:
        """Return whether the start or the end of the application may have to wait."""
        # Late: it would be an eighth of the time of `import tremolo`.
        import inspect
        return inspect.iscoroutinefunction(self.startup) or any(
            inspect.iscoroutinefunction(hook) or inspect.isgeneratorfunction(hook)
            for hook in (*self._starts, *self._stops))

    def _listen(self, server: Server, slot: Slot | None) -> None:
        """Open all addresses, or use the sockets that a slot has for them."""
        self._bound.clear()
        _set_up_edges(server)
        parts = []
        for address, options in self.addresses(
                server.settings, slot is not None and slot.given):
            part = server
            if options:
                part = server.part(server.settings.for_address(options))
                _set_up_edges(part)
            parts.append((part, address))
        # (Only now: a certificate that cannot be used ends the start before anything is bound.)
        for part, address in parts:
            for place in slot.places(address) if slot else (address,):
                listeners = slot.open(part, place) if slot else part.listen(place)
                self._bound.append((place, listeners))
        if slot:
            # Sockets that are given, and of addresses that an older version of the program had.
            self._bound += [(address, slot.open(server, address)) for address, _ in list(slot.left)]

    def share_sockets(self) -> list[tuple[Address, list[Any]]]:
        """Return duplicates of the open sockets of each address, for another process."""
        return [(address, [each.share() for each in listeners])
                for address, listeners in self._bound]

    def _names(self, reactor: Reactor) -> dict[str, Any]:
        """Return what handlers and hooks may ask for by name, the same for all requests."""
        return {'app': self, 'globals': self.context, 'lock': self._lock, 'logger': self.logger,
                'loop': reactor, 'reactor': reactor}

    def on_worker_start(self, hook: F) -> F:
        """Call `hook` in each process before the first connection; an error ends the start."""
        self._starts.append(hook)
        return hook

    def on_worker_stop(self, hook: F) -> F:
        """Call `hook` in each process after the last connection; the last one added is first."""
        self._stops.insert(0, hook)
        return hook

    def on_connect(self, hook: F) -> F:
        """Call `hook(connection)` on the loop for each connection that begins.

        It may ask for `app`, too. `connection.abort('refused')` ends one at once. Raises
        `HandlerError` for what cannot be called so.
        """
        from .connection_hooks import ConnectionHook
        self._hooks().connects.append(ConnectionHook(hook, ('connection', 'app')))
        return hook

    def on_close(self, hook: F) -> F:
        """Call `hook(connection, reason)` for each that has ended; the last one added is first."""
        from .connection_hooks import ConnectionHook
        self._hooks().closes.insert(0, ConnectionHook(hook, ('connection', 'reason', 'app')))
        return hook

    def _hooks(self) -> ConnectionHooks:
        if self._connection_hooks is None:
            from .connection_hooks import ConnectionHooks
            self._connection_hooks = ConnectionHooks(self)
            if (server := self._server) is not None and not server.stopped.done():
                server.at_connect.append(self._connection_hooks.connected)
                server.at_close.append(self._connection_hooks.closed)
        return self._connection_hooks

    def startup(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """Call the start hooks; return a coroutine for the rest if one has to wait, else None.

        Raises `HookFailed`, as the coroutine does.
        """
        rest = self._call_all(self._starts, False)
        if rest is None or self._server is None:
            return None
        from .hooks import then_keep_context
        return then_keep_context(rest, self._server)

    def shutdown(self, seconds: float = 0.0) -> Coroutine[Any, Any, None] | None:
        """Call the stop hooks, and return as `startup` does; errors are logged.

        `seconds` is the time for all of it; 0: without limit. (The caller cancels what takes
        longer; with it an application can share the time.)
        """
        return self._call_all(self._stops, True)

    def failed_to_end(self, failure: TremoloError) -> None:
        """Tell a test client that a stop hook or a lifespan has failed (in the log it is)."""
        if self._server is not None and self._server.failures is not None:
            self._server.failures.append((None, failure, True))

    def _call_all(
        self, functions: list[Callable[..., Any]], go_on: bool
    ) -> Coroutine[Any, Any, None] | None:
        if not functions or self._server is None:
            return None
        from .hooks import call_all
        names = {**self._names(self._server.reactor), 'context': self.context}
        return call_all(functions, names, go_on)

    def serve(self, host: str | None = None, port: int | None = None,
              **options: Any) -> HostedServer:
        """Serve inside a running asyncio program, as a guest of its loop.

            await app.serve('0.0.0.0', 8000)           # until it is cancelled, or `stop` is called

            async with app.serve() as server:          # as long as the block lasts
                print(server.url)

        Without a port a free one is taken. Both ways raise what `start` raises; the first also
        `LifespanFailed`, if an ASGI application ends itself while it is served.
        """
        return HostedServer(self, settings_inside({'host': host, 'port': port, **options}))

    def start(self, host: str | Reactor | None = None, port: int | None = None, *,
              reactor: Reactor | None = None, thread: bool = True,
              **options: Any) -> RunningServer:
        """Serve inside another program: in a thread, or with thread=False stepped by the caller.

            with app.start('127.0.0.1', 8000) as server:
                urllib.request.urlopen(server.url)

        Without a port a free one is taken. A `reactor` of the caller stays open when the server
        stops. Raises `SettingError`, `ListenError`, `InvalidState` if it is served already, and
        `HookFailed` or `LifespanFailed` if the application does not start.
        """
        if isinstance(host, Reactor):    # The reactor was the first argument before.
            host, reactor = None, host
        settings = settings_inside({'host': host, 'port': port, **options})
        return start(self, settings, reactor, thread)

    def client(
        self, *, base_url: str = 'http://localhost', headers: Any = None,
        cookies: Mapping[str, str] | None = None, follow_redirects: bool = False,
        timeout: float | None = 5.0, raise_errors: bool = True, **options: Any
    ) -> Client:
        """Return a client for tests, in this process: no port, and no thread.

            client = app.client()
            assert client.get('/').text == 'Hello world!'

            with app.client(body_size='1MiB') as client:    # runs the hooks and the lifespan, too
            async with app.client() as client:              # likewise, inside an asyncio loop

        `headers` and `cookies` go with each request. An error of a handler, for which others get
        our 500, is raised by the call; with raise_errors=False the answer is that 500. `timeout` is
        in seconds, for each call. The options are those of `start`. Raises `SettingError`.
        """
        from ..client.client import Client
        from ..client.session import Session
        from .tested import Tested
        session = Session(base_url, headers, cookies, follow_redirects, timeout, raise_errors)
        return Client(Tested(self, settings_inside({'shutdown_timeout': 5, **options})), session)

    def run(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT; the requests in hand are finished first.

        Options are those of settings/. Prints the address once it accepts. A mistake is told in
        one line and raises `SystemExit`: 2 for an option, 1 for an address that the system refuses,
        3 for an ASGI application or a hook that fails at the start. A second SIGINT, or SIGQUIT,
        ends at once with 128 + signal. Raises `InvalidState` on another thread than the main one,
        in an asyncio program, and while this application is served already.
        """
        from . import process  # (Late: a program that is imported for its tests does not run.)
        process.run(self, {'host': host, 'port': port, **options})

    def work(self, settings: Settings, slot: Slot | None = None) -> int:
        """Serve in this process until a signal, with a slot as its worker.

        Returns 0, or 128 + the signal that forced the end. Raises `SystemExit` as `run` does.
        """
        from . import process
        return process.work(self, settings, slot)

    def fail(self, failure: TremoloError) -> None:
        """Stop the server, because the application has ended by itself."""
        self.failure = failure
        if self.outer is not None and self.inside:
            self.outer.fail(failure)
        else:
            self.stop()

    def stop(self) -> None:
        """Stop the server gracefully, however it was started; from any thread."""
        server = self._server
        if server is not None:
            server.reactor.call_soon_threadsafe(server.drain)

    def spawn(self, job: Any) -> Future:
        """Run a generator or a coroutine beside the requests; return a Future of its end.

            app.spawn(send_mail(address))

        From handlers, hooks, other jobs, and any thread. It runs in a copy of the caller's context,
        at once as far as it need not wait. Its failure is logged at once; to cancel the Future
        cancels the job. When the server stops, `app.stopping` tells it; it is waited for until
        `shutdown_timeout` is over, then it is named in the log and cancelled, before the stop hooks
        are called. Raises `InvalidState` while no server runs, `TypeError` for what is no job.
        """
        from .jobs import begin  # (`_prepare` has imported it.)
        return begin(self._server, self._process, job)

    @property
    def stopping(self) -> Future:
        """A Future that is done as soon as the server begins to stop, for whatever reason.

            yield app.stopping                      # or: await app.stopping
            yield timeout(15, app.stopping)         # raises TimeoutError after 15 seconds
            while not app.stopping.done():

        In a thread `app.stopping.result()` waits for it. Any number may wait, and none of them
        cancels it for the others. It is that of the server that was made last: the next one has
        another. Raises `InvalidState` before the first.
        """
        if self._server is None:
            raise InvalidState('stopping: no server serves this application yet')
        return self._server.stopping

    def begin(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """The old name of `startup`."""
        return self.startup(settings)

    def end(self) -> Coroutine[Any, Any, None] | None:
        """The old name of `shutdown`."""
        return self.shutdown()


def _set_up_edges(part: Server) -> None:
    """Put before connections, and around requests, what the settings say: TLS, proxies."""
    settings = part.settings
    if settings.secure or settings.trusted_proxies or settings.proxy_protocol != 'off':
        from ..edge.edges import set_up  # (Late: a server without any of it starts faster.)
        set_up(part)
    if part.clients is not None and part.arrive is None:
        part.arrive = part.clients.door(part)


def settings_inside(options: dict[str, Any]) -> Settings:
    """Return the settings of a server inside another program: on a free port by default."""
    given = {name: value for name, value in options.items() if value is not None}
    placed = 'bind' in given or 'fd' in given
    settings = Settings(**given if placed else {'port': 0, **given})
    from ..settings.doubts import only_for_workers
    if name := only_for_workers(settings):
        raise SettingError(f'{name}: has no effect inside another program, only with run')
    return settings

"""Service: whatever is served: where it listens, how it is run, and what is called at both ends.

It stands below every kind of application: one with routes (`web.Application`), one that is written
for ASGI (`asgi.AsgiApplication`). A kind says what answers a request (`handle_on`); all else is the
same for all.

`run` serves until a signal ends it, `start` inside another program or a test, and `serve` inside a
running asyncio program.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from ..loop import Listener, ListenError, Reactor
from ..server import Context, Handle, Server
from ..settings import Address, Settings, parse_bind, part_options
from ..workers.lock import Lock
from . import process
from .embedded import HostedServer, RunningServer, start

if TYPE_CHECKING:
    from ..workers.slot import Slot

F = TypeVar('F', bound=Callable[..., Any])


class Service:
    """Something that answers requests, and where it listens."""

    def __init__(self) -> None:
        self.logger = logging.getLogger('tremolo.app')
        # The application's own values, and the options of the server that runs it.
        self.context = Context()
        self.context.options = {}
        # Where else it listens, and the options for that.
        self._listens: list[tuple[Address, dict[str, Any]]] = []
        self._bound: list[tuple[Address, list[Listener]]] = []
        self._server: Server | None = None    # The one that serves it, if it was bound.
        self._lock: Lock
        # What is called in each process, before and after.
        self._starts: list[Callable[..., Any]] = []
        self._stops: list[Callable[..., Any]] = []

    # -- what each kind of application says -------------------------------------------------------

    def handle_on(self, reactor: Reactor, settings: Settings) -> Handle:
        """Return what answers each request on this reactor; called once for a server."""
        raise NotImplementedError

    def prepare(self, server: Server) -> None:
        """Called when its server is made, and before that listens."""

    # -- serving ----------------------------------------------------------------------------------

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
        """Bind a server of this service to a reactor; it accepts after `Server.start`.

        Sockets that a slot has are taken from there. Raises `ListenError`.
        """
        self._server = server = Server(reactor, settings, self.handle_on(reactor, settings))
        if settings.limit_concurrency:
            from ..server.concurrency import ConcurrencyLimit
            ConcurrencyLimit(server, settings.limit_concurrency)
        self._lock = Lock(reactor, slot.locks if slot else None)
        self.context.options = server.options
        self.prepare(server)
        try:
            self._listen(server, slot)
        except ListenError:
            server.close()
            raise
        return server

    def _listen(self, server: Server, slot: Slot | None) -> None:
        """Open all addresses, or take over the sockets that a slot has for them."""
        self._bound.clear()
        for address, options in self.addresses(server.settings):
            part = server
            if options:
                part = server.part(server.settings.replace(**options))
            listeners = slot.open(part, address) if slot else part.listen(address)
            self._bound.append((address, listeners))
        if slot:
            # Of the program as it was when it was started, and is no longer.
            self._bound += [(address, slot.open(server, address)) for address, _ in list(slot.left)]

    def share_sockets(self) -> list[tuple[Address, list[Any]]]:
        """Return the open sockets of each address once more, for another process."""
        return [(address, [each.share() for each in listeners])
                for address, listeners in self._bound]

    def _names(self, reactor: Reactor) -> dict[str, Any]:
        """Return what handlers and hooks may ask for, in all that this process serves."""
        return {'app': self, 'globals': self.context, 'lock': self._lock, 'logger': self.logger,
                'loop': reactor, 'reactor': reactor}

    def on_worker_start(self, hook: F) -> F:
        """Call it in each process before the first connection; what it raises ends the start."""
        self._starts.append(hook)
        return hook

    def on_worker_stop(self, hook: F) -> F:
        """Call it in each process after the last connection; the last that came is called first."""
        self._stops.insert(0, hook)
        return hook

    def startup(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """Do what comes before the first connection; what has to wait is left to a coroutine.

        Raises `HookFailed`.
        """
        return self._call_all(self._starts, False)

    def shutdown(self) -> Coroutine[Any, Any, None] | None:
        """Do what comes after the last connection; what fails is logged."""
        return self._call_all(self._stops, True)

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

        Without a port it is a free one. Both raise what `start` raises.
        """
        return HostedServer(self, settings_inside({'host': host, 'port': port, **options}))

    def start(self, reactor: Reactor | None = None, thread: bool = True,
              **options: Any) -> RunningServer:
        """Serve inside another program: in a thread, or with thread=False stepped by the caller.

            with app.start(port=0) as server:
                urllib.request.urlopen(server.url)

        A `reactor` that is given stays open when the server stops. Raises `SettingError` and
        `ListenError`.
        """
        return start(self, settings_inside(options), reactor, thread)

    def run(self, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT; what is in flight is finished first.

        Options are those of settings/. Prints the address when it is ready. A mistake ends in
        one line and `SystemExit`: 2 for an option, 1 for an address the system refuses, 3 for an
        ASGI application or a hook that fails at the start; a second SIGINT, or SIGQUIT, ends at
        once with 128 + signal.
        """
        process.run(self, {'host': host, 'port': port, **options})

    def work(self, settings: Settings, slot: Slot | None = None) -> int:
        """Serve in this process, as the worker of a slot if there is one, until a signal.

        Returns 0, or 128 + the signal that forced the end. Raises `SystemExit` as `run` does.
        """
        return process.work(self, settings, slot)

    def stop(self) -> None:
        """Stop gracefully what `run` or `start` serves; from any thread."""
        server = self._server
        if server is not None:
            server.reactor.call_soon_threadsafe(server.drain)

    def begin(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """The old name of `startup`."""
        return self.startup(settings)

    def end(self) -> Coroutine[Any, Any, None] | None:
        """The old name of `shutdown`."""
        return self.shutdown()


def settings_inside(options: dict[str, Any]) -> Settings:
    """Make the settings of a server in another program: on a free port if none is given."""
    given = {name: value for name, value in options.items() if value is not None}
    return Settings(**given if 'bind' in given else {'port': 0, **given})

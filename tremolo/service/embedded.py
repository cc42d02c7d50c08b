"""Embedded: a service inside another program.

A `RunningServer` runs in a thread of its own, or its host steps it. A `HostedServer` is a guest in
an asyncio loop that runs already.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Coroutine, Generator
from contextlib import AsyncExitStack
from functools import partial

from ..errors import SettingError
from ..loop import Future, Reactor
from ..server import Server
from ..settings import Settings
from ..typed import TYPE_CHECKING, Any
from .ending import Ending, starting
from .place import apart_from_asyncio, check_start, check_stop
from .reactors import complete, make_reactor

if TYPE_CHECKING:
    from .service import Service

_log = logging.getLogger('tremolo')


def start(service: Service, settings: Settings, reactor: Reactor | None,
          thread: bool) -> RunningServer:
    """Start a service inside another program (see `Service.start`)."""
    if settings.loop != 'reactor' and (reactor is not None or not thread):
        raise SettingError(f'loop: {settings.loop} needs a thread and a reactor of its own')
    check_start(reactor, thread, service.waits)
    return apart_from_asyncio(_start, service, settings, reactor, thread)


def start_here(service: Service, settings: Settings, hooks: bool) -> RunningServer:
    """Start a service that listens nowhere, with its hooks or without; the caller steps it."""
    return _start(service, settings, None, False, False, hooks)


def _start(service: Service, settings: Settings, reactor: Reactor | None, thread: bool,
           listen: bool = True, hooks: bool = True) -> RunningServer:
    own = reactor is None
    reactor = reactor or make_reactor(settings)
    try:
        server = service.serve_on(reactor, settings, listen=listen)
        try:
            if hooks:
                with starting(reactor):
                    complete(reactor, service.startup(settings))
        except BaseException:
            server.close()
            raise
    except BaseException:
        if own:
            reactor.close()
        raise
    if settings.debug:
        from .monitor import watch  # Late: a server without `debug` starts faster.
        watch(reactor)
    return RunningServer(reactor, server, thread, own, service, hooks)


class BoundServer:
    """The addresses of a server that is bound."""

    server: Server

    @property
    def url(self) -> str:
        """The first bound address: 'http://127.0.0.1:40123'."""
        return self.server.urls[0]

    @property
    def address(self) -> Any:
        """The first bound address as its socket has it: `(host, port)`, or a path."""
        return self.server.listeners[0].address

    @property
    def port(self) -> int:
        """The first bound TCP port."""
        return int(self.address[1])


class RunningServer(BoundServer):
    """A server that `app.start` has started; as a context manager it is stopped at the end.

    With a thread the server runs by itself. Without one the host drives it: it waits until
    `fileno()` is readable or `next_deadline()` has come, and calls `step(0)`. Or it calls
    `step(0.1)` in a loop.
    """

    def __init__(self, reactor: Reactor, server: Server, thread: bool, own: bool,
                 service: Service, hooks: bool = True) -> None:
        """Start it. With `own` the reactor is closed with the server."""
        self._hooks = hooks
        self.reactor = reactor
        self._own = own
        self._service = service
        # (On a reactor of the host's, other work than ours goes on.)
        self._ending = Ending(server, others=None if own else service.left)
        self.server = server
        self.fileno = reactor.fileno
        self.next_deadline = reactor.next_deadline
        self._stopped = False
        self._thread: threading.Thread | None = None
        server.start()
        if thread:
            self._thread = threading.Thread(target=reactor.run, name='tremolo', daemon=True)
            self._thread.start()

    def step(self, timeout: float | None = None) -> None:
        """Do one turn; wait at most `timeout` seconds for events (None: without limit)."""
        (self.reactor if self.reactor.bridge is None else self.reactor.bridge).step(timeout)

    def stop(self) -> None:
        """Finish the requests in hand and what they left running, and free everything.

        It takes `shutdown_timeout` at most, and then 5 s for the application's shutdown. Raises
        `InvalidState` in a handler of this server, where `app.stop()` does it.
        """
        if self._stopped:
            return
        check_stop(self.reactor, self._thread is not None)
        self._stopped = True
        if self._own:
            apart_from_asyncio(self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        reactor = self.reactor
        if self._thread is not None:
            reactor.call_soon_threadsafe(self._drain_and_stop)
            self._thread.join()
        else:
            self._drain_and_stop()
            reactor.run()
        self.server.close()
        seconds = self._ending.for_shutdown
        if self._hooks:
            complete(reactor, self._service.shutdown(seconds), seconds)
        if self._own:
            self._ending.close()
            reactor.close()

    def _drain_and_stop(self) -> None:
        self._ending.then(self.reactor.stop)
        self.server.drain()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class HostedServer(BoundServer, Coroutine[Any, Any, None]):
    """A server that `app.serve` makes: await it, make a task of it, or use `async with`."""

    def __init__(self, service: Service, settings: Settings, listen: bool = True) -> None:
        self._service = service
        self._settings = settings
        self._listen = listen
        self._stack = AsyncExitStack()
        self._coroutine: Coroutine[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        return self._serve().__await__()

    # `asyncio.create_task` takes only a coroutine. So this class is one, and passes each call on.

    def _begun(self) -> Coroutine[Any, Any, None]:
        if self._coroutine is None:
            self._coroutine = self._serve()
        return self._coroutine

    def send(self, value: Any) -> Any:
        """Go on with a value; for the task that runs it."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error; for the task that runs it."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """End the coroutine; for the task that runs it. (`app.stop` stops the server.)"""
        self._begun().close()

    async def _serve(self) -> None:
        async with self:
            for url in self.server.urls:
                _log.info('running on %s', url)
            # (Not `stopped` itself: a task that is cancelled cancels the Future it waits for.)
            ended = Future(self.server.reactor)
            self.server.stopped.add_done_callback(lambda _: _set(ended))
            await ended
            if self._service.failure is not None:
                raise self._service.failure

    async def __aenter__(self) -> HostedServer:
        from ..bridge.guest import hosted
        service, settings = self._service, self._settings
        async with AsyncExitStack() as stack:
            reactor = stack.enter_context(hosted(settings.debug))
            self.server = service.serve_on(reactor, settings, listen=self._listen)
            stack.callback(self.server.close)
            with starting(reactor):
                begun = service.startup(settings)
                if begun is not None:
                    await begun
            self._ending = Ending(self.server, others=service.left)
            stack.push_async_callback(self._end)
            if settings.debug:
                from .monitor import watch  # Late: a server without `debug` starts faster.
                watch(reactor)
            self.server.start()
            stack.push_async_callback(self._drain)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _drain(self) -> None:
        ended = Future(self.server.reactor)
        self._ending.then(partial(_set, ended))
        self.server.drain()
        await ended

    async def _end(self) -> None:
        from ..bridge.bridge import within
        self.server.close()
        seconds = self._ending.for_shutdown
        ended = self._service.shutdown(seconds)
        if ended is not None:
            await within(seconds, ended)


def _set(future: Future) -> None:
    if not future.done():
        future.set_result()

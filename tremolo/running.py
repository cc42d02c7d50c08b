"""Running: servers inside other programs.

A `RunningServer` is in a thread of its own or stepped by its host; a `HostedServer` is the guest of
an asyncio loop that runs.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import weakref
from collections.abc import Coroutine, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from .errors import SettingError
from .loop import Future, ListenError, Reactor
from .monitor import watch
from .server import Server
from .settings import Settings

if TYPE_CHECKING:
    from .service.service import Application

_log = logging.getLogger('tremolo')

try:
    _FOLDER = os.getcwd()
except OSError:    # It is not there any more.
    _FOLDER = os.sep
# Descriptors that are not connections, and then some for the application.
_OWN_DESCRIPTORS = 64


def make_reactor(settings: Settings) -> Reactor:
    """Make a reactor: its own master, or the guest of the loop that is asked for.

    Raises `SettingError` for a loop that is not installed.
    """
    if settings.loop == 'reactor':
        return Reactor(debug=settings.debug)
    # Asyncio is imported when something needs it, and not before.
    from .bridge.guest import GuestReactor, make_loop
    try:
        loop = make_loop(settings.loop)
    except ImportError as error:
        raise SettingError(f'loop: {settings.loop} is not installed') from error
    return GuestReactor(loop, debug=settings.debug)


def reserve_descriptors(connections: int) -> None:
    """Let this process have as many as so many connections need. Raises `ListenError`."""
    try:
        import resource
    except ImportError:    # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OWN_DESCRIPTORS
    if connections and needed > soft != resource.RLIM_INFINITY:
        if needed > hard != resource.RLIM_INFINITY:
            raise ListenError(f'connections: {connections} need {needed} file descriptors, and the '
                              f'system allows {hard} (ulimit -n)')
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def command_line() -> list[str]:
    """Return in which folder and by which command this program was started."""
    arguments = getattr(sys, 'orig_argv', None)
    if arguments is None:    # before Python 3.10
        try:
            arguments = Path('/proc/self/cmdline').read_bytes()[:-1].split(b'\0')
        except OSError:
            arguments = ['', *sys.argv]
    return [_FOLDER, sys.executable, *map(os.fsdecode, arguments[1:])]


def keep_from_children(reactor: Reactor) -> None:
    """Let processes that the application forks have none of our signals and open sockets."""
    this = weakref.ref(reactor)    # (What is to be done at a fork cannot be taken back.)

    def leave() -> None:
        reactor = this()
        if reactor is None or reactor.closed:
            return
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The numbers stay taken: objects of that process still have them.
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in list(reactor.watchers):
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)

    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=leave)


def complete(reactor: Reactor, coroutine: Coroutine[Any, Any, None] | None) -> None:
    """Run a coroutine, if there is one, to its end, while the reactor does not run."""
    if coroutine is not None:
        from .bridge import bridge_to
        bridge_to(reactor).complete(coroutine)


class BoundServer:
    """What all of them tell."""

    server: Server

    @property
    def url(self) -> str:
        """The first bound address: 'http://127.0.0.1:40123'."""
        return self.server.urls[0]

    @property
    def address(self) -> Any:
        """The first bound address as the socket gives it: `(host, port)`, or a path."""
        return self.server.listeners[0].address

    @property
    def port(self) -> int:
        """The first bound TCP port."""
        return int(self.address[1])


class RunningServer(BoundServer):
    """What `app.start` gives; a context manager that stops it.

    With a thread the server runs by itself. Without one the host drives it: wait until `fileno()`
    is readable or `next_deadline()` has come, then `step(0)`; or just `step(0.1)` in a loop.
    """

    def __init__(self, reactor: Reactor, server: Server, thread: bool, own: bool,
                 end: Callable[[], Coroutine[Any, Any, None] | None]) -> None:
        """`own` is whether the reactor is closed with the server; `end` is called before that."""
        self.reactor = reactor
        self._own = own
        self._end = end
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
        """Do one turn, waiting at most `timeout` seconds (None: until something happens)."""
        (self.reactor if self.reactor.bridge is None else self.reactor.bridge).step(timeout)

    def stop(self) -> None:
        """Finish what is in flight, at most `shutdown_timeout` long, and free everything."""
        reactor = self.reactor
        if self._stopped:
            return
        self._stopped = True
        if self._thread is not None:
            reactor.call_soon_threadsafe(self._drain_and_stop)
            self._thread.join()
        else:
            self._drain_and_stop()
            reactor.run()
        self.server.close()
        complete(reactor, self._end())
        if self._own:
            reactor.close()

    def _drain_and_stop(self) -> None:
        self.server.drain().add_done_callback(lambda _: self.reactor.stop())

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class HostedServer(BoundServer, Coroutine[Any, Any, None]):
    """What `app.serve` gives: a coroutine to be awaited or made a task, or for `async with`."""

    def __init__(self, app: Application, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._stack = AsyncExitStack()
        self._coroutine: Coroutine[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        return self._serve().__await__()

    def _begun(self) -> Coroutine[Any, Any, None]:
        if self._coroutine is None:
            self._coroutine = self._serve()
        return self._coroutine

    def send(self, value: Any) -> Any:
        """Go on; for the task that runs it."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error; for the task that runs it."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """End a task's coroutine; `app.stop` stops the server."""
        self._begun().close()

    async def _serve(self) -> None:
        async with self:
            for url in self.server.urls:
                _log.info('running on %s', url)
            # (Not `stopped` itself: who gives up waiting cancels what it waited for.)
            ended = Future(self.server.reactor)
            self.server.stopped.add_done_callback(
                lambda _: None if ended.done() else ended.set_result())
            await ended

    async def __aenter__(self) -> HostedServer:
        from .bridge.guest import hosted
        app, settings = self._app, self._settings
        async with AsyncExitStack() as stack:
            reactor = stack.enter_context(hosted(settings.debug))
            self.server = app.serve_on(reactor, settings)
            stack.callback(self.server.close)
            begun = app.begin(settings)
            if begun is not None:
                await begun
            stack.push_async_callback(self._end)
            watch(reactor, settings)
            self.server.start()
            stack.push_async_callback(self._drain)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _drain(self) -> None:
        await self.server.drain()

    async def _end(self) -> None:
        self.server.close()
        ended = self._app.end()
        if ended is not None:
            await ended

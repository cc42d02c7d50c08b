"""Tested: the server that the test clients of a service share; it listens nowhere.

The first client starts it, on a reactor that turns while a client waits, or as a guest in the
running asyncio loop. The last one ends it. So two clients, which are two users with their own
cookies, may be open at once, and nothing is left behind them.
"""

from __future__ import annotations

import threading

from ..loop import InvalidState
from ..server import Server
from ..settings import Settings
from ..typed import TYPE_CHECKING, Any
from .embedded import HostedServer, RunningServer, start_here
from .place import in_asyncio

if TYPE_CHECKING:
    from .service import Service

_IN_LOOP = ('client: an asyncio loop runs in this thread: write `async with app.client() as '
            'client:`, and `answer = await client.get(...)`')


class Tested:
    """A client's way to the server (`client.Door`)."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    def check(self) -> None:
        """Raise `InvalidState` in an asyncio loop, on another thread, and in a handler."""
        if in_asyncio():
            raise InvalidState(_IN_LOOP)
        shared = self._service.tested
        if shared is None:
            return
        if shared.thread != threading.get_ident():
            raise InvalidState('client: a client of this application is open in another thread; '
                               'one thread at a time may use them')
        if shared.server.reactor.turning:
            raise InvalidState('client: a handler of this application calls it, and it would wait '
                               'for that handler: call what the other handler calls')

    def enter(self, hooks: bool, failures: Any) -> Server:
        """Join the server, or start it. Raises `InvalidState`, and what the start raises."""
        self.check()
        shared = self._service.tested
        if shared is None:
            shared = _Shared(start_here(self._service, self._settings, hooks), self._settings,
                             hooks, failures)
            self._service.tested = shared
        return self._join(shared, hooks)

    def _join(self, shared: _Shared, hooks: bool) -> Server:
        if shared.settings != self._settings:
            raise InvalidState('client: a client of this application is open with other options; '
                               'one server has one set of them')
        if hooks and not shared.hooks:
            raise InvalidState('client: a client of this application is open without its hooks; '
                               'the `with` block comes first')
        shared.users += 1
        return shared.server

    def leave(self, good: bool) -> None:
        """Leave the server; the last one ends it, and raises what fails then."""
        shared = self._service.tested
        shared.users -= 1
        if not shared.users:
            self._service.tested = None
            shared.running.stop()
            self._tell(shared, good)

    def _tell(self, shared: _Shared, good: bool) -> None:
        """Raise what nobody was told of: an error after an answer, or of a hook."""
        if good:
            for error in shared.server.failures.rest():
                raise error

    async def enter_loop(self, failures: Any) -> Server:
        """Join the server in the running loop, or start it."""
        shared = self._service.tested
        if shared is None:
            hosted = HostedServer(self._service, self._settings, listen=False)
            await hosted.__aenter__()
            shared = self._service.tested = _Shared(hosted, self._settings, True, failures)
        elif shared.thread != threading.get_ident() or isinstance(shared.running, RunningServer):
            raise InvalidState('client: a client of this application is open outside this loop')
        return self._join(shared, True)

    async def leave_loop(self, good: bool) -> None:
        """Do as `leave`."""
        shared = self._service.tested
        shared.users -= 1
        if not shared.users:
            self._service.tested = None
            await shared.running.__aexit__()
            self._tell(shared, good)


class _Shared:
    """The server, and who uses it."""

    def __init__(self, running: Any, settings: Settings, hooks: bool, failures: Any) -> None:
        self.running: Any = running
        self.server: Server = running.server
        self.server.failures = failures
        self.settings = settings
        self.hooks = hooks
        self.users = 0
        self.thread = threading.get_ident()

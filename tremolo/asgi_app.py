"""AsgiApplication: an ASGI application in the place of routes and handlers.

    from tremolo.asgi_app import AsgiApplication

    AsgiApplication(app).run('127.0.0.1', 8000)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .asgi import Answers, Lifespan
from .asgi import Application as AsgiCallable
from .bridge import bridge_to
from .loop import Reactor
from .server import Server
from .server.pages import send_failure
from .service.service import Application
from .settings import Settings

if TYPE_CHECKING:
    from .workers.slot import Slot


class AsgiApplication(Application):
    """Serves an ASGI application, with all that `Application` can do but routes."""

    def __init__(self, app: AsgiCallable) -> None:
        super().__init__()
        self._app = app

    def route(self, path: str, methods: Any = ('GET',)) -> Any:
        """Refuse: the application has routes of its own."""
        raise TypeError('an ASGI application has routes of its own')

    def serve_on(self, reactor: Reactor, settings: Settings, slot: Slot | None = None) -> Server:
        """Bind a server of this application to a reactor; `begin` comes before `Server.start`.

        Raises `ListenError`.
        """
        self._lifespan = Lifespan(self._app, settings.lifespan)
        self._startup_timeout = settings.startup_timeout
        self._handle = Answers(    # type: ignore[method-assign]
            self._app, bridge_to(reactor).start, send_failure, settings.root_path,
            self._lifespan.state, settings.debug).handle
        return super().serve_on(reactor, settings, slot)

    async def begin(self, settings: Settings) -> None:
        """Start the application, before anything is accepted, and after the hooks.

        Raises `LifespanFailed` and `HookFailed`.
        """
        hooks = super().begin(settings)
        if hooks is not None:
            await hooks
        await self._lifespan.startup(self._startup_timeout)

    async def end(self) -> None:
        """Let the application clean up, after the last connection, and before the hooks."""
        await self._lifespan.shutdown(self._startup_timeout)
        hooks = super().end()
        if hooks is not None:
            await hooks

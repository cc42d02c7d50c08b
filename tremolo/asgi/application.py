"""AsgiApplication: an application written for ASGI, as a Service.

    from tremolo.asgi_app import AsgiApplication

    AsgiApplication(app).run('127.0.0.1', 8000)
"""

from __future__ import annotations

from ..bridge import bridge_to
from ..loop import Reactor
from ..server import Handle
from ..server.pages import send_failure
from ..service import Service
from ..settings import Settings
from .exchange import Application, Runner
from .lifespan import Lifespan


class AsgiApplication(Service):
    """Serves an ASGI application: it answers the requests, and has a lifespan beside the hooks."""

    def __init__(self, app: Application) -> None:
        super().__init__()
        self._app = app

    def handle_on(self, reactor: Reactor, settings: Settings) -> Handle:
        """Return what gives each request to the application."""
        self._lifespan = Lifespan(self._app, settings.lifespan)
        self._startup_timeout = settings.startup_timeout
        return Runner(self._app, bridge_to(reactor).start, send_failure, settings.root_path,
                      self._lifespan.state, settings.debug).handle

    async def startup(self, settings: Settings) -> None:
        """Start the application, before anything is accepted, and after the hooks.

        Raises `LifespanFailed` and `HookFailed`.
        """
        hooks = super().startup(settings)
        if hooks is not None:
            await hooks
        await self._lifespan.startup(self._startup_timeout)

    async def shutdown(self) -> None:
        """Let the application clean up, after the last connection, and before the hooks."""
        await self._lifespan.shutdown(self._startup_timeout)
        hooks = super().shutdown()
        if hooks is not None:
            await hooks

"""AsgiApplication: an application written for ASGI, as a Service.

    from tremolo.asgi_app import AsgiApplication

    AsgiApplication(app).run('127.0.0.1', 8000)

It brings `handle_on` (a Runner answers each request) and extends `startup` and `shutdown` by the
application's lifespan. All else is the Service's.
"""

from __future__ import annotations

from ..bridge import bridge_to
from ..loop import Reactor
from ..server import Handle
from ..server.pages import send_failure
from ..service import Service
from ..settings import Settings
from .lifespan import Lifespan
from .runner import Application, Runner


class AsgiApplication(Service):
    """An ASGI application that is served."""

    def __init__(self, app: Application) -> None:
        super().__init__()
        self._app = app

    def handle_on(self, reactor: Reactor, settings: Settings) -> Handle:
        """Return the function that calls the application for each request."""
        self._lifespan = Lifespan(self._app, settings.lifespan)
        self._startup_timeout = settings.startup_timeout
        return Runner(self._app, bridge_to(reactor).start, send_failure, settings.root_path,
                      self._lifespan.state, settings.debug).handle

    async def startup(self, settings: Settings) -> None:
        """Call the start hooks, then start the application; nothing is accepted before both ended.

        Raises `LifespanFailed` and `HookFailed`.
        """
        hooks = super().startup(settings)
        if hooks is not None:
            await hooks
        await self._lifespan.startup(self._startup_timeout)

    async def shutdown(self) -> None:
        """Let the application clean up after the last connection, then call the stop hooks."""
        await self._lifespan.shutdown(self._startup_timeout)
        hooks = super().shutdown()
        if hooks is not None:
            await hooks

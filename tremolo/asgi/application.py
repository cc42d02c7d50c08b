"""AsgiApplication: an application written for ASGI, as a Service.

    from tremolo.asgi_app import AsgiApplication

    AsgiApplication(app).run('127.0.0.1', 8000)

It brings `handle_on` (a Runner answers each request) and extends `startup` and `shutdown` by the
application's lifespan. All else is the Service's.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..bridge import bridge_to
from ..bridge.work import of_task
from ..errors import LifespanFailed
from ..loop import Reactor
from ..loop.work import Work
from ..pages import send_failure
from ..server import Handle
from ..server.contexts import keep_context
from ..service import Service
from ..settings import Settings
from .lifespan import Lifespan
from .runner import Application, Runner

_FOR_HOOKS = 1.0    # Seconds for the stop hooks, after an application whose shutdown hangs.


class AsgiApplication(Service):
    """An ASGI application that is served."""

    def __init__(self, app: Application) -> None:
        super().__init__()
        self._app = app

    def handle_on(self, reactor: Reactor, settings: Settings, mounted_at: str = '') -> Handle:
        """Return the function that calls the application for each request.

        `mounted_at` is what the path of each request begins with, in another application.
        """
        if settings.websocket:
            # Not later: a request may find no descriptor for an import.
            from . import upgrade  # noqa: F401
            if settings.ws_compression:
                from ..ws import deflate  # noqa: F401
        self._lifespan = Lifespan(self._app, settings.lifespan, self.fail)
        self._startup_timeout = settings.startup_timeout
        self._runner = Runner(
            self._app, bridge_to(reactor).start, send_failure, settings.root_path,
            self._lifespan.state, settings.debug, mounted_at)
        return self._runner.handle

    def left(self) -> Iterable[Work]:
        """Return the calls of the application that have not ended."""
        return map(of_task, list(self._runner.running))

    async def startup(self, settings: Settings) -> None:
        """Call the start hooks, then start the application; nothing is accepted before both ended.

        Raises `LifespanFailed` and `HookFailed`.
        """
        hooks = super().startup(settings)
        if hooks is not None:
            await hooks
        await self._lifespan.startup(self._startup_timeout)
        if self._server is not None:
            keep_context(self._server, self._lifespan.context)

    async def shutdown(self, seconds: float = 0.0) -> None:
        """Let the application clean up after the last connection, then call the stop hooks.

        Of the seconds for both the last one is for the hooks.
        """
        limits = self._startup_timeout, seconds - _FOR_HOOKS if seconds else 0.0
        if why := await self._lifespan.shutdown(min(filter(None, limits), default=0.0)):
            self.failed_to_end(LifespanFailed(why))
        hooks = super().shutdown(seconds)
        if hooks is not None:
            await hooks

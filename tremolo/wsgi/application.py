"""WsgiApplication: an application written for WSGI (PEP 3333), as a Service.

    from tremolo.wsgi_app import WsgiApplication

    WsgiApplication(app).run('127.0.0.1', 8000)

It brings `handle_on`: each request is a Call on a thread of the pool. All else is the Service's.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ..loop import Future, Reactor, waits
from ..loop.work import Work
from ..pages import send_error, send_failure
from ..places.threads import ComingBody, coming_body, refusal
from ..server import Handle, Request, Response
from ..service import Service
from ..settings import Settings
from ..typed import Any, Callable
from .call import call_of
from .environ import Environ
from .file_wrapper import FileWrapper
from .pool import Pool

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WsgiApplication(Service):
    """A WSGI application that is served."""

    def __init__(self, app: Application) -> None:
        super().__init__()
        self._app = app
        self._runner: Runner | None = None

    def handle_on(self, reactor: Reactor, settings: Settings, mounted_at: str = '') -> Handle:
        """Return the function that calls the application for each request.

        `mounted_at` is what the path of each request begins with, in another application.
        """
        self._runner = Runner(
            self._app, Environ(settings, mounted_at, FileWrapper), Pool.of(reactor))
        return self._runner.handle

    def left(self) -> Iterable[Work]:
        """Return the calls of the application that have not ended."""
        return [] if self._runner is None else [
            work for work in self._runner.pool.left() if work.source.runner is self._runner]


class Runner:
    """Calls an application for each request of a server."""

    name = 'the WSGI application'    # For the log.

    def __init__(self, app: Application, environ: Environ, pool: Pool) -> None:
        self.app: Callable[..., Any] = app
        self.environ = environ
        self.pool = pool

    def handle(self, request: Request, response: Response) -> None:
        """Give a request to the threads, when its body is here. Hot: once per request."""
        pool = self.pool
        # (Mostly neither is the case, and `full` is not called: 1 % of a hello world.)
        if (len(pool.calls) >= waits.QUEUE_MOST or pool.waits.events) and pool.full:
            return self._refuse(response)
        call = call_of(self, request, response)
        connection = response.connection
        if (request.has_body and call.body is None
                and (body := coming_body(request)) is not None):
            connection.task = ComingBody(body)
            body.add_done_callback(partial(self._go_on, request, response))
            return None
        connection.task = call
        if (places := connection.server.places) is not None:
            call.leave = places.hold(request)
        try:
            pool.submit(call)
        except RuntimeError as error:    # The system has no thread for the first call.
            if call.leave is not None:
                call.leave(call)
            send_failure(response, error)
        return None

    def _go_on(self, request: Request, response: Response, body: Future) -> None:
        """Begin, now that the body is here, or does not come any more."""
        body.cancel()    # (Its bytes are read once more.)
        if response.live:    # (Else the client is gone.)
            self.handle(request, response)

    def _refuse(self, response: Response) -> None:
        wrapped: Any = response
        error = refusal(response.request)
        if response.layers:
            wrapped.throw(self, error)
        else:
            send_error(response, error)

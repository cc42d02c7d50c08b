"""Sockets: how the handshake of a WebSocket runs a function that asks for `websocket`.

    def chat(websocket):          it serves nothing but WebSockets
    def chat(websocket=None):     it serves ordinary requests as well, with `websocket` None

Whether a function asks is known when it is registered: then it gets a `SocketHandler`, and other
handlers know nothing of sockets. What comes instead of a handshake is answered here:

    another request             426, or the function runs as any handler of requests does
    a broken handshake          400, or 426 for a version other than 13
    the option `websocket` off  404, or the same
    an origin not in `origins`  403
    the server stops            503

A SocketRun (socket_run.py) makes of the function's outcome what the client sees.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Mapping
from functools import partial

from ..http.errors import shown
from ..loop.signals import caught
from ..places.threads import run_for
from ..server import Request, Response
from ..server.context import Context
from ..server.errors import NotFound
from ..typed import Any, Callable
from ..websocket import WebSocket, refuse
from ..ws.handshake import Handshake, HandshakeError, read_handshake
from .failure import fail
from .handlers import Handler, arguments
from .origins import refused_origin
from .signature import Signature
from .socket_run import SocketRun
from .socket_task import SocketTask


class SocketHandler(Handler):
    """A registered function that asks for `websocket`."""

    def __init__(self, function: Callable[..., Any], signature: Signature,
                 origins: frozenset[str] | None) -> None:
        super().__init__(function, signature)
        self.sockets_only = signature.websocket == 'only'
        self._origins = origins    # The origins whose pages may connect; None: all may.

    def _prepare(self, given: Mapping[str, Any]) -> None:
        super()._prepare(given)
        self._given = given
        from ..websocket import group  # noqa: F401 (Not later, as below: `Application.group`.)
        if self.options['ws_compression']:
            from ..ws import deflate  # noqa: F401 (Not later: no descriptor may be left for it.)

    def run(self, request: Request, response: Response,
            context: contextvars.Context | None = None) -> None:
        """Answer a request: begin a WebSocket, if it is a handshake that is allowed."""
        server = request.connection.server
        on = server.settings.websocket
        try:
            handshake = read_handshake(request) if on else None
        except HandshakeError as error:
            _note(request, error)
            refuse(response, error.status, error.sentence, error.fields)
            return
        origin = refused_origin(request, self._origins) if handshake is not None else None
        if origin is not None:
            _note(request, f'403: the origin {shown(origin)} is not in `origins`')
            refuse(response, 403, 'a page of this origin may not connect')
        elif handshake is not None and server.stopping.done():
            refuse(response, 503, 'the server stops')
        elif handshake is not None:
            self._begin(request, response, handshake, context)
        elif not self.sockets_only:
            super().run(request, response, context)
        elif on:
            refuse(response, 426, 'this is for WebSockets')
        else:
            fail(self, request, response, NotFound())

    def _begin(self, request: Request, response: Response, handshake: Handshake,
               context: contextvars.Context | None) -> None:
        """Run the function for a WebSocket. Raises nothing but the user's Ctrl-C."""
        connection = request.connection
        websocket = WebSocket.to(request, response, handshake)
        run = SocketRun(self, websocket)
        try:
            if context is None:
                request.context = Context()
                context = connection.server.new_context()
            request.context.options = self.options
            for name, value in self._presets:
                setattr(response, name, value)
            call = self._call_for(websocket, response)
            if self.thread:
                run.follow(context.run(run_for, request, call))
                return
            value = context.run(call)
            if inspect.isgenerator(value):
                reactor = connection.stream.reactor
                run.follow(SocketTask(value, owner=run, context=context, reactor=reactor))
            elif hasattr(value, '__await__') or hasattr(value, '__aiter__'):
                from .coroutines import begin
                run.follow(begin(value, run, context))
            else:
                run.returned(value)    # A decorator has returned something of its own.
        except BaseException as error:
            # Even SystemExit: no error of a handler may end the loop.
            run.raised(caught(error))

    def _call_for(self, websocket: WebSocket, response: Response) -> Callable[[], Any]:
        """Return the call of the function, with the names that it asks for and the groups."""
        given = {**self._given, 'websocket': websocket}
        return partial(self.function, **arguments(
            self._signature, given, websocket.request, response, 'websocket'))


def _note(request: Request, fault: object) -> None:
    """Write one line about a handshake that is refused."""
    connection = request.connection
    connection.server.notices.refused(connection, fault)

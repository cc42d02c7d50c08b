"""Registration: from a function to its handler. What is wrong is told here, before a request comes.

A function that asks for `websocket` or `sse` gets a handler of another class, which brings the room
`websocket` or `events` with it. So nothing of that is imported, and no request looks for it, as
long as no function asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..server import HandlerError
from ..typed import Any, Callable
from .handlers import Handler
from .mistakes import check_socket_methods
from .origins import checked_origins
from .signature import Signature


def handler_of(function: Callable[..., Any], groups: Iterable[str], methods: list[str],
               origins: Any, of_application: frozenset[str] | None) -> Handler:
    """Return the handler of a function. Raises `HandlerError` if it cannot be one.

    `origins` are those of the route (`ValueError` if they are none); `...`: of the application.
    """
    signature = Signature(function, groups)
    if not signature.websocket:
        if origins is not ...:
            raise HandlerError(f'{signature.name}: `origins` is for a handler of WebSockets, which '
                               'asks for `websocket`: leave it out')
        if signature.events:
            # Late: few programs have events.
            from .events import EventHandler
            return EventHandler(function, signature)
        return Handler(function, signature)
    check_socket_methods(signature.name, methods, signature.websocket == 'too')
    # Late: few programs have sockets.
    from .sockets import SocketHandler
    allowed = of_application if origins is ... else checked_origins(origins)
    return SocketHandler(function, signature, allowed)


def served_twice(error: ValueError, handlers: list[Handler]) -> ValueError:
    """Say what to write instead of one function for requests and another one for WebSockets."""
    if any(handler.sockets_only for handler in handlers):
        return ValueError(f'{error}; one function serves ordinary requests and WebSockets: write '
                          'websocket=None in its signature')
    return error

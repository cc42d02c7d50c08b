"""Registration: from a function to its handler. What is wrong is told here, before a request comes.

A function that asks for `websocket` or `sse` gets a handler of another class, which brings the room
`websocket` or `events` with it. So nothing of that is imported, and no request looks for it, as
long as no function asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..mistakes.registration import check_socket_methods
from ..server import HandlerError
from ..typed import Any, Callable
from .handlers import Handler
from .origins import checked_origins
from .signature import NAMES, Signature


def check_groups(path: str, groups: Iterable[str]) -> None:
    """Raise `ValueError` for a group that has the name of what handlers get anyway."""
    for name in groups:
        if name in NAMES:
            raise ValueError(f'the path {path!r} has a group {name!r}, and handlers get something '
                             f'else by this name: choose another, as <{name}_name>')


def handlers_of(function: Callable[..., Any], groups: Iterable[str], methods: list[str] | None,
                origins: Any, of_application: frozenset[str] | None) -> dict[str, Handler]:
    """Return the handler of each method, of a function or a class.

    `methods` are those of a function, None: GET; those of a class are what it has. `origins` are
    those of the route; `...`: of the application. Raises `HandlerError` for what cannot be a
    handler, `ValueError` for origins that are none.
    """
    if not isinstance(function, type):
        methods = methods or ['GET']
        handler = handler_of(function, Signature(function, groups), methods, origins,
                             of_application)
        return dict.fromkeys(methods, handler)
    # Late: few programs have classes.
    from .views import calls_of
    calls = calls_of(function, groups, methods)
    sockets = any(signature.websocket for _, signature in calls.values())
    return {method: handler_of(call, signature, [method],
                               origins if signature.websocket or not sockets else ...,
                               of_application)
            for method, (call, signature) in calls.items()}


def handler_of(function: Callable[..., Any], signature: Signature, methods: list[str],
               origins: Any, of_application: frozenset[str] | None) -> Handler:
    """Return the handler of a function that has this signature."""
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

"""Other methods: what is answered where nothing has the method of a request; OPTIONS by itself."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import Context

from ..pages import send_error
from ..server import HTTPError, Request, Response
from ..server.errors import MethodNotAllowed, NotFound
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .handlers import Handler


class Told:
    """An answer that is told without a function; it runs as a `Handler` does."""

    def __init__(self, allow: Iterable[str]) -> None:
        self._error = HTTPError(204, headers={'Allow': ', '.join(sorted(allow))})

    def run(self, request: Request, response: Response, context: Context | None = None) -> None:
        """Answer a request."""
        send_error(response, self._error)


def instead(found: list[dict[str, Handler]], request: Request) -> Told:
    """Return the answer to OPTIONS (RFC 9110 section 9.3.7), of all that matches the path.

    Raises `MethodNotAllowed` for any other method, and `NotFound` if nothing matches. With the
    option `websocket` off, a handler of nothing but WebSockets is not there.
    """
    off = not request.connection.server.settings.websocket
    allow = {method for methods in found for method, handler in methods.items()
             if not (handler.sockets_only and off)}
    if not allow:
        raise NotFound
    allow.add('OPTIONS')
    if request.method == 'OPTIONS':
        return Told(allow)
    raise MethodNotAllowed(allow)


def of_server(methods: set[str]) -> Told:
    """Return the answer to OPTIONS for the server as a whole."""
    return Told({'OPTIONS', 'HEAD', *methods})

"""Other methods: what is answered where no handler has the method; and OPTIONS for all."""

from __future__ import annotations

from ..server import HTTPError, Request
from ..server.errors import MethodNotAllowed, NotFound
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .handlers import Handler


def instead(methods: dict[str, Handler], request: Request) -> Handler:
    """Return the handler of GET for HEAD. Raises `MethodNotAllowed` for any other method.

    A handler of nothing but WebSockets answers no HEAD, and with the option `websocket` off it is
    not there: if a path has no other one, `NotFound` is raised.
    """
    off = not request.connection.server.settings.websocket
    names = [name for name, each in methods.items() if not (each.sockets_only and off)]
    if not names:
        raise NotFound
    get = methods.get('GET')
    if get is not None and not get.sockets_only:
        if request.method == 'HEAD':
            return get
        names.append('HEAD')
    raise MethodNotAllowed(names)


def of_server(methods: set[str]) -> HTTPError:
    """Return the answer to OPTIONS for the server as a whole (RFC 9110 section 9.3.7)."""
    known = {'OPTIONS', 'HEAD', *methods}
    return HTTPError(204, headers={'Allow': ', '.join(sorted(known))})

"""Dispatcher: finds the handler of each request, and runs it.

(That of an application with middleware or error handlers is in wrapping.py.)
"""

from __future__ import annotations

from ..pages import send_error
from ..server import HTTPError, Request, Response
from ..server.errors import NotFound
from ..typed import TYPE_CHECKING
from .other_methods import instead, of_server
from .routing import Router

if TYPE_CHECKING:
    from .handlers import Handler


class Dispatcher:
    """Has the function `handle` of an application with routes."""

    def __init__(self, router: Router[Handler]) -> None:
        self._router = router
        self._exact = router.exact

    def handle(self, request: Request, response: Response) -> None:
        """Find the handler and run it. Hot: once per request."""
        try:
            # Most requests are for an exact path, with the usual percent-encoding.
            handler = self._exact[request.target][request.method]
        except KeyError:
            try:
                handler = self.find(request)
            except HTTPError as error:
                send_error(response, error)
                return
        handler.run(request, response)

    def find(self, request: Request) -> Handler:
        """Find the handler of a request. Raises `NotFound` and `MethodNotAllowed`."""
        if request.target == b'*':
            raise of_server(self._router.methods())
        found = self._router.find(request.path)
        if found is None:
            raise NotFound
        route, request.groups = found
        handler = route.methods.get(request.method)
        return handler if handler is not None else instead(route.methods, request)

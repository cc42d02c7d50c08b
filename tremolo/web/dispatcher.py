"""Dispatcher: finds the handler of each request, and runs it.

(That of an application with middleware or error handlers is in wrapping.py.)
"""

from __future__ import annotations

from ..loop.signals import caught
from ..pages import send_error
from ..routing import Router
from ..server import HTTPError, Request, Response
from ..typed import TYPE_CHECKING
from .failure import fail
from .other_methods import Told, instead, of_server

if TYPE_CHECKING:
    from .handlers import Handler


class Dispatcher:
    """Has the function `handle` of an application with routes."""

    name = 'a converter of a path'    # What has failed, if to find a handler fails.

    def __init__(self, router: Router[Handler]) -> None:
        self._router = router
        self._exact = router.exact

    def handle(self, request: Request, response: Response) -> None:
        """Find the handler and run it. Hot: once per request."""
        handler: Handler | Told | None
        try:
            # Most requests are for an exact path, with the usual percent-encoding.
            handler = self._exact[request.target][request.method]
        except KeyError:
            handler = self.search(request, response)
            if handler is None:
                return
        handler.run(request, response)

    def search(self, request: Request, response: Response) -> Handler | Told | None:
        """Find the handler of any request; if there is none, answer, and return None."""
        try:
            return self.find(request)
        except HTTPError as error:
            if response.layers:
                fail(self, request, response, error)
            else:
                send_error(response, error)
        except BaseException as error:
            fail(self, request, response, caught(error))
        return None

    def find(self, request: Request) -> Handler | Told:
        """Find the handler of a request. Raises `NotFound` and `MethodNotAllowed`."""
        if request.target == b'*':
            return of_server(self._router.methods())
        search = self._router.find(request.method, self.path_of(request))
        if search.target is None:
            return instead(search.methods, request)
        request.groups = search.groups
        return search.target

    def path_of(self, request: Request) -> bytes:
        """Return the raw path that the router compares."""
        return request.raw_path

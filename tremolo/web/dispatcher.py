"""Dispatcher: finds the handler of each request, and runs it."""

from __future__ import annotations

from ..pages import send_error
from ..routing import Router
from ..server import HTTPError, Request, Response
from ..typed import TYPE_CHECKING, Any
from .failure import fail
from .other_methods import Told, instead, of_server

if TYPE_CHECKING:
    from .handlers import Handler


class Dispatcher:
    """Has the function `handle` of an application with routes."""

    name: Any = 'a converter of a path'    # What has failed, if to find a handler fails.

    def __init__(self, router: Router[Handler]) -> None:
        self._router = router
        self._exact = router.exact

    def handle(self, request: Request, response: Response) -> None:
        """Find the handler and run it. Hot: once per request."""
        handler: Handler | Told
        try:
            # Most requests are for an exact path, with the usual percent-encoding.
            handler = self._exact[request.target][request.method]
        except KeyError:
            try:
                handler = self._find(request)
            except HTTPError as error:
                send_error(response, error)
                return
            except Exception as error:
                fail(self, request, response, error)    # type: ignore[arg-type]
                return
        handler.run(request, response)

    def _find(self, request: Request) -> Handler | Told:
        """Find the handler of a request. Raises `NotFound` and `MethodNotAllowed`."""
        if request.target == b'*':
            return of_server(self._router.methods())
        search = self._router.find(request.method, request.raw_path)
        if search.target is None:
            return instead(search.methods, request)
        request.groups = search.groups
        return search.target

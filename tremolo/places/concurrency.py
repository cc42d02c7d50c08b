"""Concurrency: at most `limit_concurrency` requests are answered at a time.

One request more is refused before its handler is called: 503, and its connection ends.
"""

from __future__ import annotations

from ..pages import send_error
from ..server import HTTPError, Request, Response, Server
from ..server.errors import RETRY_AFTER


class ConcurrencyLimit:
    """Calls a server's `handle` as long as fewer than `most` requests are being answered."""

    def __init__(self, server: Server, most: int) -> None:
        """Limit a server, and the parts of it that are made later."""
        self._handle, server.handle = server.handle, self._limited
        self._most = most
        # Those whose answers are not complete yet. (An answer may be replaced by another.)
        self._busy: set[Request] = set()
        server.request_observers.append(self._ended)

    def _limited(self, request: Request, response: Response) -> None:
        """Let a request be answered, or refuse it; the body of a refused request is not read."""
        if len(self._busy) >= self._most:
            response.connection.ends_because('limit_concurrency')
            send_error(response, HTTPError(
                503, headers={'Connection': 'close', 'Retry-After': RETRY_AFTER}))
        else:
            self._busy.add(request)
            self._handle(request, response)

    def _ended(self, response: Response, reason: str) -> None:
        self._busy.discard(response.request)

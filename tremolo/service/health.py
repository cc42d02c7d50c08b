"""Health: one path that says, before everything else, whether new requests are welcome.

    GET /healthz    200 `ok`          new requests are welcome, also while this process is renewed
                    503 `stopping`    the server stops: during `drain_delay`, and while it drains

It is for load balancers and orchestrators. The target is compared byte by byte: with a query, and
with another method than GET and HEAD, the request is the application's. Such a request is none that
is counted: not by `limit_concurrency`, not by `max_requests`, not in the log, not in the metrics.
"""

from __future__ import annotations

from ..server import Request, Response, Server
from ..server.response_head import TEXT


class Health:
    """Goes before the `handle` of a server, and of the parts of it that are made later."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self._target = path.encode()
        self._handle, server.handle = server.handle, self._asked

    def _asked(self, request: Request, response: Response) -> None:
        """Answer, or let the application answer; hot, where there is such a path."""
        if request.target == self._target and request.method in ('GET', 'HEAD'):
            self._answer(response)
        else:
            self._handle(request, response)

    def _answer(self, response: Response) -> None:
        status, body = (503, b'stopping\n') if self._server.leaving else (200, b'ok\n')
        # (Without it the connection tells no observer of this answer, which is not sent by
        # `send_body`: that would tell them by itself.)
        response.connection.response = None
        response.status = status
        response.content_type = TEXT
        response.headers = [('Cache-Control', 'no-store'), ('Content-Length', len(body))]
        response.write_pieces(b'', body)
        response.finish()

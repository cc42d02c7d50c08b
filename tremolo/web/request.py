"""Request: what a handler of an application with routes reads: the server's, and what is decoded.

The server makes its requests of this class (`Server.request_class`). An application for ASGI reads
the server's own, which knows nothing of forms.
"""

from __future__ import annotations

from .. import server


class Request(server.Request):
    """One request. Body reads are Futures: `data = yield request.read(65536)`."""

    __slots__ = ()

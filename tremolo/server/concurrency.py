"""Concurrency: at most so many requests are answered at a time (`limit_concurrency`).

A further one is refused before its handler is called: 503, and the connection ends.
"""

from typing import Callable

from .connection import Connection
from .errors import HTTPError
from .pages import send_error
from .request import Request
from .response import Response

Handle = Callable[[Request, Response], None]


class Limit:
    """Stands before an application's `handle`, and calls it while fewer than `most` are busy.

    Nobody tells us when an answer ends: a connection is busy as long as it has a `response` in
    hand, whatever becomes of that. We look when it matters.
    """

    def __init__(self, handle: Handle, most: int) -> None:
        self._handle = handle
        self._most = most
        # Connections that were not answered at once, and how many of them are worth a look: about
        # twice as many as were still busy at the last one, so that few are kept in vain.
        self._busy: set[Connection] = set()
        self._look_at = 0

    def handle(self, request: Request, response: Response) -> None:
        """Let a request be answered, or refuse it. Its body is then not read."""
        connection = response.connection
        # What it was busy with is answered, or there would not be another.
        self._busy.discard(connection)
        if len(self._busy) >= self._look_at:
            self._busy = {each for each in self._busy if each.response is not None}
            self._look_at = min(self._most, 2 * len(self._busy) + 1)
            if len(self._busy) >= self._most:
                send_error(response, HTTPError(503, headers={'Connection': 'close'}))
                return
        self._handle(request, response)
        if connection.response is response:
            self._busy.add(connection)

"""Concurrency: what runs is counted, and at most `limit_concurrency` requests run at a time.

A request takes a place when it is given to the application. It has it as long as one of these goes
on, whatever has become of its client:

    its answer     until all of it is given to the stream, or its client has gone
    its handler    until that has ended: one that waits in a `finally`, a thread that nobody can
                   stop, and an ASGI application after `http.disconnect` run on without a client;
                   so does what is done after an answer (a background task of Starlette)
    what is kept   until the kernel has taken all but a little of what the answer has left in our
                   buffers: a client that does not read holds memory, not only a connection

A WebSocket has its place until its 101: open sockets are bounded by `connections`. What a handler
has spawned, and the threads that it started by `run_in_thread`, are bounded by `threads`.

One request more is refused before its handler is called: 503, and its connection ends. While one
client runs as many as `connections_per_client`, a further one of his gets 429, and the connection
goes on: it may be that of a proxy, and belong to many.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

from ..pages import send_error
from ..server import HTTPError, Request, Response, Server
from ..server.errors import RETRY_AFTER
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .clients import Clients

_ENOUGH = 0.75    # The part of the places that may be taken before they are scarce.


class ConcurrencyLimit:
    """Calls a server's `handle` as long as fewer than `most` requests run; 0: without limit."""

    def __init__(self, server: Server, most: int, clients: Clients | None = None) -> None:
        """Limit a server, and the parts of it that are made later."""
        self._handle, server.handle = server.handle, self._limited
        self._most = most
        self._clients = clients
        # What goes on for each request that has a place: its answer, its runs, what is kept.
        self._busy: dict[Request, int] = {}
        # How many of them each client has, if clients are limited; and who that is.
        self._each: Counter[Any] = Counter()
        self._who: dict[Request, Any] = {}
        server.places = self
        server.request_observers.append(self._ended)

    @property
    def scarce(self) -> bool:
        """Whether so many places are taken that slow clients have to make room (rates/)."""
        return bool(self._most) and len(self._busy) > _ENOUGH * self._most

    def _limited(self, request: Request, response: Response) -> None:
        """Let a request be answered, or refuse it; the body of a refused request is not read."""
        if self._most and len(self._busy) >= self._most:
            response.connection.ends_because('limit_concurrency')
            send_error(response, HTTPError(
                503, headers={'Connection': 'close', 'Retry-After': RETRY_AFTER}))
            return
        if self._clients is not None:
            who = self._clients.client_of(request)
            if who is not None:
                if self._each[who] >= self._clients.most:
                    response.connection.server.notices.refused(
                        response.connection, '429: connections_per_client are answered already')
                    send_error(response, HTTPError(429, headers={'Retry-After': RETRY_AFTER}))
                    return
                self._who[request] = who
                self._each[who] += 1
        self._busy[request] = 1
        self._handle(request, response)

    # -- what goes on -----------------------------------------------------------------------------

    def hold(self, request: Request) -> Callable[[object], None]:
        """Let a request have its place until the function that this returns is called, once."""
        self._busy[request] = self._busy.get(request, 0) + 1
        return partial(self._leave, request)

    def keep(self, request: Request, run: Any) -> None:
        """Let a request have its place until what runs its handler has ended.

        `run` is a Future, or a task of asyncio. One that is done when it is cancelled, though its
        work goes on, has `when_ended`.
        """
        getattr(run, 'when_ended', run.add_done_callback)(self.hold(request))

    def _leave(self, request: Request, _: object = None) -> None:
        left = self._busy.get(request, 0) - 1
        if left > 0:
            self._busy[request] = left
        elif not left:
            self._forget(request)

    def _forget(self, request: Request) -> None:
        self._busy.pop(request, None)
        who = self._who.pop(request, None)
        if who is not None:
            self._each[who] -= 1
            if not self._each[who]:
                del self._each[who]

    def _ended(self, response: Response, reason: str) -> None:
        """Take the end of an answer; what is kept of it counts, and what still runs."""
        request, stream = response.request, response.connection.stream
        if request in self._busy:
            if not reason and response.line[0] == 101:
                self._forget(request)
                return
            if not stream.closed and (wait := stream.drain()) is not None:
                wait.add_done_callback(self.hold(request))
            self._leave(request)


def limit(server: Server) -> None:
    """Limit what runs on a server, and what one client takes of it, as its settings say."""
    clients = None
    if server.settings.connections_per_client:
        from .clients import Clients
        clients = Clients(server)
    ConcurrencyLimit(server, server.settings.limit_concurrency, clients)

"""Server: the listeners, the connections, and how they end.

It knows no routes: each request goes to `handle(request, response)`, which must not raise and sees
to it that the response is ended, now or later.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Callable

from ..http import Limits, http_date
from ..loop import Future, Listener, Reactor, Stream, bind, bind_unix
from ..loop.timers import Timer
from ..settings import Address, Settings
from .connection import Connection
from .request import Request
from .response import OK, Response, head_start
from .throttle import Throttles, leave

_log = logging.getLogger('tremolo.server')

# Answers a request, now or later, and raises nothing.
Handle = Callable[[Request, Response], None]

# Content types whose heads are kept for a second.
_MOST_STARTS = 256


def url_of(address: Any) -> str:
    """Write a socket's address as a URL (`unix:/path` for a UNIX socket)."""
    if not isinstance(address, tuple):
        return f'unix:{address}'
    host, port = address[:2]
    return f'http://{f"[{host}]" if ":" in host else host}:{port}'


def announce(addresses: Iterable[Any]) -> None:
    """Print that a server is there, and where; perhaps nobody reads it."""
    for address in addresses:
        with suppress(OSError, ValueError):
            print(f'running on {url_of(address)} (press CTRL+C to quit)', flush=True)


class Server:
    """Serves one application on a reactor.

        server = Server(reactor, Settings(), handle)
        server.listen(Address('127.0.0.1', 0))
        server.start()
        reactor.run()
    """

    def __init__(
        self, reactor: Reactor, settings: Settings, handle: Handle,
        whole: Server | None = None,
    ) -> None:
        """With `whole` it is a part of that: with settings of its own for its own listeners."""
        self.reactor = reactor
        self.settings = settings
        self.handle = handle
        self.options = MappingProxyType(settings.by_all_names())
        self.limits = Limits(
            head_size=settings.head_size, field_count=settings.field_count,
            body_size=settings.body_size, chunk_overhead=settings.chunk_overhead,
            trailer_size=settings.trailer_size)
        self._throttles = Throttles(settings, reactor.time)
        # Whether a connection may outlive an answer; with an idle_timeout of 0 none ever does.
        self.keep_alive = settings.idle_timeout > 0
        # The Date field, until when it is right, and what was made with it.
        self._date_until = -1.0
        self._date = self._common = b''
        self._starts: dict[str, bytes] = {}
        name = settings.server_name.encode('ascii')
        self._name = b'Server: %s\r\n' % name if name else b''
        # (Now, for what it imports must not be missing when descriptors have run out.)
        self._make_date()
        # What the parts have in common: whose a listener is; what is open; how many connections
        # ended for each of `connection.REASONS`.
        self.whole = whole or self
        self.parts: dict[Listener, Server] = whole.parts if whole else {}
        self.connections: set[Connection] = whole.connections if whole else set()
        self.closed: Counter[str] = whole.closed if whole else Counter()
        # Whether a graceful stop is going on; its end, with the number of connections that had to
        # be cut; when it gives up.
        self.draining = False
        self.stopped: Future = whole.stopped if whole else Future(reactor)
        self._give_up: Timer | None = None
        self.at_drain: Callable[[], object] = lambda: None    # Called when it begins to drain.

    # -- listening ------------------------------------------------------------------------------

    def listen(self, address: Address) -> list[Listener]:
        """Bind an address. Raises `ListenError`; nothing is accepted before `start`."""
        backlog = self.settings.backlog
        if address.path is not None:
            sockets = [bind_unix(self.reactor, address.path, backlog)]
        else:
            sockets = bind(self.reactor, address.host or '', address.port, backlog)
        return [self.adopt(sock) for sock in sockets]

    def adopt(self, sock: Any, shared: bool = False) -> Listener:
        """Listen on a socket that is open already; nothing is accepted before it is started.

        If it is shared the file of a UNIX socket is not removed at the end.
        """
        sock.setblocking(False)
        listener = Listener(self.reactor, sock, self._accepted, shared)
        self.parts[listener] = self
        return listener

    def start(self) -> None:
        """Begin to accept."""
        for listener in self.parts:
            listener.start()

    @property
    def listeners(self) -> list[Listener]:
        """What it listens on."""
        return list(self.parts)

    @property
    def urls(self) -> list[str]:
        """The addresses that were really bound, as URLs (`unix:/path` for a UNIX socket)."""
        return [url_of(listener.address) for listener in self.parts]

    def part_at(self, address: Any) -> Server:
        """Return the part that listens at a socket's address, or else at its port, or all."""
        exact = {listener.address: part for listener, part in self.parts.items()}
        ports = {each[1]: part for each, part in exact.items() if isinstance(each, tuple)}
        port = address[1] if isinstance(address, tuple) else None
        return exact.get(address) or ports.get(port) or self

    def take(self, sock: Any) -> None:
        """Go on with a connection that is open already, between two requests."""
        sock.setblocking(False)
        self._accepted(sock, None)

    def _accepted(self, sock: Any, address: Any) -> None:
        connection = Connection(self, Stream(self.reactor, sock))
        self.connections.add(connection)
        if self._throttles.wanted:
            self._throttles.join(connection)
        most = self.settings.connections
        if most and len(self.connections) >= most:
            for listener in self.parts:
                listener.pause()

    def connection_closed(self, connection: Connection) -> None:
        """Forget a connection (it calls this when it has ended)."""
        self.connections.discard(connection)
        leave(connection.stream)
        self.closed[connection.reason] += 1
        _log.debug('a connection ended: %s', connection.reason)
        if self.draining:
            self.whole.finish_if_drained()
        elif len(self.connections) == self.settings.connections - 1:
            self.start()

    # -- fields that every answer has -----------------------------------------------------------

    def answer_start(self, line: tuple[int, str | None], content_type: str) -> bytes:
        """Return all of an ordinary answer's head up to its length. Hot.

        Within a second it is the same for all answers of a kind. Raises `HeaderError`.
        """
        if self.reactor.now >= self._date_until:
            self._make_date()
        start = self._starts.get(content_type) if line is OK else None
        if start is None:
            start = head_start(line, content_type) + self._common + b'Content-Length: '
            if line is OK and len(self._starts) < _MOST_STARTS:
                self._starts[content_type] = start
        return start

    def common_fields(self, date: bool = True, server: bool = True) -> bytes:
        """Return the Date and Server fields."""
        if self.reactor.now >= self._date_until:
            self._make_date()
        if date and server:
            return self._common
        return (self._date if date else b'') + (self._name if server else b'')

    def _make_date(self) -> None:
        """Format the Date; once a second, and only when somebody asks."""
        wall = self.reactor.wall_clock()
        self._date = b'Date: %s\r\n' % http_date(wall).encode('ascii')
        self._common = self._date + self._name
        self._starts.clear()
        self._date_until = self.reactor.now + 1.0 - wall % 1.0

    # -- stopping -------------------------------------------------------------------------------

    def drain(self) -> Future:
        """Stop gracefully; return `stopped`.

        Nothing more is accepted; what is in flight is answered, with `Connection: close`; after
        `shutdown_timeout` what is left is cut.
        """
        if not self.draining:
            # Their requests are on the way, or here already: a close would cut them off.
            for listener in self.parts:
                listener.accept_waiting(self.settings.backlog)
            self.at_drain()
            self._stop_listening()
            self._give_up = self.reactor.call_later(self.settings.shutdown_timeout, self._cut_all)
            for connection in list(self.connections):
                connection.drain()
            self.finish_if_drained()
        return self.stopped

    def _stop_listening(self) -> None:
        for part in {self, *self.parts.values()}:
            part.draining = True
            part.keep_alive = False
        for listener in self.parts:
            listener.close()

    def finish_if_drained(self) -> None:
        """Stop if it drains, and nothing is left."""
        if not self.connections and not self.stopped.done():
            if self._give_up is not None:
                self._give_up.cancel()
            self.stopped.set_result(0)

    def _cut_all(self) -> None:
        left = list(self.connections)
        if not self.stopped.done():
            self.stopped.set_result(len(left))
        for connection in left:
            _log.warning('shutdown_timeout is over: cut %s', connection.describe())
            connection.abort('shutdown')

    def close(self) -> None:
        """End at once: close the listeners and cut every connection."""
        self._stop_listening()
        self.finish_if_drained()
        for connection in list(self.connections):
            connection.abort('shutdown')
        if self._give_up is not None:
            self._give_up.cancel()

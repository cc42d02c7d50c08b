"""Server: the listeners, the connections, and how all of them stop.

A server knows no routes. Each request goes to `handle(request, response)`. `handle` must not raise,
and it has to complete the response, now or later.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from contextvars import Context
from types import MappingProxyType

from ..fair import be_fair
from ..fair.few import Few
from ..http import Limits
from ..loop import Future, Listener, Reactor, Stream, bind, bind_unix
from ..loop.patience import call_patiently
from ..loop.shared_future import SharedFuture
from ..rates.scarcity import plenty
from ..settings import Address, Settings
from ..sockets.kernel import watch_peers
from ..throttling import Throttles, leave
from ..typed import Any, Callable, Protocol
from .addresses import Addresses, url_of
from .connection import Connection
from .contexts import keep_context
from .heads import AnswerHeads
from .idle import DRAIN_MOST
from .lifetime import Lifetime
from .notices import Notices
from .request import Request
from .response import Response
from .timeouts import PhaseSeconds

_log = logging.getLogger('tremolo.server')

# A function that answers a request, now or later, and raises nothing.
Handle = Callable[[Request, Response], None]
# A function that `Server.request_ended` calls with an answer that has ended, and the reason.
RequestObserver = Callable[[Response, str], object]


class Arriving(Protocol):
    """A socket that was accepted, and that is no connection yet."""

    def abort(self, reason: str) -> None:
        """Close it now. It then calls `Server.arrived`, as at each of its ends."""

    @property
    def is_silent(self) -> bool:
        """Whether its client has said nothing for which a server that stops would wait."""


class Server:
    """Serves one application on a reactor.

        server = Server(reactor, Settings(), handle)
        server.listen(Address('127.0.0.1', 0))
        server.start()
        reactor.run()
    """

    leaving = False    # Whether it stops, and is not renewed: then no new request is welcome.
    delayed = False    # Whether SIGTERM stops it at once: its `drain_delay` is over.
    # Tells on a socket what goes on here, when a supervisor asks for that (room control).
    tell: Callable[[Any], object] | None = None
    # Makes of `new_context` what notes the request's id in the context, too (room access).
    with_ids: Any = staticmethod(lambda new_context: new_context)
    at_end: Callable[[], object] = staticmethod(lambda: None)    # Called when it is closed.
    # (These belong to the class, too: CPython finds the attributes of an object faster, if it has
    # 30 at most.)
    signer: Any = None    # Signs cookies; `web` sets it.
    routes: Any = None    # In debug: gives each path with its methods; `web` sets it.
    # Has each error that became a 500, with its connection, for a test client (`append`).
    failures: Any = None
    held_back = 0.0    # Seconds that limits let transfers rest, of this part alone.
    # Takes each socket that is accepted here, when something comes before its connection, which
    # begins with `admit` then: a handshake of TLS, for example (room edge).
    arrive: Callable[[Any, Any], object] | None = None
    clients: Any = None    # Counts the connections of each client, if an option limits them.
    draining = False    # Whether a graceful stop is going on.
    crowded = False    # Whether so many arrive here that others wait (`crowd`).

    def __init__(self, reactor: Reactor, settings: Settings, handle: Handle) -> None:
        self.reactor = reactor
        self.settings = settings
        self.handle = handle
        self.request_class = Request    # The class of the heads: `web` has one of its own.
        self.options = MappingProxyType(settings.by_all_names())
        self.limits = Limits(
            head_size=settings.head_size, field_count=settings.field_count,
            body_size=settings.body_size, chunk_overhead=settings.chunk_overhead,
            trailer_size=settings.trailer_size)
        self._throttles = Throttles(settings, reactor.time)
        # How long each phase of a connection may last.
        self.phase_seconds = PhaseSeconds(settings)
        # Whether a connection may outlive an answer; with an idle_timeout of 0 none does.
        self.keep_alive = settings.idle_timeout > 0
        # With more open connections than this, connections are scarce.
        self.plenty = plenty(settings.connections)
        # Makes the context of each request (contexts.py). It is set when the server starts.
        self.new_context: Callable[[], Context] = Context
        # The parts share what follows (see `part`). `parts` has each listener's server or part.
        self.parts: dict[Listener, Server] = {}
        self.heads = AnswerHeads(reactor, settings.server_name)
        self.connections: set[Connection] = set()    # The open connections.
        # What was accepted and is no connection yet: a handshake goes on, for example.
        self.arriving: set[Arriving] = set()
        # Done when the connection has ended, with its reason; for those that are asked about.
        self.watched: dict[Connection, SharedFuture] = {}
        self.closed: Counter[str] = Counter()    # How many connections ended for each reason.
        self.notices = Notices(reactor)    # What the log is told of them.
        self.request_observers: list[RequestObserver] = []
        # What is called with each connection whose request is refused before it is a request, and
        # with the status of the refusal.
        self.refusal_observers: list[Callable[[Lifetime, int], object]] = []
        self.places: Any = None    # Counts what runs, if an option limits it (room places).
        self.ends = Few(reactor)    # Tells the readers of long bodies of their ends.
        # What is called with each connection that begins, and that has ended, and why.
        self.at_connect: list[Callable[[Connection], object]] = []
        self.at_close: list[Callable[[Connection, str], object]] = []
        # The begin of a stop. Handlers and jobs wait for it (`Service.stopping`).
        self.stopping = SharedFuture(reactor)
        # Who waits for that on behalf of all sockets, and of all event streams (their drain.py).
        self.at_stop: list[object] = []
        # The end of a graceful stop, with the number of connections that had to be cut.
        self.stopped = Future(reactor)
        # The jobs that the application has spawned, and what its end tells of each (room service).
        self.jobs: dict[Future, Any] = {}
        self.at_drain: Callable[[], object] = lambda: None    # Called when draining begins.

    def part(self, settings: Settings) -> Server:
        """Return a part: it has settings and listeners of its own, and shares all the rest."""
        part = Server(self.reactor, settings, self.handle)
        part.parts, part.heads, part.connections = self.parts, self.heads, self.connections
        part.arriving, part.ends = self.arriving, self.ends
        part.closed, part.stopped, part.stopping = self.closed, self.stopped, self.stopping
        part.notices.close()
        part.notices, part.at_stop = self.notices, self.at_stop
        part.request_class, part.signer, part.routes = self.request_class, self.signer, self.routes
        part.request_observers = self.request_observers
        part.refusal_observers = self.refusal_observers
        part.at_connect, part.at_close = self.at_connect, self.at_close
        part.places, part.clients = self.places, self.clients
        return part

    def request_ended(self, response: Response, reason: str) -> None:
        """Tell all observers that an answer has ended, and the reason.

        The reason is '' if the answer is complete: all of it was given to the stream, though the
        client may not have taken all of it. Otherwise it is the name in `REASONS` that says why
        the answer was cut. Each answer ends once; an answer of 101 ends with its connection, and
        that of a WebSocket when it is given. After `handler_timeout` the server answers instead of
        the handler: `Response.status` is 503 if the head was not sent before.

        The observers are called before the connection begins the next request. One that raises is
        logged, and the others are called.
        """
        for observer in self.request_observers:
            try:
                observer(response, reason)
            except BaseException as error:
                self.observer_failed(observer, error)

    def observer_failed(self, observer: object, error: BaseException) -> None:
        """Log the error that an observer has raised."""
        self.reactor.failed(error, '%r failed', observer)

    # -- listening ------------------------------------------------------------------------------

    def listen(self, address: Address) -> list[Listener]:
        """Bind an address. Raises `ListenError`; nothing is accepted before `start`."""
        backlog = self.settings.backlog
        if address.inherited:
            from ..systemd.sockets import inherited  # (Late: few servers need it.)
            return [self.adopt(inherited(address), shared=True)]
        if address.path is not None:
            mode = address.mode_or(self.settings.socket_mode)
            sockets = [bind_unix(self.reactor, address.path, backlog, mode)]
        else:
            sockets = bind(self.reactor, address.host or '', address.port, backlog)
        return [self.adopt(sock) for sock in sockets]

    def adopt(self, sock: Any, shared: bool = False) -> Listener:
        """Listen on a socket that is open already; nothing is accepted before `start`.

        The file of a UNIX socket is removed at the end, unless the socket is `shared`.
        """
        sock.setblocking(False)
        watch_peers(sock, self.reactor.network)
        listener = Listener(self.reactor, sock, self.arrive or self.admit, shared)
        self.parts[listener] = self
        return listener

    def start(self) -> None:
        """Begin to accept connections."""
        if self.new_context is Context:
            keep_context(self)
        be_fair(self.reactor, self, *self.parts.values())
        for listener, part in self.parts.items():
            if not part.crowded:
                listener.start()

    @staticmethod
    def stream_of(payer: Any) -> Stream | None:
        """Return the stream of the client for which a connection, or who has an answer, works."""
        stream = payer
        with suppress(Exception):    # (It may be any object of the application.)
            if not isinstance(payer, (Connection, Stream)):
                payer = getattr(getattr(payer, 'response', payer), 'connection', None)
            if not isinstance(payer, Stream):
                stream = getattr(payer, 'stream', None)
        return stream if isinstance(stream, Stream) else None

    def crowd(self, crowded: bool) -> None:
        """Let new clients of this part alone wait, as too many arrive here; or accept again."""
        self.crowded = crowded
        if crowded:
            for listener, part in self.parts.items():
                if part is self:
                    listener.pause()
        elif not self.is_full:
            self.start()

    @property
    def listeners(self) -> list[Listener]:
        """The listeners of the server and of its parts."""
        return list(self.parts)

    @property
    def urls(self) -> list[str]:
        """The addresses that are bound, as URLs (`unix:/path` for a UNIX socket)."""
        return [url_of(listener.address, part.settings.secure)
                for listener, part in self.parts.items()]

    @property
    def secure(self) -> list[Any]:
        """The addresses that are bound and speak TLS."""
        return [listener.address for listener, part in self.parts.items() if part.settings.secure]

    def part_at(self, address: Any) -> Server:
        """Return the part that listens at an address, or else at its port, or else the server."""
        exact = {listener.address: part for listener, part in self.parts.items()}
        ports = {each[1]: part for each, part in exact.items() if isinstance(each, tuple)}
        port = address[1] if isinstance(address, tuple) else None
        return exact.get(address) or ports.get(port) or self

    def take(self, sock: Any, known: Addresses | None = None) -> Connection:
        """Go on with a connection that is open already, and between two requests.

        `known` are the addresses that it shall have, if the socket is not to be asked.
        """
        sock.setblocking(False)
        self.reactor.remove_fd(sock.fileno())    # (As a listener does; see there.)
        return self.admit(sock, None, known)

    def admit(self, sock: Any, address: Any, known: Addresses | None = None) -> Connection:
        """Begin a connection on a socket, or another `Transport`, that nothing was read from yet.

        `known` are its addresses, if the socket is not to be asked.
        """
        connection = Connection(self, Stream(self.reactor, sock))
        connection.known_addresses = known
        self.connections.add(connection)
        if self._throttles.wanted:
            self._throttles.join(connection)
        self.pause_if_full()
        for hook in self.at_connect:
            hook(connection)
        if self.draining:
            connection.drain()    # (Its handshake ended after that of the others.)
        return connection

    @property
    def is_full(self) -> bool:
        """Whether there are as many `connections` as there may be."""
        most = self.settings.connections
        return bool(most) and len(self.connections) + len(self.arriving) >= most

    def pause_if_full(self) -> None:
        """Let new clients wait in the kernel's queues while there are `connections`."""
        if self.is_full:
            for listener in self.parts:
                listener.pause()

    def arrived(self, arriving: Arriving) -> None:
        """Forget what was arriving: it is a connection now, or it has ended."""
        self.arriving.discard(arriving)
        self._make_room()

    def connection_closed(self, connection: Connection) -> None:
        """Forget a connection that has ended (the connection calls this)."""
        self.connections.discard(connection)
        leave(connection.stream)
        self.closed[connection.reason] += 1
        if connection in self.watched:
            self.watched.pop(connection).set_result(connection.reason)
        for hook in self.at_close:
            hook(connection, connection.reason)
        _log.debug('a connection ended: %s', connection.reason)
        self._make_room()

    def _make_room(self) -> None:
        """Accept again, or end, now that there is one less."""
        if self.draining:
            self.finish_if_drained()
        elif len(self.connections) + len(self.arriving) == self.settings.connections - 1:
            self.start()

    # -- stopping -------------------------------------------------------------------------------

    def begin_to_stop(self) -> None:
        """Complete `stopping`, once: what would go on for ever may come to its end now."""
        if not self.stopping.done():
            self.stopping.set_result()

    def drain(self, renewed: bool = False) -> Future:
        """Stop gracefully; return `stopped`. If it is `renewed`, another process goes on.

        Nothing more is accepted. Requests in flight are answered, with `Connection: close`. After
        `shutdown_timeout` the connections that are left are aborted, and soon those whose client
        has not even begun its handshake.
        """
        self.leaving = self.leaving or not renewed
        if not self.draining:
            self.at_drain()
            self.begin_to_stop()
            # The clients in the kernel's queue have perhaps sent their requests: a close would cut
            # them off. So nothing stands between the two, least of all what the hooks do.
            for listener in self.parts:
                listener.accept_waiting(self.settings.backlog)
            self._stop_listening()
            give_up = call_patiently(
                self.reactor, self.settings.shutdown_timeout, self._abort_all)
            hurry = call_patiently(self.reactor, DRAIN_MOST, self._abort_silent)
            self.stopped.add_done_callback(lambda _: give_up.cancel())
            self.stopped.add_done_callback(lambda _: hurry.cancel())
            for connection in list(self.connections):
                connection.drain()
            self.finish_if_drained()
        return self.stopped

    def _stop_listening(self) -> None:
        for part in {self, *self.parts.values()}:
            part.draining = True
            part.keep_alive = False
            part.phase_seconds = PhaseSeconds(part.settings, draining=True)
        for listener in self.parts:
            listener.close()

    def finish_if_drained(self) -> None:
        """Complete `stopped` if no connection is left, and none is on its way."""
        if not (self.connections or self.arriving or self.stopped.done()):
            self.stopped.set_result(0)

    def _abort_all(self) -> None:
        left = list(self.connections)
        if not self.stopped.done():
            self.stopped.set_result(len(left))
        for arriving in list(self.arriving):
            arriving.abort('shutdown')
        for connection in left:
            _log.warning('shutdown_timeout is over: cut %s', connection.describe())
            connection.abort('shutdown')

    def _abort_silent(self) -> None:
        for arriving in [each for each in self.arriving if each.is_silent]:
            arriving.abort('shutdown')

    def close(self) -> None:
        """End at once: close the listeners and abort every connection."""
        self.begin_to_stop()
        self._stop_listening()
        for arriving in list(self.arriving):
            arriving.abort('shutdown')
        self.finish_if_drained()
        for connection in list(self.connections):
            connection.abort('shutdown')
        self.notices.close()
        self.at_end()

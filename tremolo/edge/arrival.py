"""Arrival: from a socket that was accepted to a connection, step by step.

Usually nothing comes between: `Server.admit` makes a connection of what a listener accepts. Where
a proxy first says who its client is (PROXY), or where TLS comes first, it is this:

    accept --> Arrival --> its steps: the header of PROXY --> the handshake of TLS --> Server.admit

A step is a generator that the reactor resumes, so it is read from top to bottom and does not hold
up the loop. It takes a transport and the addresses that are known, and returns both. It ends an
arrival by `Refused`; it has to bound its own time. The handshake is no step, but callbacks: it is
what costs time where thousands arrive (tls/handshake.py).

An arrival ends once: it becomes a connection, or its socket is closed, its reason counted, and the
log has a line, if the reason is one that the log is told of (`CUTS` in server/notices.py).
"""

from __future__ import annotations

import logging
from collections.abc import Generator

from ..http import ProtocolError
from ..loop import Cancelled, Task
from ..server.addresses import Addresses
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..sockets.transport import Transport
    from ..tls.handshake import Handshake
    from .edges import Edges

_log = logging.getLogger('tremolo.server')

# What is known of an arrival: where its bytes go, and its addresses, if not those of the socket.
Known = tuple['Transport', 'Addresses | None']
Step = Callable[['Arrival', 'Transport', 'Addresses | None'], Generator[Any, Any, Known]]

_PLAIN = ProtocolError(400, 'this port speaks TLS: use https://')


class Refused(Exception):
    """An arrival that becomes no connection.

    `reason` is one of the server's `REASONS`; `why` is for the log. What `is_noise` has a line at
    the level of debug only.
    """

    def __init__(self, reason: str, why: str = '', is_noise: bool = False) -> None:
        super().__init__(why or reason)
        self.reason = reason
        self.why = why
        self.is_noise = is_noise


class Arrival:
    """One socket, from accept until its connection begins or it is closed."""

    __slots__ = ('_edges', '_handshake', '_task', 'address', 'known', 'reactor', 'server',
                 'transport')

    def __init__(self, edges: Edges, sock: Any, address: Any) -> None:
        """`address` is that of the peer, as `accept` returned it."""
        self._edges: Edges | None = edges    # None once it has ended.
        self.server = edges.part
        self.reactor = edges.part.reactor
        self.transport: Transport = sock
        self.address = address
        self.known: Addresses | None = None
        self._handshake: Handshake | None = None
        self._task: Task | None = None
        self.server.arriving.add(self)
        self.server.pause_if_full()
        if edges.steps:
            task = Task(self._take_steps(edges.steps), reactor=self.reactor)
            if not task.done():
                self._task = task
        else:
            self._shake_hands()

    def abort(self, reason: str) -> None:
        """Close it now. (That a silent client was, nobody needs to know.)"""
        self._end(reason, '', self.is_silent)

    @property
    def is_silent(self) -> bool:
        """Whether the client shall begin a handshake, and has sent nothing."""
        return self._handshake is not None and self._handshake.is_silent

    def _take_steps(self, steps: list[Step]) -> Generator[Any, Any, None]:
        try:
            for step in steps:
                self.transport, self.known = yield from step(self, self.transport, self.known)
        except (GeneratorExit, Cancelled):
            self._task = None
            self._end('shutdown')
            raise
        except Exception as error:
            self._task = None
            return self._failed(error)
        self._task = None
        return self._shake_hands()

    def _shake_hands(self) -> None:
        if self._edges is None:
            return    # (It was aborted in its last step.)
        if (clients := self.server.clients) is not None and not clients.arrives(self):
            self._end('connections_per_client')
            return
        try:
            if (begin := self._edges.handshake) is None:
                self._admit()
            else:
                self._handshake = begin(self.transport, self._shaken)
        except (Exception, Cancelled) as error:
            self._failed(error)

    def _shaken(self, handshake: Handshake) -> None:
        """Go on after a handshake: it is complete, or it has failed."""
        self._handshake = None
        if handshake.failed == 'tls_plain':
            # (A connection has all that answers it, and lingers. It is not encrypted.)
            if (connection := self._admit()) is not None:
                connection.refuse(_PLAIN, 'tls_plain')
        elif handshake.failed or handshake.transport is None:
            self._end(handshake.failed, handshake.why, handshake.is_noise)
        else:
            self.transport = handshake.transport
            if self.known is not None:
                self.known = (*self.known[:2], 'https')
            self._admit()

    def _admit(self) -> Any:
        """Begin the connection; return it, or None if that failed."""
        server = self.server
        self._leave()
        try:
            return server.admit(self.transport, None, self.known)
        except (Exception, Cancelled) as error:
            # (`admit` has perhaps made a connection, and a hook failed: then that owns the socket.)
            fd = self.transport.fileno()
            for connection in [each for each in server.connections if each.stream.fd == fd]:
                connection.abort('failed')
            self._close()
            server.closed['failed'] += 1
            self._tell_of(error)
            return None
        finally:
            server.arrived(self)

    def _failed(self, error: BaseException) -> None:
        """End because a step, or what belongs to one, has raised."""
        if isinstance(error, Refused):
            self._end(error.reason, error.why, error.is_noise)
        elif isinstance(error, OSError):
            self._end('reset', str(error))
        else:
            self._end('failed')
            self._tell_of(error)

    def _tell_of(self, error: BaseException) -> None:
        _log.error('a new connection could not be taken', exc_info=error)

    def _leave(self) -> None:
        edges, self._edges = self._edges, None
        if edges is not None:
            self.server.arriving.discard(self)
            edges.left()
            if self.server.clients is not None:
                self.server.clients.left(self)

    def _end(self, reason: str, why: str = '', is_noise: bool = False) -> None:
        """Close the socket, count the reason, tell the log, and make room; once."""
        if self._edges is None:
            return
        self._leave()
        if self._handshake is not None:
            self._handshake.abort()
            self._handshake = None
        task, self._task = self._task, None
        server = self.server
        server.closed[reason] += 1
        # (The address of a UNIX socket's peer is empty. Ours says which socket it is.)
        client = self.known[0] if self.known else self.address or self.transport.getsockname()
        server.notices.tell_of_arrival(client, reason, why, is_noise)
        if task is not None:
            task.close()
        self._close()
        server.arrived(self)

    def _close(self) -> None:
        self.reactor.remove_fd(self.transport.fileno())
        self.transport.close()

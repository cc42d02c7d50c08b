"""Handover: a worker gives its connections to another worker, and no client notices.

    this worker --CONNECTION, with a descriptor--> its heir      on a line of their own
                <--ROOM, TAKEN, REFUSED, FULL-----               (takeover.py is the other end)

An idle connection has no byte in our buffers: only its descriptor has to be sent. On HAND_OVER the
worker stops accepting. It offers each idle connection at once, and each busy one after its answer;
but never more than the heir has asked for (ROOM), so an heir whose loop is held up is waited for
here, where the clients are still served. What was offered is not read any more, and stays open,
until the heir has said that it is there (TAKEN). What is refused, and what was on its way to an
heir that has ended, goes on here: so no connection depends on a descriptor, a buffer or a process
that is lost on the way.

After half of `shutdown_timeout`, or as soon as the heir takes no more, the worker drains those that
are left, as after SIGTERM. Those that speak TLS cannot be sent: their next answer is their last one
here. Under `--reload` it drains at once: then the answers in hand are the last ones of the old
code.

What the socket says of a connection, the next worker can ask itself. The client that a proxy named
by PROXY is known here alone, so that goes with the descriptor (NAMED): without it the proxy would
become the client. A connection whose heir does not know NAMED is never sent; it is drained, too.
"""

from __future__ import annotations

import json
import logging
import socket
from collections import deque

from ..loop.timers import NEVER
from ..server import Server
from ..server.addresses import Addresses, addresses_of
from ..server.connection import Connection
from ..server.deadlines import arm
from ..server.phases import OFFERED
from ..typed import Any, Callable
from .channel import CONNECTION, FULL, MOST_CARRIED, NAMED, REFUSED, ROOM, TAKEN, Channel

_log = logging.getLogger('tremolo')

# Seconds between two looks at the busy connections.
_LOOK = 0.005
# Heirs that are asked for, one after the other, if their lines end: then all is drained.
_MOST_HEIRS = 5


def packed(addresses: Addresses) -> bytes:
    """Write addresses for another process."""
    return json.dumps(addresses).encode()


def unpacked(carried: bytes) -> Addresses:
    """Read what `packed` has written. Raises `ValueError` for anything else."""
    try:
        client, server, scheme = json.loads(carried.decode())
        if scheme == 'http':    # (What is encrypted is not handed over.)
            return _end(client), _end(server), scheme
    except (TypeError, RecursionError):
        pass
    raise ValueError


def _end(found: Any) -> Any:
    """Return a client or a server as `Addresses` has it."""
    if found is None:
        return None
    host, port = found
    if isinstance(host, str) and (port is None or type(port) is int):
        return host, port
    raise ValueError


def named_addresses(connection: Connection) -> Addresses | None:
    """Return the addresses of a connection that its socket does not tell; None if it does."""
    known = connection.known_addresses
    return None if known is None or known == addresses_of(connection.stream) else known


class Handover:
    """The end of a worker whose connections another worker takes over.

    `line` leads to that one; None: there is nobody, and all is drained. `takes_named` is whether it
    knows NAMED. `again` asks for another one, when the line has ended.
    """

    def __init__(self, server: Server, line: Channel | None = None, takes_named: bool = False,
                 again: Callable[[], object] | None = None) -> None:
        self._server = server
        self._line = line
        self.takes_named = takes_named
        self._again = again
        self._heirs = 1    # How many have been asked for so far.
        self._room = 0    # How many connections may be offered now.
        self._full = line is None    # Whether no other one will be taken.
        # The connections that were offered, oldest first, each with its phase before.
        self._offered: deque[tuple[Connection, str]] = deque()
        self._given = 0    # Connections that were taken.
        self._kept: set[Connection] = set()    # Those that cannot be sent.
        self._begun = server.reactor.time()
        self._had = 0    # Connections at the beginning.

    def start(self) -> None:
        """Stop accepting, and offer the idle connections."""
        server = self._server
        for listener in server.listeners:
            if not listener.shared:
                # No other process has this socket: the clients in its queue would be cut off.
                listener.accept_waiting(server.settings.backlog)
            listener.close()
        for part in server.parts.values():
            # (What is encrypted cannot be sent: with its next answer the client is told to leave.)
            part.keep_alive = part.keep_alive and not part.settings.secure
        self._had = len(server.connections) + len(server.arriving)
        # (`drain` comes only when all others are gone.)
        server.begin_to_stop()
        self._look()

    def connect(self, sock: socket.socket | None) -> None:
        """Go on with an heir that is at the other end of `sock`; None: there is nobody."""
        self._full = sock is None
        if sock is not None:
            line = self._line = Channel(self._server.reactor, sock, self.heard, self.ended)
            self._server.stopped.add_done_callback(lambda _: line.close())

    def heard(self, kind: bytes, sock: socket.socket | None = None, carried: bytes = b'') -> None:
        """Act on a message of the heir."""
        if sock is not None:
            sock.close()    # (It sends none.)
        if kind == ROOM:
            self._room += 1
        elif kind == FULL:
            self._full = True
        elif kind == TAKEN and self._offered:
            self._room += 1
            connection, _ = self._offered.popleft()
            # (The client may have reset it meanwhile.)
            if connection.phase is OFFERED:
                self._given += 1
                connection.abort('handed over')
        elif kind == REFUSED and self._offered:
            self._full = True
            self._take_back(*self._offered.popleft())

    def ended(self) -> None:
        """Go on with what was on its way, and ask for another heir: this one has ended."""
        if self._line is not None:
            self._line.close()
        self._line, self._room = None, 0
        while self._offered:
            self._take_back(*self._offered.popleft())
        if self._again is None or self._heirs >= _MOST_HEIRS:
            self._full = True
        elif not self._server.draining:
            self._heirs += 1
            self._again()

    def _look(self) -> None:
        server = self._server
        reactor = server.reactor
        if server.draining:
            return
        for connection in list(server.connections):
            if self._line is None or not self._room:
                break
            if connection.transferable and connection not in self._kept \
                    and not self._offer(connection, self._line):
                break
        # (While somebody writes the program, the next answers are to come from what he has saved.)
        late = ((server.settings.reload and not self._offered)
                or reactor.time() - self._begun > server.settings.shutdown_timeout / 2)
        if (server.connections or server.arriving) and not (late or self._full):
            reactor.call_later(_LOOK, self._look)
        else:
            self._drain()

    def _offer(self, connection: Connection, line: Channel) -> bool:
        """Offer a connection; return False if nothing can be sent now."""
        kind, carried = CONNECTION, b''
        if (named := named_addresses(connection)) is not None:
            kind, carried = NAMED, packed(named)
            if not self.takes_named or len(carried) > MOST_CARRIED:
                self._kept.add(connection)    # (Not asked again: the socket has to be asked, too.)
                return True
        if not line.offer(kind, connection.stream.fd, carried):
            return False
        self._room -= 1
        self._offered.append((connection, connection.phase))
        connection.phase = OFFERED
        connection.stream.pause_reading()
        connection.timer.move(NEVER)
        return True

    def _take_back(self, connection: Connection, phase: str) -> None:
        """Go on with a connection that nobody has taken."""
        if connection.phase is OFFERED:
            connection.phase = phase
            connection.count_from(self._server.reactor.time())
            connection.stream.resume_reading()
            if self._server.draining:
                connection.drain()
            else:
                arm(connection)

    def _drain(self) -> None:
        """Drain what is left. What was offered is waited for: it goes, or comes back."""
        server = self._server
        level = logging.DEBUG if server.settings.reload else logging.INFO
        server.drain(renewed=True).add_done_callback(lambda done: _log.log(
            level, 'handed over %d, drained %d, cut %d', self._given,
            self._had - self._given - done.result(), done.result()))

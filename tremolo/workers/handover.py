"""Handover: a worker gives its connections to another worker, and no client notices.

An idle connection has no byte in our buffers: only its descriptor has to be sent. On HAND_OVER the
worker stops accepting. It sends each idle connection at once, and each busy one after its answer.
After half of `shutdown_timeout` it drains the connections that are still busy, as after SIGTERM.
Those that speak TLS cannot be sent: their next answer is their last one here. Under `--reload` it
drains at once: then the answers in hand are the last ones of the old code.

What the socket says of a connection, the next worker can ask itself. The client that a proxy named
by PROXY is known here alone, so that goes with the descriptor (NAMED): without it the proxy would
become the client. A connection whose heir does not know NAMED is never sent; it is drained, too.
"""

from __future__ import annotations

import json
import logging

from ..server import Server
from ..server.addresses import Addresses, addresses_of
from ..server.connection import Connection
from ..typed import Any
from .channel import CONNECTION, MOST_CARRIED, NAMED, Channel, socket_of

_log = logging.getLogger('tremolo')

# Seconds between two looks at the busy connections.
_LOOK = 0.005


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

    `takes_named` is whether that one knows NAMED.
    """

    def __init__(self, server: Server, channel: Channel, takes_named: bool = False) -> None:
        self._server = server
        self._channel = channel
        self._takes_named = takes_named
        self._given = 0    # Connections that were sent.
        self._kept: set[Connection] = set()    # Those that cannot be sent.
        self._begun = server.reactor.time()
        self._had = 0    # Connections at the beginning.

    def start(self) -> None:
        """Stop accepting, and send the idle connections."""
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

    def _look(self) -> None:
        server = self._server
        reactor = server.reactor
        if server.draining:
            return
        for connection in list(server.connections):
            if connection.transferable and connection not in self._kept:
                self._give(connection)
        # (While somebody writes the program, the next answers are to come from what he has saved.)
        late = (server.settings.reload
                or reactor.time() - self._begun > server.settings.shutdown_timeout / 2)
        if (server.connections or server.arriving) and not late:
            reactor.call_later(_LOOK, self._look)
        else:
            self._finish()

    def _give(self, connection: Connection) -> None:
        kind, carried = CONNECTION, b''
        if (named := named_addresses(connection)) is not None:
            kind, carried = NAMED, packed(named)
            if not self._takes_named or len(carried) > MOST_CARRIED:
                self._kept.add(connection)    # (Not asked again: the socket has to be asked, too.)
                return
        self._channel.send(kind, socket_of(connection.transfer()), carried)
        self._given += 1

    def _finish(self) -> None:
        """Drain, as soon as all messages have left."""
        server = self._server
        if not self._channel.idle:
            server.reactor.call_later(_LOOK, self._finish)
            return
        closed = server.closed
        cut = closed['shutdown']
        level = logging.DEBUG if server.settings.reload else logging.INFO
        server.drain(renewed=True).add_done_callback(lambda done: _log.log(
            level, 'handed over %d, drained %d, cut %d', self._given,
            self._had - self._given - (closed['shutdown'] - cut), closed['shutdown'] - cut))

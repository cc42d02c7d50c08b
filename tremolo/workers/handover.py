"""Handover: a worker gives its connections to another worker, and no client notices.

An idle connection has no byte in our buffers: only its descriptor has to be sent. On HAND_OVER the
worker stops accepting. It sends each idle connection at once, and each busy one after its answer.
After half of `shutdown_timeout` it drains the connections that are still busy, as after SIGTERM.
"""

from __future__ import annotations

import logging

from ..server import Server
from .channel import CONNECTION, Channel, socket_of

_log = logging.getLogger('tremolo')

# Seconds between two looks at the busy connections.
_LOOK = 0.005


class Handover:
    """The end of a worker whose connections another worker takes over."""

    def __init__(self, server: Server, channel: Channel) -> None:
        self._server = server
        self._channel = channel
        self._given = 0    # Connections that were sent.
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
        self._had = len(server.connections)
        # (`drain` comes only when all others are gone.)
        server.begin_to_stop()
        self._look()

    def _look(self) -> None:
        server = self._server
        reactor = server.reactor
        if server.draining:
            return
        for connection in list(server.connections):
            if connection.transferable:
                self._channel.send(CONNECTION, socket_of(connection.transfer()))
                self._given += 1
        late = reactor.time() - self._begun > server.settings.shutdown_timeout / 2
        if server.connections and not late:
            reactor.call_later(_LOOK, self._look)
        else:
            self._finish()

    def _finish(self) -> None:
        """Drain, as soon as all messages have left."""
        server = self._server
        if not self._channel.idle:
            server.reactor.call_later(_LOOK, self._finish)
            return
        closed = server.closed
        cut = closed['shutdown']
        server.drain().add_done_callback(lambda done: _log.info(
            'handed over %d, drained %d, cut %d', self._given,
            self._had - self._given - (closed['shutdown'] - cut), closed['shutdown'] - cut))

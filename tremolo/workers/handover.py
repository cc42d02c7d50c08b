"""Handover: a worker's connections go to the one that comes after it, and no client notices.

An idle connection without anything unread in our buffers is only a descriptor. So on HAND_OVER the
worker stops to accept, and gives away each connection when it is idle, now or after its answer.
What is busy for longer than `shutdown_timeout` is drained as by SIGTERM.
"""

from __future__ import annotations

import logging

from ..server import Server
from .channel import CONNECTION, Channel, socket_of

_log = logging.getLogger('tremolo')

# Seconds between two looks at the connections that were busy.
_LOOK = 0.005


class Handover:
    """The end of a worker that another follows."""

    def __init__(self, server: Server, channel: Channel) -> None:
        self._server = server
        self._channel = channel
        self._given = 0
        self._begun = server.reactor.time()
        self._had = 0

    def start(self) -> None:
        """Accept no more, and give away what is idle."""
        server = self._server
        for listener in server.listeners:
            if not listener.shared:
                # Its queue ends here.
                listener.accept_waiting(server.settings.backlog)
            listener.close()
        self._had = len(server.connections)
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
        """End, when all has left on the line."""
        server = self._server
        if not self._channel.idle:
            server.reactor.call_later(_LOOK, self._finish)
            return
        closed = server.closed
        cut = closed['shutdown']
        server.drain().add_done_callback(lambda done: _log.info(
            'handed over %d, drained %d, cut %d', self._given,
            self._had - self._given - (closed['shutdown'] - cut), closed['shutdown'] - cut))

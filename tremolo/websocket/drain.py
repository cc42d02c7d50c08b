"""Drain: how the sockets of a server that stops are closed.

A restart closes all sockets, and all their clients come back. If they came together, the next
process could do nothing else for a while. So the first 50 closes go at once, and the others one by
one, in 5 seconds at most, or in a quarter of `shutdown_timeout` if that is less.
"""

from __future__ import annotations

from ..loop.timers import NEVER
from ..typed import TYPE_CHECKING, Any
from .closing import close
from .door import Door

if TYPE_CHECKING:
    from ..server import Server
    from .websocket import WebSocket

AT_ONCE = 50
LONGEST = 5.0    # Seconds.
_STEP = 0.05     # Seconds between two batches.

GOING_AWAY = 1001


class Drain:
    """Closes the sockets of a server when it begins to stop."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._left: list[WebSocket] = []
        self._batch = 1
        self._until = NEVER    # When `shutdown_timeout` is over; NEVER before the server stops.
        server.stopping.add_done_callback(self._begin)

    @staticmethod
    def watch(server: Server) -> None:
        """Close the sockets of this server when it stops (called for each handshake)."""
        # (It is the first there: closing.py asks it. Event streams have one of their own.)
        if not (server.at_stop and isinstance(server.at_stop[0], Drain)):
            server.at_stop.insert(0, Drain(server))

    def rest(self) -> float:
        """Return how many seconds remain of `shutdown_timeout`, from the first call on."""
        now = self._server.reactor.time()
        if self._until == NEVER:
            self._until = now + self._server.settings.shutdown_timeout
        return max(0.0, self._until - now)

    def _begin(self, _: object) -> None:
        server = self._server
        self.rest()
        receivers: list[Any] = [each.stream.receiver for each in list(server.connections)]
        for receiver in receivers:
            if isinstance(receiver, Door):
                receiver.refuse()
        self._left = [each for each in receivers if getattr(each, 'state', '') == 'open']
        self._left.reverse()
        self._close(AT_ONCE)
        spread = min(LONGEST, server.settings.shutdown_timeout / 4)
        self._batch = -int(-len(self._left) * _STEP // max(spread, _STEP))
        if self._left:
            server.reactor.call_later(_STEP, self._go_on)

    def _go_on(self) -> None:
        self._close(self._batch)
        if self._left:
            self._server.reactor.call_later(_STEP, self._go_on)

    def _close(self, count: int) -> None:
        for _ in range(min(count, len(self._left))):
            close(self._left.pop(), GOING_AWAY, 'the server stops')

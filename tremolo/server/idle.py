"""Idle: what is done with a connection that was idle for too long, and when it is too long.

Usually that is `idle_timeout`. While the server drains, an idle connection is closed soon, but not
at once: a request may be on its way, and a close would lose it. A request that was sent before our
end arrived needs half a round trip. So each connection has ten round trips, at least `DRAIN_LEAST`
seconds and at most `DRAIN_MOST`. The kernel is asked for the round trip once, when the least time
is over: then it is the time of that connection, and most connections have gone.
"""

from __future__ import annotations

from ..loop.patience import read_now
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection

DRAIN_LEAST = 0.05    # Seconds; also those of a UNIX socket, which has no round trip.
DRAIN_MOST = 2.0    # Seconds; also if the kernel cannot say how long a round trip takes.
_ROUND_TRIPS = 10


class DrainGrace:
    """The idle connections of a draining server: who was given more than `DRAIN_LEAST` already."""

    __slots__ = ('_given',)

    def __init__(self) -> None:
        self._given: set[Connection] = set()

    def prolong(self, connection: Connection) -> bool:
        """Give a connection the rest of its ten round trips, once; return whether there is any."""
        if connection in self._given:
            return False
        self._given.add(connection)
        more = seconds_of(connection) - DRAIN_LEAST
        if more > 0:
            connection.count_from(connection.since + more)
        return more > 0


def seconds_of(connection: Connection) -> float:
    """Return how many seconds a draining server waits for a request of an idle connection."""
    round_trip = connection.stream.round_trip
    if round_trip is None:
        return DRAIN_MOST
    return min(max(DRAIN_LEAST, _ROUND_TRIPS * round_trip), DRAIN_MOST)


def idle_too_long(connection: Connection) -> None:
    """Close an idle connection, unless it has more time while the server drains."""
    grace = connection.server.phase_seconds.grace
    if grace is None:
        connection.close('idle_timeout')
    elif not (grace.prolong(connection) or _has_come(connection)):
        connection.close('shutdown')


def _has_come(connection: Connection) -> bool:
    """Read what has come since the turn began; return whether a request has, or a part of one."""
    phase = connection.phase
    read_now(connection.stream)
    return connection.phase is not phase

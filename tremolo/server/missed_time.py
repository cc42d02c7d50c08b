"""Missed time: a connection gets back the time in which the loop did not turn.

A client cannot be answered while we are stopped, nor can a handler run. So the seconds of a long
pause (polling/pauses.py) count for no limit: not for those of a phase, nor for the handler's, nor
as time in which bytes were slow. That is made up when a connection's timer comes up, before it is
asked whether something is due.
"""

from __future__ import annotations

from ..loop.patience import read_now
from ..loop.timers import NEVER
from ..typed import TYPE_CHECKING
from .phases import BUSY, CLOSED, DISCARD, UPGRADED

if TYPE_CHECKING:
    from ..rates.minimum_rate import MinimumRate
    from .lifetime import Lifetime

_MOST = 60.0    # Seconds of credit that a transfer may have afterwards.


def has_read(connection: Lifetime) -> bool:
    """Read what has come since the poll; return whether the connection is still open."""
    read_now(connection.stream)
    return connection.phase is not CLOSED


def make_up(connection: Lifetime) -> None:
    """Give a connection the time that the loop has missed since it was last asked about it."""
    pauses, response = connection.stream.reactor.pauses, connection.response
    missed, connection.missed = pauses.missed - connection.missed, pauses.missed
    phase = connection.phase
    if connection.since < pauses.until:
        if phase is BUSY and response is not None:
            # (`since` stays: how long an answer took is logged by the clock.)
            seconds = response.handler_timeout
            if seconds is None:
                seconds = connection.server.phase_seconds.by_phase[BUSY]
            if seconds and seconds != NEVER:
                response.handler_timeout = seconds + missed
        elif phase is not DISCARD and phase is not UPGRADED:
            connection.count_from(min(connection.since + missed, pauses.until))
    if (progress := connection.progress) is not None:
        _make_up_rate(progress, missed, pauses.until)
        if progress.half_closed_since < pauses.until:
            progress.half_closed_since = min(progress.half_closed_since + missed, pauses.until)
    if connection.request_body is not None:
        _make_up_rate(connection.request_body.minimum_rate, missed, pauses.until)


def _make_up_rate(rate: MinimumRate, missed: float, until: float) -> None:
    if rate.since < until:
        rate.since = min(rate.since + missed, until)
    elif rate.since != NEVER:
        # (Bytes that came since have paid for the pause.)
        rate.credit = min(_MOST, rate.credit + missed)
    if rate.quiet_since < until:
        rate.quiet_since = min(rate.quiet_since + missed, until)

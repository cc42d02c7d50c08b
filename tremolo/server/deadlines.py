"""Deadlines: when to look at a connection again. timeouts.py has the limits, and what is done.

There are three kinds of limits:

    how long a phase may last     the table `PHASES` of timeouts.py
    how long a client may pause,  a `MinimumRate` for the request's body while we read it, another
    and how slow it may be        for the answer while bytes of it are kept
    how long a half-closed        `half_close_timeout` without a byte taken
    client may take nothing

A connection has one timer, and the timer may come early: `tick` then works out anew what is due. So
a deadline that moves away costs nothing, and the idle deadline moves away with each request. Only a
deadline that comes nearer moves the timer (`arm`).

While our own rate limit holds a transfer back, none of the client's deadlines run.
"""

from __future__ import annotations

from ..loop.timers import NEVER
from ..rates.scarcity import is_scarce
from ..typed import TYPE_CHECKING
from .missed_time import has_read, make_up
from .phases import BUSY, CLOSED, DISCARD, HEAD, IDLE, LINGER, UPGRADED
from .timeouts import time_out

if TYPE_CHECKING:
    from ..rates.minimum_rate import MinimumRate
    from .connection import Connection
    from .lifetime import Lifetime


def arm(connection: Lifetime) -> None:
    """Move the timer if it would come later than the next deadline."""
    deadline = _deadline(connection)
    if deadline < connection.timer.deadline:
        connection.timer.move(deadline)


def arm_upload(connection: Lifetime, rate: MinimumRate) -> None:
    """Do as `arm` when only the deadline of the request's body came nearer. Hot: once per piece."""
    look = connection.stream.reactor.now + connection.server.phase_seconds.look
    if min(look, rate.deadline(is_scarce(connection.server))) < connection.timer.deadline:
        arm(connection)


def _deadline(connection: Lifetime) -> float:
    """Return when to look again: at a deadline, or before a deadline that is not known yet."""
    phase, stream, progress = connection.phase, connection.stream, connection.progress
    if phase is UPGRADED:
        return NEVER
    server = connection.server
    limits, now = server.phase_seconds, stream.reactor.now
    deadline: float = now + limits.idle
    if progress is not None:
        scarce = is_scarce(server)
        if progress.is_due:
            # Connections may become scarce, and what the client takes has to be asked.
            deadline = min(deadline, now + limits.look)
        if stream.buffered:
            deadline = min(deadline, progress.deadline(scarce))
        if phase is BUSY:
            deadline = min(deadline, progress.half_closed_since + limits.half_close[scarce])
    # A client that still takes an answer is neither idle nor late with its next request.
    if progress is None or not stream.buffered or phase is BUSY or phase is HEAD:
        seconds = limits.by_phase.get(phase, NEVER)
        own = connection.response.handler_timeout if phase is BUSY and connection.response else None
        if own is not None:
            seconds = own or NEVER
        deadline = min(deadline, connection.since + seconds)
    body = connection.request_body
    if body is not None and (phase is BUSY or phase is DISCARD):
        due = body.minimum_rate.deadline(is_scarce(server))
        if due != NEVER:
            deadline = min(deadline, due, now + limits.look)
    return deadline


def tick(connection: Connection) -> None:
    """Do what is due (the timer calls this)."""
    progress, body = connection.progress, connection.request_body
    now, scarce = connection.stream.reactor.now, is_scarce(connection.server)
    if connection.missed != connection.stream.reactor.pauses.missed:
        make_up(connection)
    if progress is not None and progress.is_due:
        progress.ask(connection.stream)
    elif connection.phase is BUSY and connection.stream.has_vanished():
        return connection.abort('vanished')
    look_at_sent(connection)
    watch_kept(connection)
    if not scarce:
        if progress is not None:
            progress.forgive(now)
        if body is not None:
            body.minimum_rate.forgive(now)
    # (What has come may be unread: the poll of this turn is long ago, or others had their turn.)
    if _deadline(connection) <= now and has_read(connection) and _deadline(connection) <= now:
        time_out(connection, scarce)
    if connection.phase is not CLOSED:
        arm(connection)
    return None


def look_at_sent(connection: Lifetime) -> None:
    """Bring the clocks of the download up to date."""
    progress = connection.progress
    if progress is not None and progress.look(connection.stream) \
            and (connection.phase is IDLE or connection.phase is LINGER):
        # Until now the client was busy with our answer.
        connection.count_from(connection.stream.reactor.now)


def watch_answer(connection: Lifetime, size: int) -> None:
    """Let the clocks of the download run, now that bytes are kept; `size` of them are new."""
    if connection.make_progress().wait_for_client(connection.stream, size):
        arm(connection)


def watch_kept(connection: Lifetime) -> None:
    """Let the clocks of the download run for what was not taken at the end of an earlier turn."""
    stream, progress = connection.stream, connection.progress
    if stream.buffered and (progress is None or progress.since == NEVER):
        watch_answer(connection, stream.buffered)

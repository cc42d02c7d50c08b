"""Deadlines: when to look at a connection again, and what is done when a deadline has passed.

There are three kinds of limits:

    how long a phase may last     the table `PHASES`: a phase, its option, and what is done then
    how slow a client may be      a `MinimumRate` for the request's body while we read it, another
                                  for the answer while bytes of it are kept
    how long a half-closed        `half_close_timeout` without a byte taken
    client may take nothing

A connection has one timer, and the timer may come early: `tick` then works out anew what is due. So
a deadline that moves away costs nothing, and the idle deadline moves away with each request. Only a
deadline that comes nearer moves the timer (`arm`).

While our own rate limit holds a transfer back, none of the client's deadlines run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ..http import ProtocolError
from ..loop.timers import NEVER
from ..settings import Settings
from .phases import BUSY, CLOSED, DISCARD, HEAD, IDLE, LINGER, NEW, UPGRADED

if TYPE_CHECKING:
    from .connection import Connection
    from .lifetime import Lifetime

# Seconds that a draining server waits on an idle connection: a request may be on its way.
DRAIN_IDLE = 2.0
# The least time in seconds between two looks at a connection where nothing is due: the
# `idle_timeout` may be almost 0.
_OFTEN = 0.05


def _nothing_came(connection: Connection) -> None:
    connection.close('first_byte_timeout')


def _head_too_slow(connection: Connection) -> None:
    connection.refuse(ProtocolError(408, 'the head took too long (head_timeout)'), 'head_timeout')


def _idle_too_long(connection: Connection) -> None:
    connection.close('shutdown' if connection.server.draining else 'idle_timeout')


def _handler_too_slow(connection: Connection) -> None:
    connection.time_out_handler()


def _lingered(connection: Connection) -> None:
    connection.stream.abort()


# Each phase that may only last so long: the option with its seconds, and what is done then.
PHASES: dict[str, tuple[str, Callable[[Connection], None]]] = {
    NEW: ('first_byte_timeout', _nothing_came),
    IDLE: ('idle_timeout', _idle_too_long),
    HEAD: ('head_timeout', _head_too_slow),
    BUSY: ('handler_timeout', _handler_too_slow),
    LINGER: ('linger_timeout', _lingered),
}


class PhaseSeconds:
    """How many seconds each phase may last on a server with these settings; NEVER: no limit."""

    __slots__ = ('by_phase', 'idle')

    def __init__(self, settings: Settings, draining: bool = False) -> None:
        seconds = {phase: getattr(settings, option) for phase, (option, _) in PHASES.items()}
        seconds[BUSY] = seconds[BUSY] or NEVER    # handler_timeout: 0 is off.
        if draining:
            seconds[IDLE] = DRAIN_IDLE
        self.by_phase: dict[str, float] = seconds
        # An answer that is complete at once does not touch the timer, and then IDLE begins. So the
        # timer is never set further ahead than the idle time.
        self.idle = max(seconds[IDLE], _OFTEN)


def arm(connection: Lifetime) -> None:
    """Move the timer if it would come later than the next deadline."""
    deadline = _deadline(connection)
    if deadline < connection.timer.deadline:
        connection.timer.move(deadline)


def _deadline(connection: Lifetime) -> float:
    """Return when to look again: at a deadline, or before a deadline that is not known yet."""
    phase, stream, progress = connection.phase, connection.stream, connection.progress
    if phase is UPGRADED:
        return NEVER
    limits = connection.server.phase_seconds
    deadline: float = stream.reactor.now + limits.idle
    if progress is not None:
        if stream.buffered:
            deadline = min(deadline, progress.deadline)
        if phase is BUSY:
            half_close_timeout = connection.server.settings.half_close_timeout
            deadline = min(deadline, progress.half_closed_since + half_close_timeout)
    # A client that still takes an answer is neither idle nor late with its next request.
    if progress is None or not stream.buffered or phase is BUSY or phase is HEAD:
        deadline = min(deadline, connection.since + limits.by_phase.get(phase, NEVER))
    body = connection.request_body
    if body is not None and (phase is BUSY or phase is DISCARD):
        deadline = min(deadline, body.minimum_rate.deadline)
    return deadline


def tick(connection: Connection) -> None:
    """Do what is due (the timer calls this)."""
    look_at_sent(connection)
    watch_kept(connection)
    now = connection.stream.reactor.now
    if _deadline(connection) <= now:
        _time_out(connection, now)
    if connection.phase is not CLOSED:
        arm(connection)


def _time_out(connection: Connection, now: float) -> None:
    """End a slow client's connection, or the phase that takes too long."""
    phase, progress, body = connection.phase, connection.progress, connection.request_body
    half_close_timeout = connection.server.settings.half_close_timeout
    if progress is not None and progress.deadline <= now:
        connection.ends_because('min_download_rate')
        connection.abort('min_download_rate')
    elif phase is DISCARD:
        connection.linger('unread')
    elif (phase is BUSY and progress is not None
            and progress.half_closed_since + half_close_timeout <= now):
        connection.abort('half_closed')
    elif phase is BUSY and body is not None and body.minimum_rate.deadline <= now:
        connection.ends_because('min_upload_rate')
        body.fail(ProtocolError(408, 'the body came too slowly (min_upload_rate)'))
    elif phase in PHASES:
        PHASES[phase][1](connection)


def look_at_sent(connection: Lifetime) -> None:
    """Record what the client took since the last look."""
    progress = connection.progress
    if progress is not None and progress.look(connection.stream) \
            and (connection.phase is IDLE or connection.phase is LINGER):
        # Until now the client was busy with our answer.
        connection.count_from(connection.stream.reactor.now)


def watch_answer(connection: Lifetime, size: int) -> None:
    """Let the clock of the download run, now that bytes are kept; `size` of them are new."""
    if connection.make_progress().wait_for_client(connection.stream, size):
        arm(connection)


def watch_kept(connection: Lifetime) -> None:
    """Let the clock of the download run for what was not taken at the end of an earlier turn."""
    stream, progress = connection.stream, connection.progress
    if stream.buffered and (progress is None or progress.since == NEVER):
        watch_answer(connection, stream.buffered)

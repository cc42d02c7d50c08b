"""Deadlines: when to look at a connection again, and what is due then.

A connection has one timer, and it may come early: it then works out anew what is due. So a deadline
that moves away costs nothing, as the idle one does with each request, and one that comes nearer
moves the timer (`arm`). Which deadline counts in which phase is told in connection.py.

The time that a rate limit of our own rests is never the client's: no clock of his runs in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http import ProtocolError
from ..loop.timers import NEVER, Timer
from .minimum_rate import MinimumRate
from .phases import BUSY, CLOSED, DISCARD, HEAD, IDLE, LINGER, NEW, UPGRADED

if TYPE_CHECKING:
    from .connection import Connection

# Seconds that an idle connection of a draining server may still bring a request that is on its way.
DRAIN_IDLE = 2.0
# The least time between two looks at the deadlines of a connection, where none is due: for an
# `idle_timeout` of next to nothing.
_OFTEN = 0.05


def arm(connection: Connection) -> None:
    """See to it that the timer comes no later than the next deadline."""
    deadline = _deadline(connection)
    if deadline < connection.timer.deadline:
        connection.timer.move(deadline)


def _deadline(connection: Connection) -> float:
    """Work out when to look again: at a deadline, or before one that is not known yet."""
    settings, phase = connection.server.settings, connection.phase
    if phase is UPGRADED:
        return NEVER
    idle_time = DRAIN_IDLE if connection.server.draining else settings.idle_timeout
    # An answer that is given at once leaves the timer alone, and the idle time begins.
    deadline = connection.stream.reactor.now + max(idle_time, _OFTEN)
    if connection.stream.buffered and connection.answer_minimum is not None:
        deadline = min(deadline, connection.answer_minimum.deadline)
    elif phase is NEW:
        deadline = min(deadline, connection.since + settings.first_byte_timeout)
    elif phase is IDLE:
        deadline = min(deadline, connection.since + idle_time)
    elif phase is LINGER:
        deadline = min(deadline, connection.since + settings.linger_timeout)
    if phase is HEAD:
        deadline = min(deadline, connection.since + settings.head_timeout)
    elif phase is BUSY:
        deadline = min(deadline, connection.half_closed + settings.half_close_timeout)
        if settings.handler_timeout:
            deadline = min(deadline, connection.request_began + settings.handler_timeout)
    if connection.request_body is not None and (phase is BUSY or phase is DISCARD):
        deadline = min(deadline, connection.request_body.minimum.deadline)
    return deadline


def tick(connection: Connection) -> None:
    """Do what is due (by the timer)."""
    look_at_sent(connection)
    watch_kept(connection)
    now = connection.stream.reactor.now
    if _deadline(connection) <= now:
        _time_out(connection, now)
    if connection.phase is not CLOSED:
        arm(connection)


def _time_out(connection: Connection, now: float) -> None:
    """Do what is due in this phase."""
    phase = connection.phase
    if connection.answer_minimum is not None and connection.answer_minimum.deadline <= now:
        connection.reason = 'min_download_rate'
        connection.abort('min_download_rate')
    elif phase is NEW:
        connection.close('first_byte_timeout')
    elif phase is IDLE:
        connection.close('shutdown' if connection.server.draining else 'idle_timeout')
    elif phase is HEAD:
        connection.refuse(ProtocolError(408, 'the head took too long (head_timeout)'),
                          'head_timeout')
    elif phase is DISCARD:
        connection.linger('unread')
    elif phase is LINGER:
        connection.stream.abort()
    elif connection.half_closed + connection.server.settings.half_close_timeout <= now:
        connection.abort('half_closed')
    elif connection.request_body is not None and connection.request_body.minimum.deadline <= now:
        connection.reason = 'min_upload_rate'
        connection.request_body.fail(
            ProtocolError(408, 'the body came too slowly (min_upload_rate)'))
    else:
        connection.time_out_handler()


def look_at_sent(connection: Connection) -> None:
    """Take note of what the client took since the last look."""
    stream = connection.stream
    now = stream.reactor.now
    moved, connection.mark = stream.sent - connection.mark, stream.sent
    begin = begin_of_wait(stream.write_rest, now)
    if connection.half_closed != NEVER and (moved or begin > now):
        connection.half_closed = begin
    minimum = connection.answer_minimum
    if minimum is not None and minimum.since != NEVER:
        minimum.moved(now, moved)
        if not stream.buffered:
            minimum.stop(now)
        if connection.phase is IDLE or connection.phase is LINGER:
            connection.since = now    # It was busy with our answer up to now.


def watch_answer(connection: Connection, size: int) -> None:
    """Wait for the client to take what is kept, of which `size` bytes are new."""
    minimum, stream = connection.answer_minimum, connection.stream
    if minimum is None:
        settings = connection.server.settings
        minimum = connection.answer_minimum = MinimumRate(
            settings.min_download_rate, settings.rate_grace, settings.idle_timeout)
    if minimum.since == NEVER or stream.buffered <= size:
        # All is new, so until now it was not the client whom we waited for.
        minimum.since = NEVER
        look_at_sent(connection)
        minimum.wait(begin_of_wait(stream.write_rest, stream.reactor.now))
        arm(connection)


def watch_kept(connection: Connection) -> None:
    """Watch what was written in an earlier turn, and was not taken at that turn's end."""
    stream, minimum = connection.stream, connection.answer_minimum
    if stream.buffered and (minimum is None or minimum.since == NEVER):
        watch_answer(connection, stream.buffered)


def begin_of_wait(rest: Timer | None, now: float) -> float:
    """Return from when on we wait for the client: from the end of a limit's rest, if it rests."""
    return now if rest is None or rest.deadline == NEVER else rest.deadline

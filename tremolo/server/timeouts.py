"""Timeouts: how long each phase may last, and what is done when a deadline has passed.

deadlines.py says when to look. What is here runs only when a client, or a handler, is late.
"""

from __future__ import annotations

from ..http import ProtocolError
from ..loop.timers import NEVER
from ..rates.scarcity import is_scarce
from ..settings import Settings
from ..typed import TYPE_CHECKING, Callable
from .idle import DRAIN_LEAST, DRAIN_MOST, DrainGrace, idle_too_long
from .notices import cancel, gone, why
from .phases import BUSY, DISCARD, HEAD, IDLE, LINGER, NEW

if TYPE_CHECKING:
    from .connection import Connection

# Seconds that a half-closed client may take nothing while connections are scarce.
HALF_CLOSE_SCARCE = 1.0
# So many bytes of an answer that are not taken yet give a lingering client more time. (A refusal is
# shorter: a client that does not read it gets `linger_timeout`.)
_MANY = 16384
# The least time in seconds between two looks at a connection where nothing is due: the
# `idle_timeout` may be almost 0.
_OFTEN = 0.05


def _stop_handler(connection: Connection) -> None:
    """Stop the handler of a connection: 503, or a reset if the head was sent already."""
    task, response = connection.task, connection.response
    if response is None or response.head_sent or task is None:
        return connection.abort('handler_timeout', reset=True)
    connection.ends_because('handler_timeout')
    # From now on what the handler does cannot reach the client.
    connection.response = connection.task = None
    response.live = False
    response.status = 503
    response.cut('handler_timeout')
    if connection.request_body is not None:
        connection.request_body.close(gone(connection))
    if connection.server.request_observers:
        # (Now, as long as `since` is the request's begin.)
        connection.server.request_ended(response, 'handler_timeout')
    connection.server.heads.refused = response.request.mark or b''
    connection.refuse(ProtocolError(503, 'the handler took too long (handler_timeout)'),
                      'handler_timeout')
    cancel(task, why(connection.reason))
    return None


def _nothing_came(connection: Connection) -> None:
    connection.close('first_byte_timeout')


def _head_too_slow(connection: Connection) -> None:
    connection.refuse(ProtocolError(408, 'the head took too long (head_timeout)'), 'head_timeout')


def _lingered(connection: Connection) -> None:
    """Close, unless the client still takes the answer: megabytes of it may lie in the kernel.

    To close now could destroy them. While connections are scarce, nobody gets more time.
    """
    stream, server, progress = connection.stream, connection.server, connection.make_progress()
    now, waits = stream.reactor.now, progress.half_closed_since != NEVER
    taken = stream.acknowledged()
    if taken is not None and not is_scarce(server) \
            and stream.sent - taken > (0 if waits else _MANY):
        if not waits:
            progress.half_close(stream)    # From now on its clock runs.
        if now - progress.half_closed_since < (server.settings.stall_timeout or NEVER):
            return connection.count_from(now)
    return stream.abort()


# Each phase that may only last so long: the option with its seconds, and what is done then.
PHASES: dict[str, tuple[str, Callable[[Connection], None]]] = {
    NEW: ('first_byte_timeout', _nothing_came),
    IDLE: ('idle_timeout', idle_too_long),
    HEAD: ('head_timeout', _head_too_slow),
    BUSY: ('handler_timeout', _stop_handler),
    LINGER: ('linger_timeout', _lingered),
}


class PhaseSeconds:
    """How many seconds each phase may last on a server with these settings; NEVER: no limit."""

    __slots__ = ('by_phase', 'grace', 'half_close', 'idle', 'look')

    def __init__(self, settings: Settings, draining: bool = False) -> None:
        seconds = {phase: getattr(settings, option) for phase, (option, _) in PHASES.items()}
        seconds[BUSY] = seconds[BUSY] or NEVER    # handler_timeout: 0 is off.
        if draining:
            seconds[IDLE] = DRAIN_LEAST
        self.by_phase: dict[str, float] = seconds
        self.grace = DrainGrace() if draining else None    # More seconds for idle connections.
        # An answer that is complete at once does not touch the timer, and then IDLE begins. So the
        # timer is never set further ahead than the idle time. (While draining, IDLE begins only
        # after an answer that took its time, and that arms the timer.)
        self.idle = max(DRAIN_MOST if draining else seconds[IDLE], _OFTEN)
        # How long a half-closed client may take nothing: usually, and while connections are scarce.
        usual = settings.half_close_timeout
        self.half_close = (usual, min(usual, HALF_CLOSE_SCARCE))
        # While we wait for a client, the connection is looked at so often.
        self.look = max(settings.rate_grace, _OFTEN)


def time_out(connection: Connection, scarce: bool) -> None:
    """End a slow client's connection, or the phase that takes too long."""
    now, limits = connection.stream.reactor.now, connection.server.phase_seconds
    phase, progress, body = connection.phase, connection.progress, connection.request_body
    if progress is not None and progress.deadline(scarce) <= now:
        reason = 'stall_timeout' if progress.is_stalled(now) else 'min_download_rate'
        connection.ends_because(reason)
        # By a reset: after an orderly end the kernel would keep megabytes for who takes nothing.
        connection.abort(reason, reset=True)
    elif phase is DISCARD:
        connection.linger('unread')
    elif (phase is BUSY and progress is not None
            and progress.half_closed_since + limits.half_close[scarce] <= now):
        connection.abort('half_closed')
    elif phase is BUSY and body is not None and body.minimum_rate.deadline(scarce) <= now:
        if body.minimum_rate.is_stalled(now):
            reason, why = 'stall_timeout', 'the rest of the body did not come (stall_timeout)'
        else:
            reason, why = 'min_upload_rate', 'the body came too slowly (min_upload_rate)'
        connection.ends_because(reason)
        body.fail(ProtocolError(408, why))
    elif phase in PHASES:
        PHASES[phase][1](connection)

"""MinimumRate: how long a client may pause, and the slowest it may be.

Two clocks run while we wait for the client to move bytes in one direction:

    the pause    no longer than `stall` seconds without one byte: always
    the rate     at least `rate` bytes/second after `grace` seconds: only while connections are
                 scarce (scarcity.py); a client that pauses is no attacker as long as its
                 connection is wanted by nobody else

With a rate over the whole transfer, a client that was fast for a minute could stall for a day. So
the rate is a credit of seconds: it begins with `grace`, each second that we wait for the client
costs a second, and each byte earns 1/rate seconds, up to a minute.

Both clocks run only between `wait` and `stop`: never while we pause, throttle or work.
"""

from __future__ import annotations

from ..loop.timers import NEVER
from ..settings import Settings

_MOST = 60.0    # Seconds that a fast beginning may earn.


class MinimumRate:
    """The two clocks of one direction. Times are those of the reactor's clock, in seconds."""

    __slots__ = ('_grace', '_stall', 'credit', 'quiet_since', 'rate', 'since')

    def __init__(self, settings: Settings, rate: float) -> None:
        """`rate` is in bytes/second; 0 sets no limit."""
        self.rate = rate
        self.credit = self._grace = settings.rate_grace
        self._stall = settings.stall_timeout or NEVER    # 0 is off.
        # Since when, or from when on, we wait for the client; NEVER: we do not wait. Then, since
        # when it has moved nothing.
        self.since = self.quiet_since = NEVER

    def wait(self, now: float) -> None:
        """Begin to wait for the client; harmless when we wait already."""
        if self.since == NEVER:
            self.since = self.quiet_since = now

    def moved(self, now: float, size: int) -> None:
        """Count `size` bytes that the client moved since `wait` or since the last call."""
        if self.since != NEVER:
            waited = max(0.0, now - self.since)
            self.since += waited
            if size:
                self.quiet_since = self.since
            if self.rate:
                most = max(self._grace, _MOST)
                self.credit = min(most, self.credit - waited + size / self.rate)

    def rest(self, now: float, until: float) -> None:
        """Stop the clocks until `until`: we rest. Harmless when we do not wait at all."""
        if self.since != NEVER:
            self.moved(now, 0)
            self.since = self.quiet_since = until

    def stop(self, now: float) -> None:
        """Wait no longer for the client."""
        if self.since < now:
            self.moved(now, 0)
        self.since = NEVER

    def forgive(self, now: float) -> None:
        """Forget how slow the client was: connections are not scarce."""
        self.moved(now, 0)
        self.credit = max(self.credit, self._grace)

    def deadline(self, scarce: bool) -> float:
        """Return when the client is too slow if it moves nothing; NEVER if we do not wait."""
        if self.since == NEVER:
            return NEVER
        stalled = self.quiet_since + self._stall
        return min(stalled, self.since + self.credit) if scarce and self.rate else stalled

    def is_stalled(self, now: float) -> bool:
        """Tell whether the client has moved nothing for `stall` seconds."""
        return self.since != NEVER and self.quiet_since + self._stall <= now

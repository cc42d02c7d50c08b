"""MinimumRate: the slowest a peer may be, as a credit of seconds.

With a rate over the whole transfer, a client that was fast for a minute could stall for a day. With
a limit on each pause, a client could send a byte now and then for ever. So there is a credit of
seconds: it begins with `grace`, each second that we wait for the peer costs a second, and each byte
earns 1/rate seconds, up to `most`. The clock runs only between `wait` and `stop`: never while we
pause, throttle or work.
"""

from __future__ import annotations

from ..loop.timers import NEVER


class MinimumRate:
    """The credit of one direction. Times are those of the reactor's clock, in seconds."""

    __slots__ = ('credit', 'most', 'rate', 'since')

    def __init__(self, rate: float, grace: float, most: float) -> None:
        """`rate` is in bytes/second; 0 sets no limit."""
        self.rate = rate
        self.credit = grace
        self.most = max(grace, most)
        # Since when, or from when on, we wait for the peer; NEVER: we do not wait.
        self.since = NEVER

    def wait(self, now: float) -> None:
        """Begin to wait for the peer; harmless when we wait already."""
        if self.since == NEVER:
            self.since = now

    def moved(self, now: float, size: int) -> None:
        """Count `size` bytes that the peer moved since `wait` or since the last call."""
        if self.since != NEVER and self.rate:
            waited = max(0.0, now - self.since)
            self.credit = min(self.most, self.credit - waited + size / self.rate)
            self.since += waited

    def rest(self, now: float, until: float) -> None:
        """Stop the clock until `until`: we rest. Harmless when we do not wait at all."""
        if self.since != NEVER:
            self.moved(now, 0)
            self.since = until

    def stop(self, now: float) -> None:
        """Wait no longer for the peer."""
        self.moved(now, 0)
        self.since = NEVER

    @property
    def deadline(self) -> float:
        """When the credit is used up if nothing moves; NEVER if we do not wait."""
        return self.since + self.credit if self.rate else NEVER

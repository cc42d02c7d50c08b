"""Progress: what a client has taken of our answers, and since when we wait for more of it.

Only the bytes that the kernel did not take at once have to be waited for, so a connection gets this
object with the first of them, or when its client ends its side: an idle one mostly has none.
"""

from __future__ import annotations

from ..loop import Stream
from ..loop.timers import NEVER, Timer
from .minimum_rate import MinimumRate


class DownloadProgress(MinimumRate):
    """The download of one connection: its minimum rate, and the clock of a half-closed client."""

    __slots__ = ('_seen', 'half_closed_since')

    def __init__(self, rate: float, grace: float, most: float, sent: int) -> None:
        """`sent` are the bytes that the kernel has taken so far; the rest as in MinimumRate."""
        super().__init__(rate, grace, most)
        self._seen = sent    # What `Stream.sent` was at the last look.
        # Since when a half-closed client has taken nothing; NEVER while its side is open.
        self.half_closed_since = NEVER

    def look(self, stream: Stream) -> bool:
        """Record what the client took since the last look; return whether we waited for it."""
        now = stream.reactor.now
        moved, self._seen = stream.sent - self._seen, stream.sent
        begin = begin_of_wait(stream.write_rest, now)
        if self.half_closed_since != NEVER and (moved or begin > now):
            self.half_closed_since = begin
        if self.since == NEVER:
            return False
        self.moved(now, moved)
        if not stream.buffered:
            self.stop(now)
        return True

    def half_close(self, stream: Stream) -> None:
        """Record that the client has ended its side, and begin to wait for it to take something."""
        self.half_closed_since = stream.reactor.now
        self.look(stream)


def begin_of_wait(rest: Timer | None, now: float) -> float:
    """Return from when on we wait for the client.

    That is now, or the end of the rest that a rate limit of ours asked for.
    """
    return now if rest is None or rest.deadline == NEVER else rest.deadline

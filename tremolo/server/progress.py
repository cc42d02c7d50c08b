"""Progress: what a client has taken of our answers, and since when we wait for more of it.

We have to wait only for bytes that the kernel did not take at once. So a connection gets this
object with the first byte that is kept, or when its client ends its side: most idle connections
have none.
"""

from __future__ import annotations

from ..loop import Stream
from ..loop.timers import NEVER, Timer
from ..settings import Settings
from .minimum_rate import MinimumRate


class DownloadProgress(MinimumRate):
    """The download of one connection: its minimum rate, and the clock of a half-closed client."""

    __slots__ = ('_seen', 'half_closed_since')

    def __init__(self, settings: Settings, sent: int) -> None:
        """`sent` is the number of bytes that the kernel has taken so far."""
        super().__init__(
            settings.min_download_rate, settings.rate_grace, settings.idle_timeout)
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

    def wait_for_client(self, stream: Stream, size: int) -> bool:
        """Wait for the client to take what is kept, of which `size` bytes are new.

        Return whether the wait begins now; if not, we waited already.
        """
        if self.since != NEVER and stream.buffered > size:
            return False
        # All that is kept is new, so until now we did not wait for the client.
        self.since = NEVER
        self.look(stream)
        self.wait(begin_of_wait(stream.write_rest, stream.reactor.now))
        return True

    def half_close(self, stream: Stream) -> None:
        """Record that the client has ended its side: from now on it has to take something."""
        self.half_closed_since = stream.reactor.now
        self.look(stream)


def begin_of_wait(rest: Timer | None, now: float) -> float:
    """Return from when on we wait for the client.

    That is now, or the end of the rest that a rate limit of ours has asked for.
    """
    return now if rest is None or rest.deadline == NEVER else rest.deadline

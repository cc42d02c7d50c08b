"""Progress: what a client has taken of our answers, and since when we wait for more of it.

We have to wait only for bytes that the kernel did not take at once. So a connection gets this
object with the first byte that is kept, or when its client ends its side: most idle connections
have none.

A client takes bytes also while the kernel takes none of ours: Linux asks for more only when a third
of its buffer is free, and that may be megabytes (measured: 65 seconds at 20 kB/s). So the kernel is
asked what the client has taken, but only when a deadline may be due: a system call for each piece
would cost too much.
"""

from __future__ import annotations

from ..loop import Stream
from ..loop.timers import NEVER, Timer
from ..settings import Settings
from .minimum_rate import MinimumRate


class DownloadProgress(MinimumRate):
    """The download of one connection: its two clocks, and the clock of a half-closed client."""

    __slots__ = ('_counts', '_seen', 'half_closed_since')

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.min_download_rate)
        self._seen = 0    # What the client had taken when we asked last.
        # Whether we asked since the wait began. What it took before (a receive buffer full, earlier
        # answers) earns nothing: a client of a byte a minute would hold out for a minute on it.
        self._counts = False
        # Since when a half-closed client has taken nothing; NEVER while its side is open.
        self.half_closed_since = NEVER

    @property
    def is_due(self) -> bool:
        """Whether a clock runs, so that what the client takes has to be asked."""
        return self.since != NEVER or self.half_closed_since != NEVER

    def ask(self, stream: Stream) -> None:
        """Ask what the client took since we asked last, and let the clocks know."""
        taken = stream.acknowledged()
        if taken is None:
            # Only the kernel's own progress is known, and that stands still while the client
            # empties the kernel's buffer. So nobody is too slow: only a pause is counted.
            taken = stream.sent
            self.rate = 0
        moved, self._seen = taken - self._seen, taken
        if moved and self.half_closed_since != NEVER:
            self.half_closed_since = stream.reactor.now
        if self._counts or not moved:
            self.moved(stream.reactor.now, moved)
        elif self.since != NEVER:
            # Nobody knows how much of it was taken in this time, so the time costs nothing either.
            self.since = self.quiet_since = max(self.since, stream.reactor.now)
        self._counts = True

    def look(self, stream: Stream) -> bool:
        """Bring the clocks up to date, and stop them if nothing is kept; return if they ran."""
        now = stream.reactor.now
        begin = begin_of_wait(stream.write_rest, now)
        if self.half_closed_since != NEVER and begin > now:
            self.half_closed_since = begin
        if self.since == NEVER:
            return False
        self.moved(now, 0)
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
        self._counts = False
        self.wait(begin_of_wait(stream.write_rest, stream.reactor.now))
        return True

    def half_close(self, stream: Stream) -> None:
        """Record that the client has ended its side: from now on it has to take something."""
        self.ask(stream)
        self.half_closed_since = begin_of_wait(stream.write_rest, stream.reactor.now)


def begin_of_wait(rest: Timer | None, now: float) -> float:
    """Return from when on we wait for the client.

    That is now, or the end of the rest that a rate limit of ours has asked for.
    """
    return now if rest is None or rest.deadline == NEVER else rest.deadline

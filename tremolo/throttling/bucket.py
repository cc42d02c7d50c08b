"""Bucket: a rate as a timetable of pieces.

The next piece is due `piece / rate` seconds after the one before. A connection that has bytes to
move takes the next free place of the timetable, and waits until the time of that place. So the
connections that share a bucket get a piece in turn, and none starves.

A connection that comes late, because the loop was busy, catches up. But places that have been due
for longer than `_LATE` seconds are lost: after an idle hour nobody may send an hour's worth.
"""

from __future__ import annotations

PIECES = 50    # Pieces per second of one connection's limit.
_LATE = 0.03    # Seconds of unused places that a bucket makes up for.
_NOW = 1e-6    # A piece due within so many seconds is due now: sums of times are not exact.


class Bucket:
    """A limit of `rate` bytes/second, for one connection or for many."""

    __slots__ = ('_next', 'piece', 'rate')

    def __init__(self, rate: int, now: float, pieces: int = PIECES) -> None:
        self.rate = rate
        # Bytes in a piece. At low rates there are fewer pieces a second: a piece of a few bytes is
        # not worth a system call.
        self.piece = max(1, min(256, rate // 4), rate // pieces)
        self._next = now    # When the next piece is due.

    def reserve(self, now: float) -> float:
        """Take the next place for a piece, and return when it is due."""
        due = max(self._next, now - _LATE)
        self._next = due + self.piece / self.rate
        return due

    def give_back(self, size: int) -> None:
        """Return `size` bytes of a reserved piece that will not be used."""
        self._next -= size / self.rate


class Share:
    """The piece that one connection holds of a bucket."""

    __slots__ = ('bucket', 'due', 'left')

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.left = 0     # Bytes of the piece that have not passed yet.
        self.due = 0.0    # When they may pass.

    def allowance(self, now: float) -> int:
        """Return how many bytes may pass now; reserve a piece if there is none."""
        if not self.left:
            self.left = self.bucket.piece
            self.due = self.bucket.reserve(now)
        return self.left if self.due <= now + _NOW else 0

    def spend(self, size: int) -> None:
        """Count `size` bytes that passed."""
        self.left -= size

"""Limits: how fast bytes may pass, in bytes a second.

There are up to two limits for each direction of a connection, and the slower limit counts:

    its own       `download_rate` or `upload_rate`; an answer may have a rate of its own instead
    a shared one  `worker_download_rate` or `worker_upload_rate`, for all connections of a worker

A limit is a `Bucket`: a timetable of pieces. The next piece is due `piece / rate` seconds after the
one before. A connection that has bytes to move takes the next free place of the timetable, and
waits until the time of that place. So the connections that share a bucket get a piece in turn, and
none starves.

A connection that comes late, because the loop was busy, catches up. But places that have been due
for longer than `_LATE` seconds are lost: after an idle hour nobody may send an hour's worth.

The stream asks for its allowance (`Limiter`). While a limit lets a transfer rest, these classes
tell the connection (`Limited`): the client is not slow then, we are. A connection without a limit
has no object of this file.
"""

from __future__ import annotations

from collections import deque

from ..loop import Stream
from ..typed import TYPE_CHECKING, Callable, Protocol

if TYPE_CHECKING:
    from ..settings import Settings

_PIECES = 50    # Pieces per second of one connection's limit.
_SHARED_PIECES = 200    # Of a limit that many share: each of 200 has its turn once a second.
_LATE = 0.03    # Seconds of unused places that a bucket makes up for.
_NOW = 1e-6    # A piece due within so many seconds is due now: sums of times are not exact.
_MUCH = 1 << 30    # Bytes that may pass at once where there is no limit.


class Bucket:
    """A limit of `rate` bytes/second, for one connection or for many."""

    __slots__ = ('_next', 'piece', 'rate')

    def __init__(self, rate: int, now: float, pieces: int = _PIECES) -> None:
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


class Limited(Protocol):
    """A connection that has limits. Its clocks do not run while we hold a transfer back."""

    stream: Stream

    def rest_upload(self, now: float, until: float) -> None:
        """Bytes have come, and we read none before `until`."""

    def rest_download(self, now: float, until: float) -> None:
        """What is kept waits for us until `until`."""

    def look_at_sent(self) -> None:
        """Bytes were sent."""


class Answer(Protocol):
    """An answer, which may have a rate of its own."""

    @property
    def connection(self) -> Limited:
        """Its connection."""


class _Throttle:
    """A connection's limits for one direction. It is a `Limiter` for the stream."""

    __slots__ = ('_connection', '_shares', '_time')

    def __init__(self, connection: Limited, *buckets: Bucket | None) -> None:
        self._connection = connection
        self._time = connection.stream.reactor.time
        self._shares = [Share(bucket) for bucket in buckets if bucket is not None]

    def allowance(self) -> int:
        """Return how many bytes may pass now."""
        now, allowed = self._time(), _MUCH
        for share in self._shares:
            # (While one limit rests, no piece is reserved of the limits after it.)
            if allowed:
                allowed = min(allowed, share.allowance(now))
        return allowed

    def spend(self, size: int) -> None:
        """Count `size` bytes that passed."""
        for share in self._shares:
            share.spend(size)

    def delay(self) -> float:
        """Return after how many seconds to ask again; no deadline of the client runs until then."""
        now = self._time()
        until = max(now, *(share.due for share in self._shares))
        self._rest(now, until)
        return until - now

    def _rest(self, now: float, until: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Return all reserved pieces to their buckets, for other connections."""
        for share in self._shares:
            share.bucket.give_back(share.left)
        self._shares.clear()


class Upload(_Throttle):
    """The limits of what a client sends."""

    __slots__ = ()

    def _rest(self, now: float, until: float) -> None:
        self._connection.rest_upload(now, until)


class Download(_Throttle):
    """The limits of what a client receives; answers may have rates of their own."""

    __slots__ = ('_changes', '_own', '_rate', '_rated', '_total')

    def __init__(self, connection: Limited, own: Bucket | None, total: Bucket | None) -> None:
        super().__init__(connection, own, total)
        # The limit of answers without a rate of their own, and the limit of all connections
        # together; each has at most one share.
        self._own = self._shares[:1] if own is not None else []
        self._total = self._shares[-1:] if total is not None else []
        # The last answer that has a rate of its own, and the limit for it; empty: no limit.
        self._rated: Answer | None = None
        self._rate: list[Share] = []
        # Pairs: the number of a byte of the stream, and the limits that apply from that byte on.
        # Bytes of one answer may still be kept when the next answer begins.
        self._changes: deque[tuple[int, list[Share]]] = deque()

    def allowance(self) -> int:
        """Return how many bytes may pass now, up to where other limits begin to hold."""
        changes, sent = self._changes, self._connection.stream.sent
        while changes and changes[0][0] <= sent:
            self._shares = changes.popleft()[1]
        allowed = super().allowance()
        return min(allowed, changes[0][0] - sent) if changes else allowed

    def spend(self, size: int) -> None:
        """Count `size` bytes that were sent."""
        super().spend(size)
        if not self._connection.stream.buffered:
            self._connection.look_at_sent()

    def _rest(self, now: float, until: float) -> None:
        self._connection.rest_download(now, until)

    def rate(self, response: Answer, rate: int) -> None:
        """Set the rate of an answer that has not begun; 0: no limit."""
        self._rated = response
        # (At the same rate the timetable of the last answer goes on.)
        if not (rate and self._rate and self._rate[0].bucket.rate == rate):
            self._rate = [Share(Bucket(rate, self._time()))] if rate else []

    def rate_of(self, response: Answer) -> int:
        """Return an answer's own rate, or the rate of its connection; 0 if there is none."""
        shares = self._rate if self._rated is response else self._own
        return shares[0].bucket.rate if shares else 0

    @property
    def held_by(self) -> str:
        """The option of the limit that holds most; 'rate' if it is an answer's own, '' for none."""
        if not self._shares:
            return ''
        latest = [max(self._shares, key=lambda share: share.due)]
        return ('worker_download_rate' if latest == self._total else
                'download_rate' if latest == self._own else 'rate')

    def begin(self, response: Answer) -> None:
        """Let the limits of this answer hold from the next byte on."""
        stream = self._connection.stream
        shares = (self._rate if self._rated is response else self._own) + self._total
        if not (shares or stream.buffered or self._rated is response):
            stream.write_limit = None    # Only an earlier answer had a rate.
        elif shares != (self._changes[-1][1] if self._changes else self._shares):
            self._changes.append((stream.sent + stream.buffered, shares))


class Throttles:
    """What the settings say about rates: limits for each new connection."""

    def __init__(self, settings: Settings, time: Callable[[], float]) -> None:
        self._time = time
        self._download = settings.download_rate
        self._upload = settings.upload_rate
        self._downloads = self._bucket(settings.worker_download_rate, _SHARED_PIECES)
        self._uploads = self._bucket(settings.worker_upload_rate, _SHARED_PIECES)
        # Whether there is any limit.
        self.wanted = any((self._download, self._upload, self._downloads, self._uploads))

    def _bucket(self, rate: int, pieces: int = _PIECES) -> Bucket | None:
        return Bucket(rate, self._time(), pieces) if rate else None

    def join(self, connection: Limited) -> None:
        """Set the limits of a new connection."""
        stream = connection.stream
        if self._download or self._downloads:
            own = self._bucket(self._download)
            stream.write_limit = Download(connection, own, self._downloads)
        if self._upload or self._uploads:
            stream.read_limit = Upload(connection, self._bucket(self._upload), self._uploads)


def leave(stream: Stream) -> None:
    """Release the limits of a connection that has ended."""
    for limit in (stream.read_limit, stream.write_limit):
        if isinstance(limit, _Throttle):
            limit.close()
    stream.read_limit = stream.write_limit = None


def rate_of(response: Answer) -> int:
    """Return the rate of an answer in bytes/second; 0 for no limit."""
    limit = response.connection.stream.write_limit
    return limit.rate_of(response) if isinstance(limit, Download) else 0


def held_by(stream: Stream) -> str:
    """Return the option that limits most what a stream sends; '' if none does."""
    limit = stream.write_limit
    return limit.held_by if isinstance(limit, Download) else ''


def begin_answer(response: Answer) -> None:
    """Let the limits of this answer hold from now on, if its connection has limits."""
    limit = response.connection.stream.write_limit
    if isinstance(limit, Download):
        limit.begin(response)

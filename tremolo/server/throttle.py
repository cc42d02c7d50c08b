"""Throttle: how fast bytes may pass, so many a second.

There are up to two limits for each direction of a connection, and the slower of them counts: its
own (`download_rate`, `upload_rate`, or an answer's own rate in place of the former), and one that
all connections of the worker share (`worker_download_rate`, `worker_upload_rate`).

A limit is a `Bucket`: a timetable of pieces, each due when the one before has had its time, that is
`piece / rate`. Who wants to pass takes the next free place, and rests until then. So whoever shares
a bucket gets a piece in turn, and nobody starves.

Who comes late, because the loop was busy, catches up; but places that are gone for longer than
`_LATE` seconds are lost, so that who was idle for an hour has no hour's worth to send.

The stream asks (`Limiter`); these classes tell the deadlines, for a client is never too slow while
it is we who rest. A connection without a limit has none of this.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from ..errors import SettingError
from ..loop import Stream
from ..settings.kinds import KINDS
from . import deadlines
from .errors import HandlerError
from .phases import BUSY, DISCARD, LINGER

if TYPE_CHECKING:
    from ..settings import Settings
    from .connection import Connection
    from .response import Response

_PIECES = 50    # Pieces per second of one connection's limit.
_SHARED_PIECES = 200    # Of one that many share: each of 200 has its turn once a second.
_LATE = 0.03    # Seconds of which a bucket makes up for what was not used.
_NOW = 1e-6    # What is due within so many seconds is due: sums of times are not exact.
_MUCH = 1 << 30    # Bytes that may pass at once where there is no limit.


class Bucket:
    """A limit of `rate` bytes/second, for one or for many."""

    __slots__ = ('_next', 'piece', 'rate')

    def __init__(self, rate: int, now: float, pieces: int = _PIECES) -> None:
        self.rate = rate
        # Bytes: so many pieces a second, fewer if those were not worth a call.
        self.piece = max(1, min(256, rate // 4), rate // pieces)
        self._next = now    # When the next piece is due.

    def reserve(self, now: float) -> float:
        """Take the next place for a piece, and return when it is due."""
        due = max(self._next, now - _LATE)
        self._next = due + self.piece / self.rate
        return due

    def give_back(self, size: int) -> None:
        """Know that `size` bytes of what was reserved will not be used."""
        self._next -= size / self.rate


class Share:
    """The piece that one connection holds of a bucket."""

    __slots__ = ('bucket', 'due', 'left')

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.left = 0     # Bytes of the piece that have not passed yet.
        self.due = 0.0    # When they may.

    def allowance(self, now: float) -> int:
        """Return how many bytes may pass now; reserve a piece if there is none."""
        if not self.left:
            self.left = self.bucket.piece
            self.due = self.bucket.reserve(now)
        return self.left if self.due <= now + _NOW else 0


class _Throttle:
    """A connection's limits for one direction. It fulfils `Limiter`."""

    __slots__ = ('_connection', '_shares', '_time')

    def __init__(self, connection: Connection, *buckets: Bucket | None) -> None:
        self._connection = connection
        self._time = connection.stream.reactor.time
        self._shares = [Share(bucket) for bucket in buckets if bucket is not None]

    def allowance(self) -> int:
        """Return how many bytes may pass now."""
        now, allowed = self._time(), _MUCH
        for share in self._shares:
            # (The later ones reserve nothing while the earlier ones rest.)
            if allowed:
                allowed = min(allowed, share.allowance(now))
        return allowed

    def spend(self, size: int) -> None:
        """Know that `size` bytes passed."""
        for share in self._shares:
            share.left -= size

    def delay(self) -> float:
        """Return after how many seconds to ask again, and let no clock run until then."""
        now = self._time()
        until = max(now, *(share.due for share in self._shares))
        self._rest(now, until)
        return until - now

    def _rest(self, now: float, until: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Leave to others what was reserved."""
        for share in self._shares:
            share.bucket.give_back(share.left)
        self._shares.clear()


class Upload(_Throttle):
    """The limits of what a client sends."""

    __slots__ = ()

    def _rest(self, now: float, until: float) -> None:
        """Know that something has come and is not read before `until`."""
        connection = self._connection
        if connection.phase is BUSY or connection.phase is DISCARD:
            if connection.request_body is not None:
                connection.request_body.minimum_rate.rest(now, until)
        elif connection.phase is not LINGER:
            # (Who lingers has had his answer: the time for what he still sends is not prolonged.)
            connection.count_from(connection.since + until - now)


class Download(_Throttle):
    """The limits of what a client receives; answers may have rates of their own."""

    __slots__ = ('_changes', '_own', '_rate', '_rated', '_total')

    def __init__(self, connection: Connection, own: Bucket | None, total: Bucket | None) -> None:
        super().__init__(connection, own, total)
        # The limit of answers without a rate, and that of all connections together.
        self._own = self._shares[:1] if own is not None else []
        self._total = self._shares[-1:] if total is not None else []
        # The answer that has a rate, and its limit, if that is one.
        self._rated: Response | None = None
        self._rate: list[Share] = []
        # From which byte of the stream on which limits hold: an answer that is made may still be on
        # its way when the next one begins.
        self._changes: deque[tuple[int, list[Share]]] = deque()

    def allowance(self) -> int:
        """Return how many bytes may pass now, none of the next answer if that has another rate."""
        changes, sent = self._changes, self._connection.stream.sent
        while changes and changes[0][0] <= sent:
            self._shares = changes.popleft()[1]
        allowed = super().allowance()
        return min(allowed, changes[0][0] - sent) if changes else allowed

    def spend(self, size: int) -> None:
        """Know that `size` bytes were sent."""
        super().spend(size)
        if not self._connection.stream.buffered:
            deadlines.look_at_sent(self._connection)

    def _rest(self, now: float, until: float) -> None:
        """Know that what is kept waits for us, and not for the client before `until`."""
        deadlines.look_at_sent(self._connection)
        if self._connection.progress is not None:
            self._connection.progress.rest(now, until)

    def rate(self, response: Response, rate: int) -> None:
        """Give an answer that has not begun a rate of its own; 0: no limit."""
        self._rated = response
        # (An answer at the same rate goes on where the last one was.)
        if not (rate and self._rate and self._rate[0].bucket.rate == rate):
            self._rate = [Share(Bucket(rate, self._time()))] if rate else []

    def rate_of(self, response: Response) -> int:
        """Return an answer's own rate, or that of its connection; 0 if there is none."""
        shares = self._rate if self._rated is response else self._own
        return shares[0].bucket.rate if shares else 0

    def begin(self, response: Response) -> None:
        """Know that the next bytes are those of this answer."""
        stream = self._connection.stream
        shares = (self._rate if self._rated is response else self._own) + self._total
        if not (shares or stream.buffered or self._rated is response):
            stream.write_limit = None    # Here ends what an earlier answer wanted for itself.
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
        # Whether there is anything to do.
        self.wanted = any((self._download, self._upload, self._downloads, self._uploads))

    def _bucket(self, rate: int, pieces: int = _PIECES) -> Bucket | None:
        return Bucket(rate, self._time(), pieces) if rate else None

    def join(self, connection: Connection) -> None:
        """Limit a connection that begins."""
        stream = connection.stream
        if self._download or self._downloads:
            own = self._bucket(self._download)
            stream.write_limit = Download(connection, own, self._downloads)
        if self._upload or self._uploads:
            stream.read_limit = Upload(connection, self._bucket(self._upload), self._uploads)


def leave(stream: Stream) -> None:
    """Let go of the limits of a connection that has ended."""
    for limit in (stream.read_limit, stream.write_limit):
        if isinstance(limit, _Throttle):
            limit.close()
    stream.read_limit = stream.write_limit = None


def rate_answer(response: Response, rate: Any) -> None:
    """Give an answer a rate, in bytes/second; None for no limit. Raises `HandlerError`."""
    connection = response.connection
    try:
        number = 0 if rate in (None, 'off') else KINDS['rate'].convert(rate)
    except (SettingError, TypeError, ValueError, BytesWarning):
        number = -1
    if number < 0:
        raise HandlerError(f'rate: {rate!r:.64} is not {KINDS["rate"].accepts}, or None')
    limit = connection.stream.write_limit
    if limit is None:
        limit = connection.stream.write_limit = Download(connection, None, None)
    if isinstance(limit, Download):
        limit.rate(response, number)


def rate_of(response: Response) -> int:
    """Return the rate of an answer in bytes/second; 0 for no limit."""
    limit = response.connection.stream.write_limit
    return limit.rate_of(response) if isinstance(limit, Download) else 0


def begin_answer(response: Response) -> None:
    """Know that an answer begins on a connection that has a limit."""
    limit = response.connection.stream.write_limit
    if isinstance(limit, Download):
        limit.begin(response)

"""Linger: the receiver of what a client still sends after our side has ended.

A handler that answers 401 does not read the upload, and the client does not know that yet. If we
closed while bytes of it are on their way, the kernel would answer with a reset, and the reset would
destroy our answer before the client has read it (RFC 9112 section 9.6). So the bytes are read and
thrown away, for a while:

    as long as the client sends something every `linger_timeout` (2 s): it is slow, but alive
    for 30 s in all
    up to 1 MiB, then nothing more is read: TCP makes the client wait, and within
    `linger_timeout` it can read the answer and leave

What comes in the first `linger_timeout` is read whatever its size: a client that first sends all,
and then reads, loses its answer if we stop, and on a fast line 100 MiB take a second.

A client that still takes a long answer, of which the kernel has what we do not, gets more time
(`timeouts.py`): it may pause for `stall_timeout`, unless connections are scarce.

A server that drains does not wait for slow uploaders: then the bytes are read, but the clock runs
on.

Such an object exists only in this phase, so no other connection carries what it remembers.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import deadlines

if TYPE_CHECKING:
    from ..sockets.transport import Receiver
    from .lifetime import Lifetime

LONGEST = 30.0    # Seconds; if `linger_timeout` is longer, that counts.
MOST = 1 << 20    # Bytes.
_AT_ONCE = 1 << 18    # Bytes that one `recv` asks for, as nobody keeps them.


class Linger:
    """Throws away what a client sends, and lets the clock of LINGER begin anew as long as it may.

    It stands between the stream and the connection, which is told of the end of both.
    """

    __slots__ = ('_begin', '_connection', '_receiver', '_size')

    def __init__(self, connection: Lifetime, receiver: Receiver | None) -> None:
        self._connection = connection
        self._receiver = receiver
        self._begin = connection.since
        self._size = 0

    def start(self) -> None:
        """Begin to read, or read on."""
        stream = self._connection.stream
        stream.resume_reading(_AT_ONCE)
        if (watcher := stream.reactor.watchers.get(stream.fd)) is not None:
            watcher.last = True    # (What serves nobody has its turn when all others had theirs.)

    def data_received(self, data: bytes) -> None:
        """Throw the bytes away: the client makes progress."""
        connection, stream = self._connection, self._connection.stream
        patience = connection.server.settings.linger_timeout
        now = stream.reactor.now
        self._size += len(data)
        if not connection.server.draining:
            connection.count_from(min(now, self._begin + max(LONGEST, patience) - patience))
            deadlines.arm(connection)
        if self._size >= MOST and now - self._begin >= patience:
            stream.pause_reading()

    def eof_received(self) -> None:
        """Close: the client has ended its side too, so nothing can be destroyed any more."""
        self._connection.stream.close()

    def stream_closed(self, cause: BaseException | None) -> None:
        """Tell the connection."""
        if self._receiver is not None:
            self._receiver.stream_closed(cause)

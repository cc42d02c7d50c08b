"""Kernel: what only the kernel knows of a TCP connection, and what it shall watch for us.

A byte that the kernel has taken from us is not yet a byte that the peer has taken: megabytes may
wait in the kernel's buffer while a slow peer reads them. Linux tells how many bytes the peer has
acknowledged, and when it was last heard of (`struct tcp_info`, tcp(7)). Other systems, and sockets
that are no TCP, do not.

A peer that vanishes without a word (a phone without a signal) is found out by SO_KEEPALIVE if
nothing is on its way to it. If something is, the kernel repeats that for a quarter of an hour, so
we ask. (TCP_USER_TIMEOUT is meant for this, and is not used: it also ends a peer that reads all the
time, if its receive buffer is small. Measured on Linux 6.18: 4 KiB, 20 kB/s, no pause longer than
0.3 s, and the connection was ended after 90 seconds of that.)
"""

from __future__ import annotations

import struct
import sys
from contextlib import suppress

from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .transport import Transport

# `struct tcp_info` (linux/tcp.h): tcpi_last_ack_recv, in milliseconds; tcpi_rtt, in microseconds
# (the smoothed time; a client that delays its acknowledgements makes it longer: 28 ms on loopback,
# measured); and tcpi_bytes_acked, which is there since Linux 4.1, as tcpi_bytes_received is.
_INFO = struct.Struct('=56xI8xI48xQ')

# A peer that has something to acknowledge has vanished after so many seconds of silence. (A peer
# that is there and does not read is asked by its kernel at least every 120 seconds.)
_SILENCE = 150
# Seconds until the kernel asks a peer that nothing is on its way to; between two questions; and how
# many stay unanswered before the connection ends.
_KEEP_IDLE, _KEEP_INTERVAL, _KEEP_COUNT = 60, 15, 4


def _ask(sock: Transport, network: Any, form: struct.Struct = _INFO) -> tuple[int, ...] | None:
    """Return the three numbers of `_INFO`, or that of another form, or None. One system call."""
    if sys.platform != 'linux':
        return None    # (FreeBSD has a TCP_INFO too, with other fields.)
    try:
        info = sock.getsockopt(network.IPPROTO_TCP, network.TCP_INFO, form.size)
    except OSError:
        return None    # A UNIX socket, for example.
    # (An old kernel tells less.)
    return form.unpack(info) if isinstance(info, bytes) and len(info) >= form.size else None


class Endpoint:
    """A socket, and what the kernel knows of it and of its peer; a `Stream` is one, and sets it up.

    (Apart from it, so that all that asks the kernel is read in one place.)
    """

    __slots__ = ('_socket', 'closed', 'fd', 'reactor', 'sent')

    reactor: Any    # (The Reactor of loop.)
    fd: int
    sent: int    # Bytes that the kernel has taken since the beginning.
    closed: bool    # Whether the stream has ended and the socket is closed.
    _socket: Transport
    _terminate: Callable[[BaseException | None], None]

    def _watch(self, change: Callable[..., None], *callback: Callable[[], object]) -> None:
        """Change what the reactor watches. If the poller refuses that, the connection ends.

        It ends a moment later: who reads or writes now counts on a stream that is open.
        """
        try:
            change(self.fd, *callback)
        except OSError as error:
            self.reactor.call_soon(self._terminate, error)

    @property
    def peer(self) -> Any:
        """The peer's address as the socket returns it; None when the socket has lost it."""
        with suppress(OSError):
            return self._socket.getpeername()
        return None

    @property
    def sockname(self) -> Any:
        """Our own address as the socket returns it; None once the stream is closed."""
        return None if self.closed else self._socket.getsockname()

    @property
    def secure(self) -> bool:
        """Whether the bytes are encrypted on the wire; it never changes."""
        return getattr(self._socket, 'secure', False)

    @property
    def tls(self) -> Any:
        """The `ssl.SSLObject` of an encrypted stream, for its facts; None of another."""
        return getattr(self._socket, 'tls', None)

    @property
    def is_plain(self) -> bool:
        """Whether it is a socket of the kernel, so that what that sends by itself arrives."""
        return type(self._socket) is self.reactor.network.socket

    def acknowledged(self) -> int | None:
        """Return how many bytes the peer's kernel has taken; None if our kernel cannot tell."""
        found = _ask(self._socket, self.reactor.network)
        return None if found is None else found[2] - getattr(self._socket, 'overhead', 0)

    def received(self) -> int | None:
        """Return how many bytes have come, encrypted ones as well; None if nobody can tell."""
        found = _ask(self._socket, self.reactor.network, struct.Struct('=128xQ'))
        return None if found is None else found[0]

    def has_vanished(self) -> bool:
        """Tell whether the peer has acknowledged nothing for minutes, though it should."""
        found = _ask(self._socket, self.reactor.network)
        return (found is not None and found[0] > _SILENCE * 1000
                and found[2] - getattr(self._socket, 'overhead', 0) < self.sent)

    @property
    def round_trip(self) -> float | None:
        """The round trip to the peer and back, in seconds; None if the kernel cannot say."""
        return round_trip(self._socket, self.reactor.network)


def round_trip(sock: Transport, network: Any) -> float | None:
    """Return the seconds of a segment and its acknowledgement; None if the kernel cannot say.

    On a UNIX socket they are 0. A transport that encrypts is not asked.
    """
    if getattr(sock, 'family', None) == getattr(network, 'AF_UNIX', -1):
        return 0.0
    found = None if getattr(sock, 'secure', False) else _ask(sock, network)
    # (0: nothing was measured yet.)
    return found[1] / 1_000_000 if found is not None and found[1] else None


def watch_peers(sock: Any, network: Any) -> None:
    """Let the kernel find out peers that have vanished; all that a listener accepts inherit it.

    Systems without these options watch as they do by default.
    """
    for level, option, value in (
        ('SOL_SOCKET', 'SO_KEEPALIVE', 1), ('IPPROTO_TCP', 'TCP_KEEPIDLE', _KEEP_IDLE),
        ('IPPROTO_TCP', 'TCP_KEEPINTVL', _KEEP_INTERVAL),
        ('IPPROTO_TCP', 'TCP_KEEPCNT', _KEEP_COUNT),
    ):
        if hasattr(network, option):
            try:
                sock.setsockopt(getattr(network, level), getattr(network, option), value)
            except OSError:
                return    # A socket that is no TCP.

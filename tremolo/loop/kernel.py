"""Kernel: what only the kernel knows of a TCP connection, and what it shall watch for us.

A byte that the kernel has taken from us is not yet a byte that the peer has taken: megabytes may
wait in the kernel's buffer while a slow peer reads them. Linux tells how many bytes the peer has
acknowledged (`struct tcp_info`, tcp(7)). Other systems, and sockets that are no TCP, do not.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .transport import Transport

# Where `struct tcp_info` (linux/tcp.h) has tcpi_bytes_acked, since Linux 4.1.
_ACKED = struct.Struct('=120xQ')

# Seconds of silence before the kernel asks whether the peer is still there, and between two
# questions.
_KEEP_IDLE = 60
_KEEP_INTERVAL = 15


def acknowledged(sock: Transport, network: Any) -> int | None:
    """Return how many bytes the peer's kernel has taken since the beginning; None: not known."""
    if sys.platform != 'linux':
        return None    # (FreeBSD has a TCP_INFO too, with other fields.)
    try:
        info = sock.getsockopt(network.IPPROTO_TCP, network.TCP_INFO, _ACKED.size)
    except OSError:
        return None    # A UNIX socket, for example.
    if not isinstance(info, bytes) or len(info) < _ACKED.size:
        return None    # An old kernel.
    acked: int = _ACKED.unpack(info)[0]
    return acked


def watch_peers(sock: Any, network: Any, seconds: float) -> None:
    """Let the kernel end connections of a listener whose peer has vanished without a word.

    The peer is gone when it has answered nothing for `seconds`: neither a question (SO_KEEPALIVE)
    nor bytes that were sent to it (TCP_USER_TIMEOUT; RFC 5482). A peer that is there and reads
    nothing for so long is ended as well (measured on Linux), so `seconds` has to be longer than
    the longest pause that is allowed; 0 leaves the time to the system. What is set on a listener
    holds for the connections that it accepts. Systems without these options watch as they do by
    default.
    """
    for level, option, value in (
        ('SOL_SOCKET', 'SO_KEEPALIVE', 1), ('IPPROTO_TCP', 'TCP_KEEPIDLE', _KEEP_IDLE),
        ('IPPROTO_TCP', 'TCP_KEEPINTVL', _KEEP_INTERVAL),
        ('IPPROTO_TCP', 'TCP_USER_TIMEOUT', min(int(seconds * 1000), 2**31 - 1)),
    ):
        if hasattr(network, option):
            try:
                sock.setsockopt(getattr(network, level), getattr(network, option), value)
            except OSError:
                return    # A socket that is no TCP.

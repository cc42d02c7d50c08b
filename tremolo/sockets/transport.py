"""Transport, Receiver, Limiter: the three objects that a Stream calls.

    Receiver     above:  takes the bytes that arrive, and is told about the ends
    Stream               buffers, watermarks, rates, the order of the ends
    Transport    below:  moves bytes, and never waits
    Limiter      beside: says how many bytes may pass now

The Transport is the one place where a Stream meets its connection. A plain non-blocking socket is
a Transport as it is, and nothing is put around it: with TCP a Stream calls the socket itself.
Encryption (TLS) is another object in the place of the socket. These types exist for readers and
for mypy; nothing at run time imports or checks them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..typed import Any, Protocol, Union

Buffer = Union[bytes, bytearray, memoryview]


class Transport(Protocol):
    """A connected socket that never waits, or an object that does the same with encryption.

    Each call does what it can do now. It raises `BlockingIOError` when it can do nothing now, and
    another `OSError` when the connection is broken. (`ssl.SSLWantReadError` is an `OSError`, but no
    `BlockingIOError`: a TLS transport translates it.) A handshake comes before the Stream.

    Four members are optional; a plain socket has none of them:

        pending() -> int    whether a library has taken bytes from the kernel that `recv` may return
                            next. No poller sees them, so the Stream reads on until it returns 0.
        secure: bool        whether the bytes are encrypted (the scheme is then https)
        tls                 the `ssl.SSLObject`, for what it knows of the peer
        overhead: int       bytes that are on the wire beyond those that `send` has reported

    A file is sent by the kernel (`sendfile`) only on a plain socket: everything else is asked to
    `send` what was read.
    """

    def recv(self, size: int, /) -> bytes:
        """Return 1 to `size` bytes, or b'' when the peer has ended its side in good order."""

    def send(self, data: Buffer, /) -> int:
        """Send some or all of `data`; return the number of its bytes that were taken.

        After a `BlockingIOError` or a partial send the next call, of `send` or of `sendmsg`, begins
        with the bytes that were not taken. It may offer fewer bytes than the refused call did, if
        a rate limit came in between. A library that must repeat a refused write exactly (OpenSSL)
        keeps that write, repeats it, and returns its size, even if the new call offers less.
        """

    def sendmsg(self, buffers: Sequence[Buffer], /) -> int:
        """Send several pieces as one; a transport without that call sends the first piece only."""

    def shutdown(self, how: int, /) -> None:
        """End our side (`SHUT_WR`). After `BlockingIOError` it is called again when writable.

        With encryption it first tells the peer that all was sent. It is called before a `close`
        that is in good order, too, perhaps for a second time.
        """

    def getsockopt(self, level: int, option: int, size: int = 0, /) -> Any:
        """Return an option of the socket: `SO_ERROR`, for a peer that hung up.

        With a `size` the option is bytes: `TCP_INFO`, for what the peer has acknowledged.
        """

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        """Set an option of the socket: `SO_LINGER`, for a `close` that resets the connection."""

    def getpeername(self) -> Any:
        """Return the address of the peer. Raises `OSError` when it is gone."""

    def getsockname(self) -> Any:
        """Return our own address."""

    def fileno(self) -> int:
        """Return the descriptor that the poller watches; it stays the same until `close`."""

    def close(self) -> None:
        """Close the socket at once; what was sent is delivered unless `SO_LINGER` forbids it."""


class Receiver(Protocol):
    """A protocol that a Stream calls."""

    def data_received(self, data: bytes) -> None:
        """Take bytes; call `pause_reading` if there are enough."""

    def eof_received(self) -> None:
        """Record that the peer sends no more; it may still read."""

    def stream_closed(self, cause: BaseException | None) -> None:
        """Record that the stream has ended, also by `close` and `abort`. This is the last call."""


class Limiter(Protocol):
    """A rate limit for one direction; a token bucket, for example."""

    def allowance(self) -> int:
        """Return how many bytes may pass now."""

    def spend(self, size: int) -> None:
        """Record that `size` bytes passed."""

    def delay(self) -> float:
        """Return after how many seconds to ask for an allowance again."""

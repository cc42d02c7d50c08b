"""Piece: bytes that are not in memory, and that send themselves: a part of a file, for example.

    stream.write(head, (piece,))

It waits in the outbox as other pieces do, and counts as many bytes as it still has to send. The
stream closes it once: when its last byte is sent, or when the stream ends before.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .transport import Transport


class PieceFailed(Exception):
    """The bytes of a piece are not there; the stream then calls `Piece.failed`."""

    def __init__(self, piece: Piece, why: str) -> None:
        super().__init__(why)
        self.piece = piece


class Piece:
    """What a stream asks of such a piece. Its length is the number of bytes that are not sent."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def send(self, sock: Transport, is_plain: bool, most: int | None) -> int:
        """Send some bytes, at most `most`, and return how many were taken.

        `is_plain` tells whether it is a socket of the kernel, so that what the kernel copies to its
        descriptor arrives. Raises `OSError` as the socket does, and `PieceFailed`.
        """
        raise NotImplementedError

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes, which were sent. Called for its last byte, too."""
        raise NotImplementedError

    def failed(self, why: str) -> None:
        """End the stream: what was announced cannot be sent."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what it holds; harmless when that was done."""
        raise NotImplementedError

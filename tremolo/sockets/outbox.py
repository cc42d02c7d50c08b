"""Outbox: pieces that wait to be sent, because the kernel took no more.

It holds the very objects that were written: a piece that many streams send exists once. A `Piece`
has bytes that are not in memory, those of a file for example, and sends itself:

    stream.write(head, (piece,))

It counts as many bytes as it still has to send. The stream closes it once: when its last byte is
sent, or when the stream ends before.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .transport import Buffer, Transport

_MOST_BUFFERS = 64    # Pieces in one `sendmsg`: IOV_MAX is at least 16, on Linux it is 1,024.


class PieceFailed(Exception):
    """The bytes of a piece are not there; the stream then calls `Piece.failed`."""

    def __init__(self, piece: Piece, why: str) -> None:
        super().__init__(why)
        self.piece = piece


class Piece:
    """Bytes that send themselves. Its length is the number of those that are not sent."""

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


class Outbox(deque['Buffer | Piece']):
    """A queue of pieces, the oldest first."""

    __slots__ = ('_ahead',)

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 1    # Where the next piece is put that goes ahead: the first may have begun.

    def put_ahead(self, data: Buffer, last: bool) -> int:
        """Put a piece before those that have not begun, and behind those that were put so before.

        With `last` the pieces behind it are dropped. Return by how many bytes the queue has grown.
        """
        place, dropped = self._ahead, 0
        while last and len(self) > place:
            dropped += self._drop_last()
        self.insert(place, data)
        self._ahead = place + 1
        return len(data) - dropped

    def first(self, size: int | None = None) -> list[Any]:
        """Return the first pieces, cut to `size` bytes, for one `sendmsg`; a `Piece` ends them."""
        pieces: list[Any] = list(islice(self, _MOST_BUFFERS))
        for number, piece in enumerate(pieces):
            if isinstance(piece, Piece):
                del pieces[number:]
                break
        if size is not None:
            for number, piece in enumerate(pieces):
                if len(piece) >= size:
                    pieces[number:] = [memoryview(piece)[:size]]
                    break
                size -= len(piece)
        return pieces

    def send(self, sock: Transport, is_plain: bool, size: int | None) -> int:
        """Send from the first pieces, at most `size` bytes; return how many were taken.

        Raises what `Piece.send` raises.
        """
        piece = self[0]
        if isinstance(piece, Piece):
            return piece.send(sock, is_plain, size)
        return sock.sendmsg(self.first(size))

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes, which were sent."""
        while size:
            piece = self.popleft()
            taken = min(size, len(piece))
            rest = len(piece) - taken
            if isinstance(piece, Piece):
                piece.drop(taken)
            elif rest:
                piece = memoryview(piece)[taken:]
            if rest:
                self.appendleft(piece)
            else:
                self._ahead = max(1, self._ahead - 1)
            size -= taken

    def close(self) -> None:
        """Drop all pieces, and close those that hold something."""
        while self:
            self._drop_last()

    def _drop_last(self) -> int:
        """Drop the last piece, and return its size."""
        piece = self.pop()
        if isinstance(piece, Piece):
            piece.close()
        return len(piece)

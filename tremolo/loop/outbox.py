"""Outbox: pieces that wait to be sent, because the kernel took no more.

It holds the very objects that were written: a piece that many streams send exists once.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .transport import Buffer

_MOST_BUFFERS = 64    # Pieces in one `sendmsg`: IOV_MAX is at least 16, on Linux it is 1,024.


class Outbox(deque['Buffer']):
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
            dropped += len(self.pop())
        self.insert(place, data)
        self._ahead = place + 1
        return len(data) - dropped

    def first(self, size: int | None = None) -> list[Buffer]:
        """Return the first pieces, cut to `size` bytes, for one `sendmsg`."""
        pieces = list(islice(self, _MOST_BUFFERS))
        if size is not None:
            for number, piece in enumerate(pieces):
                if len(piece) >= size:
                    pieces[number:] = [memoryview(piece)[:size]]
                    break
                size -= len(piece)
        return pieces

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes, which were sent."""
        while size:
            piece = self.popleft()
            if len(piece) > size:
                self.appendleft(memoryview(piece)[size:])
            else:
                self._ahead = max(1, self._ahead - 1)
            size -= min(size, len(piece))

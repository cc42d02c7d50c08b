"""Piece: a part of a file that a stream sends, without holding it in memory.

On a plain socket the kernel copies from the file to the socket (`sendfile`). A transport that
encrypts, and a file that is no real one (a BytesIO), get pieces that are read here. Reading may
wait for the disk, and then the whole loop does.
"""

from __future__ import annotations

import os

from ..sockets.outbox import Piece, PieceFailed
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from ..sockets.transport import Transport

# Bytes that the kernel sends in one call, so in one turn: others wait for them, on loopback 0.4 ms.
# (Measured beside nginx, which sends as many: with 512 KiB 0.7 of its throughput, with 1 MiB 0.75,
# with 2 MiB 0.8 and more; beyond that nothing is gained.)
_AT_ONCE = 1 << 21
_READ = 1 << 18    # Bytes that are read at once where the kernel does not send by itself.
_sendfile: Callable[..., int] | None = getattr(os, 'sendfile', None)


def is_closed(file: Any) -> bool:
    """Tell whether a file is closed, as far as it says so."""
    return bool(getattr(file, 'closed', False))


class FilePiece(Piece):
    """`size` bytes of a file from `offset` on.

    `file` is binary and can seek; its position moves. `failed` is called with the reason if the
    file has too few bytes, or cannot be read. The file is closed with the `last` of its pieces.
    """

    __slots__ = ('_ahead', '_fd', '_file', '_left', '_offset', '_on_failure', 'last')

    def __init__(self, file: Any, fd: int, offset: int, size: int,
                 on_failure: Callable[[str], None], last: bool = True) -> None:
        """`fd` is the descriptor of a regular file with the bytes of `file`; -1 for none."""
        self._file = file
        self._fd = fd
        self._offset = offset    # Of the first byte that is not sent.
        self._left = size    # Bytes that are not sent.
        self._ahead = memoryview(b'')    # Bytes that are read, and not sent.
        self._on_failure = on_failure
        self.last = last

    def __len__(self) -> int:
        return self._left

    def send(self, sock: Transport, is_plain: bool, most: int | None) -> int:
        """Send some bytes. Raises `OSError` as a socket does, and `PieceFailed`."""
        size = min(self._left, _AT_ONCE if most is None else most, _AT_ONCE)
        # (If somebody else has closed the file, its descriptor may be that of another one by now.)
        if is_plain and self._fd >= 0 and _sendfile is not None and not is_closed(self._file):
            try:
                sent = _sendfile(sock.fileno(), self._fd, self._offset, size)
            except (BlockingIOError, InterruptedError, ConnectionError):
                raise
            except OSError:
                # It may be the file (one of a file system that cannot do this; a broken disk), or
                # the socket: to read and to send tells them apart.
                self._fd = -1
            else:
                if not sent:
                    raise self._too_short()
                return sent
        if not self._ahead:
            self._ahead = self._read(min(self._left, _READ))
        return sock.send(self._ahead[:size])

    def _read(self, size: int) -> memoryview:
        try:
            self._file.seek(self._offset)
            data = memoryview(self._file.read(size))[:size]
        except Exception as error:    # (It may be anybody's object.)
            raise PieceFailed(self, f'{type(error).__name__}: {error}') from error
        if not data:
            raise self._too_short()
        return data

    def _too_short(self) -> PieceFailed:
        return PieceFailed(self, f'it ended {self._left:,} bytes too early')

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes, which were sent."""
        self._offset += size
        self._left -= size
        self._ahead = self._ahead[size:]
        if self.last and not self._left:
            self.close()

    def failed(self, why: str) -> None:
        """Tell the owner, who aborts the stream."""
        self._on_failure(why)

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        self._fd = -1
        self._file.close()

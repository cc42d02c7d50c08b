"""File wrapper: `environ['wsgi.file_wrapper'](file, 8192)`, and a file that the kernel sends.

A regular file that is open in binary is sent by `sendfile` (files/piece.py), from its position on;
anything else that has `read` is iterated. The application decides the status and all fields: there
are no ranges and no conditions here.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator

from ..files.piece import FilePiece
from ..typed import Any, Callable, NamedTuple


class FileWrapper:
    """A file as the answer of an application (PEP 3333, "Optional Platform-Specific File…").

    It may be iterated by the application, too, like any other answer.
    """

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize

    def __iter__(self) -> Iterator[bytes]:
        while data := self.filelike.read(self.blksize):
            yield data

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.filelike, 'close', None)
        if close is not None:
            close()


class Found(NamedTuple):
    """A regular file: its descriptor, its position, and the bytes from there to its end."""

    file: Any
    fd: int
    begin: int
    size: int

    def part(self, size: int) -> Found:
        """Return the same with fewer bytes."""
        return Found(self.file, self.fd, self.begin, size)


def regular(file: Any) -> Found | None:
    """Return what is to be known of a regular file; None if it is no such file."""
    # (An object with a `fileno` may have other bytes than its descriptor: a GzipFile has.)
    raw = getattr(file, 'raw', file)
    if type(raw) is not io.FileIO or not raw.readable():
        return None
    found = os.fstat(raw.fileno())
    if not stat.S_ISREG(found.st_mode):
        return None
    if file.writable():
        file.flush()    # (It may still hold what was written to it.)
        found = os.fstat(raw.fileno())
    begin = file.tell()
    return Found(file, raw.fileno(), begin, max(0, found.st_size - begin))


class Borrowed(FilePiece):
    """A part of a file that belongs to the application: it is not closed when it is sent."""

    __slots__ = ('_on_end',)

    def __init__(self, found: Found, on_failure: Callable[[str], None],
                 on_end: Callable[[], None]) -> None:
        """`on_end` is called when it is sent, or dropped; maybe more than once."""
        super().__init__(found.file, found.fd, found.begin, found.size, on_failure)
        self._on_end = on_end

    def close(self) -> None:
        """Forget the file."""
        self._fd = -1
        self._on_end()

"""Board: the file that all processes of a server count in: a head, and a block for each process.

    board = Board.new()
    block = board.claim()            # in each process that serves
    for words, times, alive in board.read(): ...

The file has no name. Its descriptor goes from process to process by fork, and from program to
program by exec, as that of the locks does. What was counted there outlives each process: a SIGKILL
loses nothing.

Who may write to a block? The process that holds the record lock (fcntl(2)) on its first byte: the
kernel gives it to one process, and takes it back when that ends, in whatever way. So an old worker
that drains and its successor never share a block; the next process goes on with the counters of one
that has ended; and a reader knows whose gauges count. There are as many blocks as there were ever
processes at once.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

from ..machine import unnamed_file
from ..typed import Any
from .layout import HEAD_SIZE, MARK, SIZE


class Board:
    """The file. `fd` is -1 where no other process can have it (Windows)."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # The block of this process, mapped, and its number. (To unmap a block closes a descriptor
        # of the file, and with any of them a process loses all of its locks. So what it has
        # inherited by fork stays mapped behind its own.)
        self._maps: list[Any] = []
        self._number = -1

    @classmethod
    def new(cls) -> Board:
        """Make the file. Raises `OSError`."""
        if not hasattr(os, 'pread'):
            return cls(-1)
        fd = unnamed_file('metrics')
        os.pwrite(fd, MARK, 0)
        return cls(fd)

    @classmethod
    def found(cls, fd: int) -> Board | None:
        """Return the board of an inherited descriptor; None if its layout is another one."""
        try:
            return cls(fd) if os.pread(fd, len(MARK), 0) == MARK else None
        except OSError:
            return None

    def claim(self) -> Any:
        """Return the block of this process, mapped into memory. Raises `OSError`."""
        if self.fd < 0:
            self._maps.append(mmap.mmap(-1, SIZE))
            return self._maps[-1]
        number = 0
        while not self._lock(number):
            number += 1
        # One byte at its end, if nothing is there yet: to write never makes the file shorter, as to
        # truncate could, when another process claims the next block at this moment.
        last = _offset(number + 1) - 1
        os.pwrite(self.fd, os.pread(self.fd, 1, last) or b'\0', last)
        self._number = number
        self._maps.append(mmap.mmap(self.fd, SIZE, offset=_offset(number)))
        return self._maps[-1]

    def read(self) -> Iterator[tuple[Any, Any, bool]]:
        """Read each block: as whole numbers, as floats, and whether its process lives."""
        number = 0
        while data := self._block(number):
            words = memoryview(data)
            yield words.cast('Q'), words.cast('d'), self._alive(number)
            number += 1

    def close(self) -> None:
        """Close the file in this process, and its block, of which no view may be left."""
        while self._maps:
            self._maps.pop().close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _block(self, number: int) -> bytes:
        if self.fd < 0:
            return b'' if number or not self._maps else bytes(self._maps[-1])
        data = os.pread(self.fd, SIZE, _offset(number))
        return data if len(data) == SIZE else b''

    def _alive(self, number: int) -> bool:
        # (Our own lock we would get again, and then lose.)
        if self.fd < 0 or number == self._number:
            return True
        if not self._lock(number):
            return True
        import fcntl
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, _offset(number))
        return False

    def _lock(self, number: int) -> bool:
        """Lock a block; return False if another process has it."""
        import fcntl
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(number))
        except (BlockingIOError, PermissionError):
            return False
        return True


def _offset(number: int) -> int:
    return HEAD_SIZE + number * SIZE

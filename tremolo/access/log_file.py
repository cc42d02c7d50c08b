"""LogFile: writes whole lines to a file, a pipe or a terminal; each of its calls may block.

Workers share the file. Each opens it by itself, with O_APPEND, so what it writes is put behind what
the others have written, also after the file was cut to nothing (logrotate's `copytruncate`). A pipe
takes 4,096 bytes at once (PIPE_BUF), or none of them; more could be mixed with what others write,
and would be half written if its reader stops. So whole lines of so many bytes together are written
there. A longer line is cut where workers share the pipe.

If a disk is full in the middle of a line, the part that is in the file is cut off again. So the
line can be written as a whole when there is room. (Only a worker that writes in this very moment,
between our look at the end of the file and the cut, may lose lines by that.)

O_NONBLOCK is never set on stdout: the flag would hold for all programs that share it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import stat
import sys

from ..errors import LogError
from ..typed import Callable

STDOUT = '-'
Cut = Callable[[bytes, int], bytes]
_AT_ONCE = getattr(select, 'PIPE_BUF', 4096)    # Bytes that a pipe takes at once: pipe(7).
_MORE = b'...\n'    # The end of a line that was cut.


def open_log(path: str) -> int:
    """Return a descriptor of a log: of stdout for '-'; a file is made, or appended to.

    Raises `LogError`, a line that names the path.
    """
    try:
        if path == STDOUT:
            # (If the program closes its stdout, the number 1 may soon be that of a client; and if
            # it was closed before Python began, it may be that of a database already.)
            if sys.__stdout__ is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return os.dup(1)
        # (O_NONBLOCK: a FIFO that nobody reads is refused, ENXIO, and not waited for. The flag
        # belongs to this opening alone, and a file does not know it.)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, 'O_NONBLOCK', 0)
        return os.open(path, flags | getattr(os, 'O_NOCTTY', 0), 0o666)
    except OSError as error:
        raise LogError(f'the log {shown(path)} cannot be written: {error.strerror}') from error


def shown(path: str) -> str:
    """Return how messages name a log."""
    return 'on stdout' if path == STDOUT else path


def check_log(path: str) -> None:
    """Raise `LogError` if this log cannot be written; '' is none. (The file is made.)"""
    if path:
        os.close(open_log(path))


def cut_plainly(line: bytes, most: int) -> bytes:
    """Return the begin of a line, of so many bytes."""
    return line[:most - len(_MORE)] + _MORE


def cut_json(line: bytes, most: int) -> bytes:
    """Return the line, a JSON object, with its longest texts cut: of so many bytes at most."""
    values = json.loads(line)
    while len(line) > most:
        name = max(values, key=lambda name: len(str(values[name])))
        text = values[name]
        values[name] = text[:max(0, len(text) - (len(line) - most) - 3)] + '...'
        line = json.dumps(values, separators=(',', ':')).encode('ascii') + b'\n'
    return line


class LogFile:
    """A log that is open."""

    def __init__(self, path: str, shared: bool, cut: Cut = cut_plainly) -> None:
        """Open it. `shared`: other processes write there, too. Raises `LogError`.

        `cut` makes a line shorter that is too long for a pipe.
        """
        self._path = path
        self._cut_line = cut
        self._fd = open_log(path)
        self._shared = shared
        self._torn = False    # Whether a part of a line stands at its end.
        self._look()

    def _look(self) -> None:
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self.at_once = sys.maxsize if self._regular else _AT_ONCE    # Bytes of one write, at most.

    def reopen(self) -> None:
        """Open what has the name now. Raises `LogError`, and keeps what was open."""
        before, self._fd = self._fd, open_log(self._path)
        with contextlib.suppress(OSError):    # (What a network file system tells only now is lost.)
            os.close(before)
        self._torn = False
        self._look()

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            os.close(self._fd)

    def write(self, lines: bytes) -> int:
        """Write lines, or some of them; return how many bytes need not be written any more.

        Raises `OSError` if none was written; `BlockingIOError` if it is a pipe that is full.
        """
        if self._torn:
            os.write(self._fd, b'\n')
            self._torn = False
        if self._regular:
            return self._append(lines)
        if len(lines) <= self.at_once:
            return os.write(self._fd, lines)
        end = lines.rfind(b'\n', 0, self.at_once) + 1
        if end:
            return os.write(self._fd, lines[:end])
        end = lines.index(b'\n') + 1
        if not self._shared:
            return os.write(self._fd, lines[:end])
        os.write(self._fd, self._cut_line(lines[:end], self.at_once))
        return end

    def _append(self, lines: bytes) -> int:
        """Write to a file; what is in it afterwards are whole lines."""
        written = 0
        try:
            while written < len(lines):
                # (Less than all: the disk has become full, or a quota. The next one says so.)
                written += os.write(self._fd, lines[written:] if written else lines)
        except OSError:
            whole = lines.rfind(b'\n', 0, written) + 1
            if whole < written:
                self._cut(written - whole)
            if not whole:
                raise
            return whole
        return written

    def _cut(self, size: int) -> None:
        """Take so many bytes off the end that was written last, unless there is more behind it."""
        self._torn = True
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            if os.fstat(self._fd).st_size == end:
                os.ftruncate(self._fd, end - size)
                # (Stdout may be a file that was not opened to append.)
                os.lseek(self._fd, end - size, os.SEEK_SET)
                self._torn = False
        except OSError:    # (A file may be such that it only grows: chattr +a.)
            pass

    def wait(self, seconds: float) -> bool:
        """Wait until a pipe has room, at most so long; return whether it has."""
        if not hasattr(select, 'poll'):
            return False
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

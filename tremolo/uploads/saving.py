"""Saving: a part becomes a file on disk, written on worker threads.

The pieces of a part are collected up to a megabyte, and written by one job. While that job runs
nothing more is read: the client waits, and memory stays flat. A small file is one job: it is
opened, written, closed and renamed.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from itertools import count

from ..loop import run_in_thread
from ..server import Response
from ..server.errors import raise_if_scarce
from .upload import Steps, Upload, check

# Bytes that one job writes. A job costs 0.06 ms of CPU, to write them 0.4 ms.
_BATCH = 1 << 20
_PIECES = 256    # The most pieces of them: a slow client sends tiny ones.
# Names of files that are being written: a number by chance, and for each process and file another.
# (Not by chance for each: on PyPy that opens a file, which fails at the limit of descriptors.)
_FIRST = int.from_bytes(os.urandom(8), 'big')
_numbers = count()


def save(upload: Upload, response: Response, path: str) -> Steps:
    """Write the rest of the part to a file; return its size in bytes. Raises `OSError`."""
    file = NewFile(path)
    size, last = 0, False
    try:
        while not last:
            pieces: list[bytes] = []
            end = size + _BATCH
            while size < end and len(pieces) < _PIECES:
                piece = yield from upload.piece()
                if not piece:
                    last = True
                    break
                pieces.append(piece)
                size += len(piece)
            check(response)
            yield run_in_thread(file.write, pieces, last)
    except GeneratorExit:    # The reactor closes; soon there is nobody who could do it.
        file.discard(patience=1)
        raise
    except BaseException:
        try:
            yield run_in_thread(file.discard)    # (To remove a large file takes a while.)
        finally:
            file.discard()    # (The thread has done it, unless there is none.)
        raise
    return size


def _name() -> str:
    return f'.upload-{(_FIRST + (os.getpid() << 32) + next(_numbers)) % (1 << 64):016x}'


class NewFile:
    """A file that is being written. Its methods may be called on any thread."""

    def __init__(self, path: str) -> None:
        if '\0' in path:
            raise ValueError('a path holds no NUL')
        self._path = path
        folder = os.path.dirname(path)
        # A hidden name, which no static folder shows; of a fixed length, since `path` may have the
        # longest name that there may be.
        self._temporary = os.path.join(folder, _name())
        self._fd = -1
        self._begun = False    # Whether there is a file of the temporary name.
        self._over = False    # Whether it is complete or removed.
        self._unwanted = False
        # Held by a job that writes. No job can be stopped, and its descriptor must not be closed:
        # the next moment it may be that of another file.
        self._lock = threading.Lock()

    def write(self, pieces: list[bytes], last: bool) -> None:
        """Append pieces; after the last ones give the file its name. Raises `OSError`."""
        try:
            with self._lock:
                if not self._over:
                    self._write(pieces, last)
        finally:
            if self._unwanted:
                self.discard()

    def _write(self, pieces: list[bytes], last: bool) -> None:
        if not self._begun:
            self._open()
        # (All of them in one call, mostly: to join them would be a copy of each byte.)
        written = os.writev(self._fd, pieces) if pieces and hasattr(os, 'writev') else 0
        if written < sum(map(len, pieces)):
            data = memoryview(b''.join(pieces))[written:]
            while data:
                data = data[os.write(self._fd, data):]
        if last:
            fd, self._fd = self._fd, -1
            os.close(fd)
            os.replace(self._temporary, self._path)
            self._over = True

    def _open(self) -> None:
        if os.path.isdir(self._path):
            raise IsADirectoryError(f'{self._path!r} is a folder: write the name of a file')
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)
        try:
            self._fd = os.open(self._temporary, flags, 0o666)
        except FileExistsError:    # A process that had our number was killed.
            self._temporary = os.path.join(os.path.dirname(self._path), _name())
            return self._open()
        except OSError as error:
            raise_if_scarce(error)
            raise
        self._begun = True
        return None

    def discard(self, patience: float = 0) -> None:
        """Close and remove what was written, unless the file is complete. Raises nothing.

        It waits up to `patience` seconds for a job that writes; after that the job does it in the
        end. (A disk that hangs must not hold up the loop.)
        """
        self._unwanted = True
        if not self._lock.acquire(timeout=patience):
            return
        try:
            if not self._over:
                self._over = True
                self._remove()
        finally:
            self._lock.release()

    def _remove(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
        if self._begun:
            with suppress(OSError):
                os.remove(self._temporary)

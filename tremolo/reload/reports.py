"""Reports: what a worker tells of the files that it imports, and why it could not start.

Both go by descriptors that worker and supervisor share, through a fork and through exec: a pipe,
a line of JSON for each file; and a file without a name, that holds the page of a failure. Each line
has the number of its worker: what the one before tells is out of date.
"""

from __future__ import annotations

import contextlib
import json
import os
import select

from ..machine import unnamed_file
from ..typed import Any
from .files import Signature


class Reports:
    """The two descriptors of a pipe, and that of the file of the page."""

    def __init__(self, files: int, page: int, number: int = 0) -> None:
        self.files = files    # The end that is written to.
        self.page = page
        self.number = number
        self._inodes = {fd: os.fstat(fd).st_ino for fd in (files, page)}

    def _is_ours(self, fd: int) -> bool:
        """Tell whether that is still open: a program may close all that it does not know."""
        return os.fstat(fd).st_ino == self._inodes[fd]

    def tell(self, path: str, known: Signature) -> None:
        """Tell that a file is imported, and how it was before it was read."""
        line = json.dumps([self.number, path, known]).encode() + b'\n'
        # (Longer ones could be torn apart by those of another thread.)
        if len(line) <= select.PIPE_BUF:
            with contextlib.suppress(OSError):
                if self._is_ours(self.files):
                    os.write(self.files, line)

    def write_page(self, page: dict[str, Any]) -> None:
        """Keep the page of a failure: `status`, `html`, `text`, `mistake`; {}: there is none."""
        data = json.dumps(page).encode() if page else b''
        with contextlib.suppress(OSError):
            if self._is_ours(self.page):
                os.ftruncate(self.page, 0)
                os.pwrite(self.page, data, 0)

    def read_page(self) -> dict[str, Any]:
        """Return what `write_page` has kept."""
        try:
            page = json.loads(os.pread(self.page, os.fstat(self.page).st_size, 0))
        except (OSError, ValueError):    # (Nothing; or it is written at this moment.)
            return {}
        return page if isinstance(page, dict) else {}

    def inheritable(self) -> list[int]:
        """Let a program that this process becomes have them; return what it needs to know."""
        for fd in (self.files, self.page):
            os.set_inheritable(fd, True)
        return [self.files, self.page, self.number]


class Received:
    """The supervisor's side: reads the pipe."""

    def __init__(self) -> None:
        self.end, files = os.pipe()
        os.set_blocking(self.end, False)
        self.reports = Reports(files, unnamed_file('page'))
        self._rest = b''

    def read(self) -> list[tuple[str, Signature]]:
        """Return what the newest worker has told since the last call."""
        found: list[tuple[str, Signature]] = []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.end, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b'\n')
                for line in lines:
                    with contextlib.suppress(ValueError, TypeError):
                        number, path, known = json.loads(line)
                        if number == self.reports.number:
                            found.append((path, known and tuple(known)))
        return found

    def leave(self) -> None:
        """Close the end that is read: a worker that had it would never learn that nobody reads."""
        os.close(self.end)

    def close(self) -> None:
        """Close all of it."""
        for fd in (self.end, self.reports.files, self.reports.page):
            os.close(fd)

"""Writer: the lines of the access log, from a worker's loop to a file or to stdout.

    writer = LogWriter(reactor, '/var/log/tremolo/access.log', shared=True)
    writer.write(b'127.0.0.1 - - [...]\\n')     # on the loop: appends to a list
    writer.reopen()                            # the file was renamed: SIGUSR1
    writer.close()                             # writes what is left, within a second

    loop                                         thread
    ----                                         ------
    write: a list of lines
      after 0.25 s, or 64 KiB: one batch -->     write(2) of whole lines, again and again
      1 MiB waits already: drops it, counts      no room (ENOSPC, EIO ...): tries again each 0.5 s
      tells the log, at most every 10 s   <--    what is wrong

The thread is there because write(2) may block: a pipe whose reader is slow, a terminal that is held
by Ctrl-S, a disk that others fill, a network file system. Nothing on the loop can rule that out:
O_NONBLOCK on a stdout would be set for all programs that share it (a shell, the other workers), and
with several writers poll(2) promises nothing, since another one may take the room in between.
Measured: at 64 KiB a batch the thread costs less than 1 % of the loop's time.

Workers share the file. Each opens it by itself, with O_APPEND, so a batch of whole lines is written
behind what the others have written, also after the file was cut to nothing (copytruncate). A pipe
that they share takes 4,096 bytes at once (PIPE_BUF); more may be mixed with the lines of others. So
whole lines of so many bytes together are written there, and a longer line is cut.

If a disk is full in the middle of a batch, a part of a line may be in the file. That part is cut off
again, and the line is written as a whole when there is room.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

from ..errors import TremoloError
from ..loop import Reactor

_log = logging.getLogger('tremolo')

STDOUT = '-'
PIPE_BUF = getattr(select, 'PIPE_BUF', 4096)    # Bytes that a pipe takes at once: pipe(7).

_LATEST = 0.25      # Seconds until a line is handed to the thread.
_BATCH = 1 << 16    # Bytes that are handed to it at once, if they come earlier.
_MOST = 1 << 20     # Bytes that wait, at most.
_AGAIN = 0.5        # Seconds until it is tried again to write what could not be written.
_TOLD_ANEW = 10.0   # Seconds until the log tells again that lines are lost, or why.
_LAST = 1.0         # Seconds for what is left at the end.
_MORE = b'...\n'    # The end of a line that was cut.

# All that are open: for signals, and for the end of the process.
_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()


class LogWriter:
    """Writes lines to a file, or to stdout, without ever holding up the loop.

    All methods but `reopen` are for the thread of the loop.
    """

    def __init__(self, reactor: Reactor, path: str, shared: bool) -> None:
        """Open the file; '-' is stdout. `shared`: other processes write there, too.

        Raises `TremoloError`, a line, if it cannot be opened.
        """
        self._reactor = reactor
        self._path = path
        self.name = 'stdout' if path == STDOUT else path
        self._fd = open_log(path)
        kind = os.fstat(self._fd).st_mode
        # Bytes of one write, at most; None: any number.
        self._at_once = PIPE_BUF if shared and not stat.S_ISREG(kind) else None
        self._lines: list[bytes] = []
        self._size = 0     # Bytes in them.
        self._mark = 0     # The size at which something has to be done: at once, if no timer runs.
        self._given = 0    # Bytes that the thread was given so far,
        self._done = 0     # and those that it has written, or given up.
        self._lost = 0     # Lines that were dropped, and of which the log does not tell yet.
        self._told = -_TOLD_ANEW    # When the log told of it.
        self._tells = False         # Whether it will tell.
        self._problem = ''          # What the thread could not do.
        self._closed = False
        # What the thread has to do: a batch to write, True to reopen the file, None to end.
        # (`put` is safe in a signal handler; a Condition is not.)
        self._orders: SimpleQueue[bytes | bool | None] = SimpleQueue()
        self._left: deque[bytes] = deque()    # The batches that the thread has to write.
        self._ends = False
        self._torn = False    # Whether a part of a line stands at the end of the file.
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._work, name='tremolo log', daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            os.close(self._fd)
            raise TremoloError(f'the log {self.name} has no thread: {error}') from error
        _writers.add(self)

    @property
    def longest(self) -> int:
        """The bytes that a line may have, with its end; longer ones are cut."""
        return self._at_once or sys.maxsize

    def write(self, line: bytes) -> None:
        """Write a line, which ends with its only line feed. Hot: once for each answer."""
        self._size += len(line)
        self._lines.append(line)
        if self._size > self._mark:
            self._look()

    def _look(self) -> None:
        if not self._mark:
            # The first line after a pause.
            self._mark = _BATCH
            self._reactor.call_later(_LATEST, self._due)
        if self._size > _BATCH:
            self._hand_over()

    def _due(self) -> None:
        if self._lines:
            self._hand_over()
            self._reactor.call_later(_LATEST, self._due)
        else:
            self._mark = 0

    def _hand_over(self) -> None:
        lines, size = self._lines, self._size
        self._lines, self._size = [], 0
        if self._given - self._done + size > _MOST:
            self._lose(len(lines))
        else:
            self._given += size
            self._orders.put(b''.join(lines))

    def reopen(self) -> None:
        """Open the file anew, since it was renamed; for stdout nothing. Safe in a signal handler.

        If that fails, the old one is kept, and the log tells so.
        """
        if self._path != STDOUT:
            self._orders.put(True)

    def close(self) -> None:
        """Write what is left, within a second, and close; harmless if it is closed."""
        # (A process that the program has forked has no such thread, and nothing to write.)
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        _writers.discard(self)
        if self._lines:
            self._hand_over()
        self._orders.put(None)
        self._thread.join(_LAST)
        lines = sum(batch.count(b'\n') for batch in self._left.copy())
        if self._lost or lines:
            _log.error('%s: %d lines were dropped', self.name, self._lost + lines)

    # -- what the log tells -----------------------------------------------------------------------

    def _lose(self, number: int) -> None:
        self._lost += number
        self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._tells and not self._closed:
            self._tells = True
            self._reactor.call_at(
                max(self._told + _TOLD_ANEW, self._reactor.time()), self._tell)

    def _tell(self) -> None:
        self._tells = False
        self._told = self._reactor.time()
        if self._problem:
            _log.error('%s cannot be written: %s', self.name, self._problem)
        if self._lost:
            _log.error('%s: %d lines were dropped', self.name, self._lost)
        self._problem, self._lost = '', 0

    # -- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._ends:
            self._take()
            self._write_left()
        os.close(self._fd)

    def _take(self) -> None:
        """Wait for an order; not long while there is something to try again."""
        try:
            order = self._orders.get(timeout=_AGAIN if self._left else None)
        except Empty:
            return
        if order is None:
            self._ends = True
        elif order is True:
            self._open_anew()
        elif order:
            self._left.append(order)

    def _open_anew(self) -> None:
        try:
            fd = open_log(self._path)
        except TremoloError as error:
            _log.error('%s; the old file is kept', error)
            return
        os.close(self._fd)
        self._fd = fd
        self._torn = False

    def _write_left(self) -> None:
        while self._left:
            batch = self._left[0]
            try:
                written = self._write(batch)
            except OSError as error:
                problem = error.strerror or str(error)
                if not self._problem:
                    self._problem = problem
                    self._reactor.call_soon_threadsafe(self._tell_soon)
                return
            self._done += written
            if written < len(batch):
                self._left[0] = batch[written:]
            else:
                self._left.popleft()

    def _write(self, batch: bytes) -> int:
        """Write a batch, or whole lines of it; return of how many bytes. Raises `OSError`."""
        return os.write(self._fd, batch)


def open_log(path: str) -> int:
    """Return a descriptor of a log: of stdout for '-', else the file is made, or appended to.

    Raises `TremoloError`, a line that names the path.
    """
    try:
        if path == STDOUT:
            # (If the program closes its stdout, the number may soon be that of a client.)
            return os.dup(1)
        # (O_NONBLOCK: a FIFO without a reader is refused, ENXIO, and not waited for. The flag is
        # that of our own opening, and for a file it means nothing.)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, 'O_NONBLOCK', 0)
        return os.open(path, flags | getattr(os, 'O_NOCTTY', 0), 0o666)
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        name = 'stdout' if path == STDOUT else path
        raise TremoloError(f'the log {name} cannot be written: {reason}') from error


def reopen_all() -> None:
    """Open each log of this process anew. Safe in a signal handler."""
    for writer in list(_writers):
        writer.reopen()


def close_all() -> None:
    """Write what is left of each log, since the process ends."""
    for writer in list(_writers):
        with suppress(Exception):
            writer.close()

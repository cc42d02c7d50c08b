"""Writer: takes lines on a worker's loop, and writes them in a thread.

    writer = LogWriter(reactor, '/var/log/shop/access.log', shared=True)
    writer.write(b'127.0.0.1 - - [...]\\n')    # appends to a list
    writer.reopen()                           # the file was renamed: SIGUSR1
    writer.close()                            # writes what is left, within a second

    loop                                          thread
    write: into a list of lines
      0.25 s later, or 64 KiB: a batch   ----->   LogFile.write: whole lines, again and again
      held up by a handler for 0.5 s     ----->   takes the lines by itself: they may be the last
      1 MiB waits already: dropped                no room (ENOSPC, EIO): again each 0.5 s
      the log tells, each 10 s at most   <-----   what is wrong

write(2) may block: on a pipe whose reader is slow, on a terminal that Ctrl-S holds, on a disk that
others keep busy, on a network file system. The loop cannot rule that out. O_NONBLOCK would hold for
all who share a stdout, and where several write, poll(2) promises nothing: another one takes the
room. So a thread writes. Measured: a thousand batches cost the loop 16 to 32 ms; write(2) to
a file would cost it 32 to 55.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

from ..errors import LogError
from ..loop import Reactor
from .log_file import STDOUT, Cut, LogFile, cut_plainly, shown

_log = logging.getLogger('tremolo')

_LATEST = 0.25      # Seconds until a line is given to the thread.
_BATCH = 1 << 16    # Bytes that are given to it at once, if they come earlier.
_MOST = 1 << 20     # Bytes that wait, at most; more is dropped.
_AGAIN = 0.5        # Seconds until the thread looks again: for room, and for lines that wait.
_QUIET = 10.0       # Seconds from one message of the log to the next.
_LAST = 1.0         # Seconds for what is left at the end.


class LogWriter:
    """Writes lines to a file, or to stdout, and never holds up the loop.

    All but `reopen` is for the thread of the loop.
    """

    def __init__(self, reactor: Reactor, path: str, shared: bool,
                 cut: Cut = cut_plainly) -> None:
        """Open the log; '-' is stdout. `shared`: other processes write there, too.

        `cut(line, most)` makes a line shorter that is too long for a pipe; the thread calls it.
        Raises `LogError`, a line, if the log cannot be opened.
        """
        self._reactor = reactor
        self._path = path
        self._anew = False    # Whether the file is to be opened anew.
        asks = _asks
        self._file = LogFile(path, shared, cut)
        self._lines: list[bytes] = []    # What the thread was not given yet.
        self._size = 0     # The bytes of that, at most.
        self._mark = 0     # From how many bytes on there is something to do: 0 before the first.
        self._given = 0    # The bytes that the thread was given so far,
        self._done = 0     # and those that it has written.
        self._lost = 0     # Lines that were dropped, and the log does not tell it yet,
        self._why = ''     # and why.
        self._problem = ''    # Why nothing can be written now: the thread says it.
        self._said = ''       # What the log said of it.
        self._tells = False    # Whether the log will tell something.
        self._next = 0.0       # When it may.
        self._closed = False
        self._given_up = False    # Whether what is left is counted as dropped.
        self._taking = threading.Lock()    # For who takes the lines out of the list.
        # What the thread has to do: write lines; None: end.
        self._orders: SimpleQueue[bytes | None] = SimpleQueue()
        self._left: deque[bytes] = deque()    # The thread's: what it has to write,
        # and whether there was no descriptor to open the file anew: it tries before it writes.
        self._stale = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._work, name='tremolo log', daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._file.close()
            raise LogError(f'the log {shown(path)} has no thread: {error}') from error
        _writers.add(self)
        if asks != _asks:    # (A signal came while the file was opened.)
            self.reopen()

    def write(self, line: bytes) -> None:
        """Write a line, or several; each ends with a line feed. Hot."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > self._mark:
            self._look()

    def _look(self) -> None:
        """Give lines to the thread: soon if these are the first, at once if there are many."""
        if not self._mark:
            self._mark = _BATCH
            self._orders.put(b'')    # (From now on it looks whether something holds us up.)
            self._reactor.call_later(_LATEST, self._due)
        if self._size > _BATCH:
            self._give()

    def _due(self) -> None:
        if self._lines:
            self._give()
            self._reactor.call_later(_LATEST, self._due)
        else:
            self._mark = 0

    def _give(self) -> None:
        """Give the lines to the thread, unless too many wait already."""
        with self._taking:
            batch = b''.join(self._lines)
            self._lines.clear()
            self._size = 0
            if self._given - self._done + len(batch) <= _MOST:
                self._given += len(batch)
                self._orders.put(batch)
                return
        self._lose(batch.count(b'\n'))
        self._tell_soon()

    def reopen(self) -> None:
        """Open the file anew, which was renamed; stdout stays. It may be called on any thread.

        If that fails, the old one is kept, and the log tells it; until there is a descriptor again,
        if that was why.
        """
        if self._path != STDOUT:
            self._anew = True
            # (A signal handler may have interrupted `put`, which has a lock in PyPy.)
            self._reactor.call_soon_threadsafe(self._orders.put, b'')

    def close(self) -> None:
        """Write what is left, within a second; a second call does nothing."""
        # (In a process that the application has forked there is no such thread.)
        if self._closed or self._process != os.getpid():
            return
        self._closed = True
        _writers.discard(self)
        if self._lines:
            self._give()
        self._orders.put(None)
        self._thread.join(_LAST)
        self._given_up = True
        for lines in self._not_written():
            self._lose(lines.count(b'\n'))
        self._tell()

    # -- what the log tells -----------------------------------------------------------------------

    def _lose(self, number: int) -> None:
        self._lost += number
        self._why = self._problem or 'they are taken too slowly'

    def _tell_soon(self) -> None:
        if not self._tells and not self._closed:
            self._tells = True
            self._reactor.call_at(max(self._next, self._reactor.time()), self._tell)

    def _tell(self) -> None:
        self._tells = False
        problem, lost, self._lost = self._problem, self._lost, 0
        if lost:
            _log.error('the log %s: %d lines were dropped: %s', shown(self._path), lost, self._why)
        elif problem and not self._said:
            _log.error('the log %s cannot be written: %s', shown(self._path), problem)
        elif self._said and not problem:
            _log.info('the log %s can be written again', shown(self._path))
        else:
            return
        self._said = problem
        self._next = self._reactor.time() + _QUIET

    # -- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        ends = False
        while not ends:
            try:
                order = self._orders.get(timeout=_AGAIN if self._left or self._mark else None)
            except Empty:
                order = b'' if self._left else self._held_up()
            if self._anew or self._stale:
                self._open_anew()
            if order:
                self._left.append(order)
            ends = order is None
            problem = self._write_left()
            if problem != self._problem:
                self._problem = problem
                self._reactor.call_soon_threadsafe(self._tell_soon)
        self._file.close()

    def _held_up(self) -> bytes:
        """Return the lines that the loop should have given: something holds it up."""
        with self._taking:
            if not self._orders.empty():
                return b''
            # (The loop appends without the lock: not to what is taken here, but behind it; and it
            # may look at the last one in this moment: so one is left, which is empty.)
            number = len(self._lines)
            lines = b''.join(self._lines[:number])
            self._lines[:number] = [b'']
        self._done -= len(lines)    # (They were not given.)
        return lines

    def _write_left(self) -> str:
        """Write what is left; return what is wrong, '' if nothing is."""
        while self._left and not self._given_up:
            lines = self._left[0]
            try:
                written = self._file.write(lines)
            except BlockingIOError:
                # (Others have set O_NONBLOCK on our stdout; or it is a FIFO.)
                if self._file.wait(_AGAIN):
                    continue
                return ''
            except OSError as error:
                return error.strerror or str(error)
            self._done += written
            if written < len(lines):
                self._left[0] = lines[written:]
            else:
                self._left.popleft()
        return ''

    def _open_anew(self) -> None:
        self._anew = False
        try:
            self._file.reopen()
            self._stale = False
        except LogError as error:
            if not self._stale:
                _log.error('%s; the old file is kept', error)
            # (Otherwise the new name has to be made, or allowed, and then comes a signal again.)
            self._stale = getattr(error.__cause__, 'errno', 0) in (errno.EMFILE, errno.ENFILE)

    def _not_written(self) -> list[bytes]:
        """Return what the thread has not written: it has ended, or write(2) holds it."""
        left = list(self._left)
        with suppress(Empty):
            while True:
                order = self._orders.get_nowait()
                if isinstance(order, bytes):
                    left.append(order)
        self._orders.put(None)
        return left


# All that are open: for signals, and for the end of the process.
_writers: set[LogWriter] = set()
_asks = 0    # How many times they were to be opened anew.


def reopen_all() -> None:
    """Open each log of this process anew. It may be called in a signal handler."""
    global _asks
    _asks += 1
    for writer in list(_writers):
        writer.reopen()


def close_all() -> None:
    """Write what is left in each log of this process."""
    for writer in list(_writers):
        writer.close()


# (Python waits for no daemon thread, and a program may end without closing its server.)
atexit.register(close_all)

"""Inbox: bytes that have arrived and wait to be read.

The read side of a Stream, and of a request's body: `feed` on one end, Futures of bytes on the
other. At most one read waits at a time. Whoever feeds it looks at `size` and `waiting` to know when
to pause the source (a reader that waits may need more than is held otherwise, and brings its own
limit), and is told by `source.wanted()` when the reader would take more.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Callable, Protocol

from .errors import InvalidState, LimitExceeded
from .future import Future, on_loop
from .reactor import Reactor


class Source(Protocol):
    """Where an inbox's bytes come from."""

    def wanted(self) -> None:
        """Be told that the reader waits for bytes, or has taken some."""


class Inbox:
    """A queue of bytes with one reader.

        data = yield inbox.read(65536)      # b'' at the end
        line = yield inbox.read_until(b'\\n')
    """

    __slots__ = ('_chunks', '_error', '_reactor', '_source', '_waiter', 'eof', 'size')

    def __init__(self, reactor: Reactor, source: Source | None = None) -> None:
        self._reactor = reactor
        self._source = source
        self._chunks: deque[bytes] = deque()
        # Bytes held, and whether no more will come.
        self.size = 0
        self.eof = False
        self._error: BaseException | None = None
        # Who waits, and what gives his bytes, or None while there are too few.
        self._waiter: tuple[Future, Callable[[], bytes | None]] | None = None

    # -- feeding --------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Add bytes; a waiting reader gets them."""
        self._chunks.append(data)
        self.size += len(data)
        self._serve()

    def feed_eof(self) -> None:
        """Say that no more comes; reads give what is left, then b''."""
        # Nothing is wanted of the source any more, and it holds this inbox.
        self._source = None
        self.eof = True
        self._serve()

    def feed_error(self, error: BaseException) -> None:
        """Say that no more comes because of `error`; reads raise it at once."""
        self._source = None
        if not self.eof and self._error is None:
            self._error = error
            self._serve()

    @property
    def waiting(self) -> bool:
        """Whether a reader waits for bytes."""
        return self._waiter is not None

    # -- reading --------------------------------------------------------------------------------

    def read(self, size: int = -1) -> Future:
        """Read what is there, 1 to `size` bytes (-1: all that is held); b'' at the end."""
        return self._wait(lambda: self._some(size))

    def read_exactly(self, size: int) -> Future:
        """Read `size` bytes, fewer only at the end."""
        return self._wait(
            lambda: self._cut(size) if self.size >= size or self.eof else None)

    def read_until(self, mark: bytes, limit: int = 65536) -> Future:
        """Read up to and including `mark`; without it, what is left at the end.

        Raises `LimitExceeded` when `limit` bytes hold no mark.
        """
        return self._wait(lambda: self._through(mark, limit))

    def read_all(self, limit: int) -> Future:
        """Read everything to the end. Raises `LimitExceeded` beyond `limit` bytes."""
        return self._wait(lambda: self._everything(limit))

    def _wait(self, take: Callable[[], bytes | None]) -> Future:
        if self._waiter is not None:
            raise InvalidState('another read is waiting already')
        future = Future(self._reactor, self._give_back)
        on_loop(self._reactor, self._begin, future, take)
        return future

    def _begin(self, future: Future, take: Callable[[], bytes | None]) -> None:
        self._waiter = future, take
        future.on_cancel = self._forget
        self._serve()
        if self._source is not None:
            self._source.wanted()

    def _forget(self) -> None:
        self._waiter = None

    def _give_back(self, data: bytes) -> None:
        """Put back what was taken too much, or what a cancelled reader did not live to see."""
        if data:
            self._chunks.appendleft(data)
            self.size += len(data)

    def _serve(self) -> None:
        """Give the waiting reader its bytes, its end or its error, if they are there."""
        if self._waiter is None:
            return
        future, take = self._waiter
        try:
            if self._error is not None:
                error, self._error = self._error, _another(self._error)
                raise error
            data = take()
        except Exception as error:
            self._waiter = None
            future.set_exception(error.with_traceback(None))
            return
        if data is not None:
            self._waiter = None
            future.set_result(data)

    def _some(self, size: int) -> bytes | None:
        if not self.size:
            return b'' if self.eof or size == 0 else None
        return self._cut(self.size if size < 0 else min(size, self.size))

    def _through(self, mark: bytes, limit: int) -> bytes | None:
        # Joined once, so the search is over one piece; a mark may straddle two.
        held = self._cut(self.size)
        found = held.find(mark, 0, limit)
        if found >= 0:
            end = found + len(mark)
            self._give_back(held[end:])
            return held[:end]
        if self.eof and len(held) <= limit:
            return held
        self._give_back(held)
        if len(held) >= limit:
            raise LimitExceeded(f'no {mark!r} in {limit} bytes')
        return None

    def _everything(self, limit: int) -> bytes | None:
        if self.size > limit:
            raise LimitExceeded(f'more than {limit} bytes')
        return self._cut(self.size) if self.eof else None

    def _cut(self, size: int) -> bytes:
        """Take out the first `size` bytes (or all, if there are fewer)."""
        parts: list[bytes] = []
        missing = min(size, self.size)
        self.size -= missing
        while missing:
            chunk = self._chunks.popleft()
            if len(chunk) > missing:
                self._chunks.appendleft(chunk[missing:])
                chunk = chunk[:missing]
            parts.append(chunk)
            missing -= len(chunk)
        # Of a single piece, the usual case, this makes no copy.
        return b''.join(parts)


def _another(error: BaseException) -> BaseException:
    """Make one like it for the next read.

    The one that is thrown gets a traceback to its reader's frame, which mostly holds this inbox: if
    the inbox kept that very error, the three would be a cycle.
    """
    try:
        return copy.copy(error)
    except Exception:
        # Its class wants other arguments than it keeps.
        return error

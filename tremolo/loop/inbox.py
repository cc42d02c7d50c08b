"""Inbox: bytes that have arrived and wait to be read.

The read side of a Stream, and of a request's body: `feed` on one end, Futures of bytes on the
other, at most one at a time. Whoever feeds it looks at `size` and `waiting` to know when to pause
the source: a reader that waits may need more than is held otherwise, and brings its own limit.
"""

from __future__ import annotations

import copy
from typing import Callable, Protocol

from .errors import InvalidState, LimitExceeded
from .future import Future, on_loop
from .reactor import Reactor


class Source(Protocol):
    """Where bytes come from. It is told that the reader waits for more, or has taken some."""

    def wanted(self) -> None: ...


class Inbox:
    """A queue of bytes with one reader: `data = yield inbox.read(65536)`."""

    __slots__ = ('_chunks', '_error', '_reactor', '_source', 'eof', 'size', 'waiting')

    def __init__(self, reactor: Reactor, source: Source | None = None) -> None:
        self._reactor = reactor
        self._source = source
        self._chunks: list[bytes] = []
        self.size = 0    # Bytes held.
        self.eof = False    # Whether no more will come.
        self._error: BaseException | None = None
        # Who waits, if anybody, and what gives his bytes, or None while there are too few.
        self.waiting: tuple[Future, Callable[[], bytes | None]] | None = None

    def feed(self, data: bytes) -> None:
        """Add bytes; a waiting reader gets them."""
        self._chunks.append(data)
        self.size += len(data)
        self._serve()

    def feed_eof(self) -> None:
        """Say that no more comes; reads give what is left, then b''."""
        self._source = None    # Nothing is wanted of it any more, and it holds this inbox.
        self.eof = True
        self._serve()

    def feed_error(self, error: BaseException) -> None:
        """Say that no more comes because of `error`; reads raise it at once."""
        self._source = None
        if not self.eof and self._error is None:
            # Without its traceback, which may lead to us.
            self._error = error.with_traceback(None)
            self._serve()

    def read(self, size: int = -1) -> Future:
        """Read what is there, 1 to `size` bytes (-1: all that is held); b'' at the end."""
        return self._wait(lambda: self._cut(size if size >= 0 else self.size)
                          if self.size or self.eof or size == 0 else None)

    def read_exactly(self, size: int) -> Future:
        """Read `size` bytes, fewer only at the end."""
        return self._wait(lambda: self._cut(size) if self.size >= size or self.eof else None)

    def read_until(self, mark: bytes, limit: int = 65536) -> Future:
        """Read through `mark`, or to the end. Raises `LimitExceeded` beyond `limit` bytes."""
        def take() -> bytes | None:
            found = self._join().find(mark, 0, limit)
            if found >= 0:
                return self._cut(found + len(mark))
            if self.eof and self.size <= limit:
                return self._cut(limit)
            if self.size >= limit:
                raise LimitExceeded(f'no {mark!r} in {limit} bytes')
            return None

        return self._wait(take)

    def read_all(self, limit: int) -> Future:
        """Read everything to the end. Raises `LimitExceeded` beyond `limit` bytes."""
        def take() -> bytes | None:
            if self.size > limit:
                raise LimitExceeded(f'more than {limit} bytes')
            return self._cut(limit) if self.eof else None

        return self._wait(take)

    def _wait(self, take: Callable[[], bytes | None]) -> Future:
        if self.waiting is not None:
            raise InvalidState('another read is waiting already')
        future = Future(self._reactor, self._give_back)
        on_loop(self._reactor, self._begin, future, take)
        return future

    def _begin(self, future: Future, take: Callable[[], bytes | None]) -> None:
        if self.waiting is not None:
            # Two reads of a worker thread, while the loop was busy.
            future.set_exception(InvalidState('another read is waiting already'))
            return
        self.waiting = future, take
        future.on_cancel = self._forget
        self._serve()
        if self._source is not None:
            self._source.wanted()

    def _forget(self) -> None:
        self.waiting = None

    def _serve(self) -> None:
        """Give the waiting reader its bytes, its end or its error, if they are there."""
        if self.waiting is None:
            return
        future, take = self.waiting
        try:
            if self._error is not None:
                # A copy: what is thrown gets a traceback to its reader's frame, which mostly holds
                # this inbox. If the inbox held that very error, the three would be a cycle.
                raise copy.copy(self._error)
            data = take()
            if data is None:
                return
            future.set_result(data)
        except Exception as error:
            future.set_exception(error.with_traceback(None))
        self.waiting = None

    def _join(self) -> bytes:
        """Give all that is held. Of a single piece, the usual case, this makes no copy."""
        held = b''.join(self._chunks)
        self._chunks = [held]
        return held

    def _cut(self, size: int) -> bytes:
        """Take out the first `size` bytes (or all, if there are fewer)."""
        held = self._join()
        rest = held[size:]
        self._chunks = [rest] if rest else []
        self.size = len(rest)
        return held[:size]

    def _give_back(self, data: bytes) -> None:
        """Put first again what a cancelled reader did not live to see."""
        self._chunks.insert(0, data)
        self.size += len(data)
        self._serve()

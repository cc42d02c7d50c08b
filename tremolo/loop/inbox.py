"""Inbox: bytes that have arrived and wait to be read.

A Stream and a request's body read through an inbox. The source feeds bytes at one end; a reader
gets a Future of bytes at the other end, one at a time. The feeder looks at `size` and `waiting` to
decide when to pause its source: a reader that waits may need more bytes than an inbox usually
holds, and has a limit of its own.
"""

from __future__ import annotations

import copy

from ..typed import Callable, Protocol
from .done import NO_BYTES
from .errors import InvalidState, LimitExceeded
from .future import Future, on_loop
from .reactor import Reactor


class Source(Protocol):
    """The place that bytes come from."""

    def wanted(self) -> None:
        """Record that the reader waits for bytes, or has taken some."""


class Inbox:
    """A queue of bytes with one reader: `data = yield inbox.read(65536)`."""

    __slots__ = ('_chunks', '_error', '_reactor', '_source', '_taken', 'eof', 'size',
                 'waiting')

    def __init__(self, reactor: Reactor, source: Source | None = None) -> None:
        self._reactor = reactor
        self._source = source
        self._chunks: list[bytes] = []
        self._taken = 0    # Bytes of the first chunk that were read already.
        self.size = 0    # Bytes held that were not read.
        self.eof = False    # Whether no more will come.
        self._error: BaseException | None = None
        # The Future of the waiting reader, and a function that takes its bytes out of the inbox
        # (it returns None while there are too few); None while no reader waits.
        self.waiting: tuple[Future, Callable[[], bytes | None]] | None = None

    def feed(self, data: bytes) -> None:
        """Add bytes, and serve a waiting reader."""
        if self._taken:
            self._let_go()
        self._chunks.append(data)
        self.size += len(data)
        self._serve()

    def feed_eof(self) -> None:
        """Record the end of input; reads return what is left, then b''."""
        self._source = None    # It has no more bytes; and it refers to this inbox: a cycle.
        self.eof = True
        self._serve()

    def feed_error(self, error: BaseException) -> None:
        """Record that input ended with `error`; reads raise it at once, before what is left."""
        self._source = None
        if not self.eof and self._error is None:
            # Its traceback may lead to this inbox: without it there is no cycle.
            self._error = error.with_traceback(None)
            self._serve()

    def read(self, size: int = -1) -> Future:
        """Return a Future of 1 to `size` bytes that are there (-1: all of them); b'' at the end."""
        if self.eof and not self.size:
            return NO_BYTES    # (Each upload that is read in pieces ends so.)
        return self._wait(lambda: self._cut(size if size >= 0 else self.size)
                          if self.size or self.eof or size == 0 else None)

    def read_exactly(self, size: int) -> Future:
        """Return a Future of `size` bytes, of fewer only at the end."""
        return self._wait(lambda: self._cut(size) if self.size >= size or self.eof else None)

    def read_until(self, mark: bytes, limit: int = 65536) -> Future:
        """Return a Future of all through `mark`, or to the end.

        It raises `LimitExceeded` beyond `limit` bytes; the bytes stay in the inbox.
        """
        def take() -> bytes | None:
            held, start = self._join(), self._taken
            found = held.find(mark, start, start + limit)
            if found >= 0:
                return self._cut(found + len(mark) - start)
            if self.eof and self.size <= limit:
                return self._cut(limit)
            if self.size >= limit:
                raise LimitExceeded(f'no {mark!r} in {limit} bytes')
            return None

        return self._wait(take)

    def read_all(self, limit: int) -> Future:
        """Return a Future of everything to the end; `LimitExceeded` beyond `limit` bytes."""
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
            # A worker thread began two reads while the loop was busy.
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
        """Set the waiting reader's Future to its bytes or its error, if they are there."""
        if self.waiting is None:
            return
        future, take = self.waiting
        try:
            if self._error is not None:
                # A copy: an error that is raised gets a traceback to the reader's frame, and that
                # frame mostly refers to this inbox. If the inbox kept the same error, the three
                # would be a cycle.
                raise copy.copy(self._error)
            data = take()
            if data is None:
                return
            future.set_result(data)
        except Exception as error:
            future.set_exception(error.with_traceback(None))
        self.waiting = None

    def _join(self) -> bytes:
        """Return all that is held. Of a single chunk, the usual case, this makes no copy."""
        if len(self._chunks) != 1:
            self._chunks = [b''.join(self._chunks)]
        return self._chunks[0]

    def _cut(self, size: int) -> bytes:
        """Take out and return the first `size` bytes, or all if there are fewer."""
        held, start = self._join(), self._taken
        if size >= self.size:    # (The usual case, and cheaper: 64 KiB up take 1 % less.)
            self._chunks.clear()
            self.size = self._taken = 0
            return held[start:]
        # (What is left stays where it is, as long as it is more than what was read. To copy it with
        # each read would be 26 MB of copies for 64 KiB in lines of 80 bytes.)
        self._taken = end = start + size
        self.size -= size
        if 2 * end >= len(held):
            self._let_go()
        return held[start:end]

    def _let_go(self) -> None:
        """Forget the bytes that were read: with more pieces, they would make it hold too much."""
        if self._taken:
            self._chunks[0] = self._chunks[0][self._taken:]
            self._taken = 0

    def _give_back(self, data: bytes) -> None:
        """Put bytes back in front: their reader was cancelled before it went on."""
        self._let_go()
        self._chunks.insert(0, data)
        self.size += len(data)
        self._serve()

"""Sync: tasks that wait for each other: Event, Lock, Semaphore, Queue.

All return Futures. The Futures that wait for the same thing form a line (a waiting line, a queue):
first come, first served. A cancelled Future leaves the line. A lock or an item is handed directly
to the first Future in the line, so that no other task can take it in between. If the task of that
Future is cancelled before it goes on, the lock or the item goes to the next one: nothing is lost.

Event, Lock, Semaphore and Queue are for the loop's thread only. A worker thread (see threads.py)
reaches them by `spawn(...).result()`, or by `reactor.call_soon_threadsafe(event.set)`.
"""

from __future__ import annotations

import queue
from collections import OrderedDict, deque
from contextlib import ExitStack
from functools import partial

from ..typed import Any, Callable, NoReturn
from .errors import InvalidState
from .future import Future
from .joint import gather, timeout
from .sleep import sleep

# (`gather`, `sleep` and `timeout` were in this file before; programs may import them from here.)
__all__ = ['Event', 'Lock', 'Queue', 'Semaphore', 'gather', 'sleep', 'timeout']


# A waiting line (a queue) of Futures, each with an object that it needs when it is served. Futures
# leave it at the front, and, cancelled, from the middle: both are cheap in an OrderedDict.
_Line = OrderedDict[Future, Any]


def _stand(line: _Line, serve: Callable[[], None], brought: Any = None,
           give_back: Callable[[Any], Any] | None = None) -> Future:
    """Return a Future at the end of a line; `serve` then serves the Futures whose turn it is."""
    future = Future(give_back=give_back)
    line[future] = brought
    future.on_cancel = partial(line.pop, future)
    serve()
    return future


class Event:
    """A flag that tasks can wait for: `yield event.wait()`."""

    def __init__(self) -> None:
        self._happened = False
        self._line: _Line = OrderedDict()

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let all waiting tasks go on, and let later ones pass."""
        self._happened = True
        self._serve()

    def clear(self) -> None:
        """Let tasks that call `wait` from now on wait again."""
        self._happened = False

    def wait(self) -> Future:
        """Return a Future that is done as soon as the event is set."""
        return _stand(self._line, self._serve)

    def _serve(self) -> None:
        while self._line and self._happened:
            self._line.popitem(last=False)[0].set_result()


class Semaphore:
    """At most `places` at a time: `with (yield semaphore.acquire()):`, `async with semaphore:`."""

    def __init__(self, places: int = 1) -> None:
        self._places = self._free = places
        self._line: _Line = OrderedDict()

    def locked(self) -> bool:
        """Return whether all places are taken."""
        return self._free == 0

    def acquire(self) -> Future:
        """Return a Future of a place, which is released at the end of a `with` block."""
        place = ExitStack()
        place.callback(self.release)
        return _stand(self._line, self._serve, place, ExitStack.close)

    def release(self) -> None:
        """Release a place by hand. Raises `InvalidState` if none is taken."""
        if self._free == self._places:
            raise InvalidState('it is not held')
        self._free += 1
        self._serve()

    def __enter__(self) -> NoReturn:
        raise TypeError('write `with (yield lock.acquire()):` in a generator, and '
                        '`async with lock:` in an `async def`')

    def __exit__(self, *exc: object) -> None:
        """Never called; without it Python would not call `__enter__`."""

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *exc: object) -> None:
        self.release()

    def _serve(self) -> None:
        if self._line and self._free:
            self._free -= 1
            future, place = self._line.popitem(last=False)
            future.set_result(place)


class Lock(Semaphore):
    """One at a time: `with (yield lock.acquire()):`, or `async with lock:`."""

    def __init__(self) -> None:
        super().__init__(1)


class Queue:
    """A queue of items from some tasks to others; at most `maxsize` items (0: any number)."""

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._items: deque[Any] = deque()
        # A getter waits only while there is no item, a putter only while the queue is full.
        self._getters: _Line = OrderedDict()
        self._putters: _Line = OrderedDict()

    def qsize(self) -> int:
        """Return how many items are held."""
        return len(self._items)

    def full(self) -> bool:
        """Return whether `put` would wait."""
        return 0 < self.maxsize <= len(self._items)

    def put(self, item: Any) -> Future:
        """Return a Future that is done when the item is in the queue; cancelled, it never is."""
        return _stand(self._putters, self._serve, item)

    def get(self) -> Future:
        """Return a Future of the oldest item; an item given back is the oldest again."""
        return _stand(self._getters, self._serve, None, self._put_back)

    def put_nowait(self, item: Any) -> None:
        """Add an item at once. Raises `queue.Full`."""
        if self.full():
            raise queue.Full
        self._items.append(item)
        self._serve()

    def get_nowait(self) -> Any:
        """Take the oldest item at once. Raises `queue.Empty`."""
        if not self._items:
            raise queue.Empty
        item = self._items.popleft()
        self._serve()
        return item

    def _put_back(self, item: Any) -> None:
        self._items.appendleft(item)
        self._serve()

    def _serve(self) -> None:
        while True:
            if self._getters and self._items:
                self._getters.popitem(last=False)[0].set_result(self._items.popleft())
            elif self._putters and not self.full():
                future, item = self._putters.popitem(last=False)
                self._items.append(item)
                future.set_result()
            else:
                return

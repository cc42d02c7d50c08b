"""Waiting for time and for each other: sleep, gather, timeout, Event, Lock, Semaphore, Queue.

All give Futures. Who waits stands in line, first come first served; who is cancelled leaves the
line. A lock or an item is handed straight to the first in line (nobody can snatch it in between),
and goes back if that one is cancelled before it goes on: nothing is lost.

Event, Lock, Semaphore and Queue are for the loop's thread only; a worker (see threads.py) reaches
them by `spawn(...).result()`, or by `reactor.call_soon_threadsafe(event.set)`.
"""

from __future__ import annotations

import queue
from collections import OrderedDict, deque
from collections.abc import Coroutine, Generator
from contextlib import ExitStack
from functools import partial
from typing import Any, Callable

from .errors import Cancelled, InvalidState
from .future import Future, on_loop
from .task import spawn
from .timers import NEVER


def sleep(seconds: float, result: Any = None) -> Future:
    """Give `result` after `seconds`. Cancelling the Future cancels its timer."""
    # Nothing is to be given back, but who drops it untaken has forgotten a `yield`.
    future = Future(give_back=lambda _: None)

    def set_alarm() -> None:
        future.on_cancel = future.reactor.call_later(seconds, future.set_result, result).cancel

    on_loop(future.reactor, set_alarm)
    return future


def gather(*awaitables: Any) -> Future:
    """Run Futures, generators and coroutines side by side; give the list of their values.

    The first error cancels the others and is raised when all have ended; later errors are dropped.
    Cancelling it cancels all.
    """
    return _Joint(awaitables, list)


def timeout(seconds: float, awaitable: Any) -> Future:
    """Give what `awaitable` gives, or cancel it after `seconds` and raise `TimeoutError`.

    The error is raised when the work has ended; if it ends with a value all the same, that is
    given. Cancelling this cancels the work.
    """
    return _Joint((awaitable,), lambda values: values[0], seconds)


class _Joint(Future):
    """What `pick` makes of the values of several parts. It ends when all of them have ended."""

    __slots__ = ('_alarm', '_left', '_parts', '_pick', '_why')

    def __init__(self, awaitables: tuple[Any, ...], pick: Callable[[list[Any]], Any],
                 seconds: float = NEVER) -> None:
        # All are looked at before the first begins.
        for each in awaitables:
            if not isinstance(each, (Future, Generator, Coroutine)):
                raise TypeError(f'{each!r} is no Future, generator or coroutine')
        Future.__init__(self)
        self._parts = [each if isinstance(each, Future) else spawn(each) for each in awaitables]
        self._left = len(self._parts)
        self._pick = pick
        self._why: BaseException | None = None
        on_loop(self.reactor, self._begin, seconds)

    def _begin(self, seconds: float) -> None:
        late = TimeoutError(f'not done in {seconds:g} seconds')
        self._alarm = self.reactor.call_later(seconds, self._stop, late)
        for part in self._parts:
            part.add_done_callback(self._part_ended)
        if not self._parts:
            self._end()

    def _part_ended(self, part: Future) -> None:
        self._left -= 1
        if (error := part.exception()) is not None:
            self._stop(error)
        if not self._left:
            self._end()

    def _stop(self, why: BaseException) -> None:
        """Cancel what still runs; end with `why` when it has ended. The first call counts."""
        if self._why is None:
            self._why = why
            for part in self._parts:
                if not part.done():
                    part.cancel()

    def _end(self) -> None:
        self._alarm.cancel()
        backs = ExitStack()
        for part in self._parts:
            if part.give_back is not None:
                # Taken by `outcome`; the last comes back first, so that items keep their order.
                backs.callback(part.give_back, part.outcome()[0])
        # Told that time is up, work may end with a value all the same, or have had it already.
        good = all(part.exception() is None for part in self._parts)
        if self._why is None or (good and not isinstance(self._why, Cancelled)):
            self.give_back = lambda _: backs.close()
            self.set_result(self._pick([part.outcome()[0] for part in self._parts]))
        else:
            backs.close()
            self.set_exception(self._why)

    def cancel(self) -> bool:
        """Cancel the parts; it is done when they have ended."""
        if self._done:
            return Future.cancel(self)
        self._seen = True
        self._stop(Cancelled())
        self._why = Cancelled()    # Whatever it was before: nobody takes its value any more.
        return True


# Futures that wait, each with what it brought along; both ends and the middle are cheap to take.
_Line = OrderedDict[Future, Any]


def _stand(line: _Line, serve: Callable[[], None], brought: Any = None,
           give_back: Callable[[Any], Any] | None = None) -> Future:
    """Stand at the end of a line, until served or cancelled; `serve` looks whose turn it is."""
    future = Future(give_back=give_back)
    line[future] = brought
    future.on_cancel = partial(line.pop, future)
    serve()
    return future


class Event:
    """Something that has happened, or not yet: `yield event.wait()`."""

    def __init__(self) -> None:
        self._happened = False
        self._line: _Line = OrderedDict()

    def is_set(self) -> bool:
        """Tell whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let all who wait go on, and all who come later pass."""
        self._happened = True
        self._serve()

    def clear(self) -> None:
        """Let those who come from now on wait again."""
        self._happened = False

    def wait(self) -> Future:
        """Give a Future that is done as soon as it is set."""
        return _stand(self._line, self._serve)

    def _serve(self) -> None:
        while self._line and self._happened:
            self._line.popitem(last=False)[0].set_result()


class Semaphore:
    """At most `places` at a time: `with (yield semaphore.acquire()):`."""

    def __init__(self, places: int = 1) -> None:
        self._places = self._free = places
        self._line: _Line = OrderedDict()

    def locked(self) -> bool:
        """Tell whether all places are taken."""
        return self._free == 0

    def acquire(self) -> Future:
        """Wait for a place; the value releases it at the end of a `with` block."""
        place = ExitStack()
        place.callback(self.release)
        return _stand(self._line, self._serve, place, ExitStack.close)

    def release(self) -> None:
        """Give a place back by hand. Raises `InvalidState` if none is taken."""
        if self._free == self._places:
            raise InvalidState('it is not held')
        self._free += 1
        self._serve()

    def _serve(self) -> None:
        if self._line and self._free:
            self._free -= 1
            future, place = self._line.popitem(last=False)
            future.set_result(place)


class Lock(Semaphore):
    """One at a time: `with (yield lock.acquire()):`."""

    def __init__(self) -> None:
        super().__init__(1)


class Queue:
    """Items on their way from some tasks to others; at most `maxsize` at a time (0: any number)."""

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._items: deque[Any] = deque()
        # Getters wait only while there is no item, putters only while it is full.
        self._getters: _Line = OrderedDict()
        self._putters: _Line = OrderedDict()

    def qsize(self) -> int:
        """Return how many items are held."""
        return len(self._items)

    def full(self) -> bool:
        """Tell whether `put` would wait."""
        return 0 < self.maxsize <= len(self._items)

    def put(self, item: Any) -> Future:
        """Add an item, when there is room. Cancelled before that, the item was never there."""
        return _stand(self._putters, self._serve, item)

    def get(self) -> Future:
        """Take the oldest item, when there is one; one that is given back is the oldest again."""
        return _stand(self._getters, self._serve, None, self._put_back)

    def put_nowait(self, item: Any) -> None:
        """Add an item, waiting for nothing. Raises `queue.Full`."""
        if self.full():
            raise queue.Full
        self._items.append(item)
        self._serve()

    def get_nowait(self) -> Any:
        """Take the oldest item, waiting for nothing. Raises `queue.Empty`."""
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

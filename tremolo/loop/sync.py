"""Waiting for time and for each other: sleep, gather, timeout, Event, Lock, Semaphore, Queue.

All give Futures, so they are waited for by `yield` in a generator and by `await` in a coroutine.
Who waits stands in line, first come first served; who is cancelled leaves the line. A lock or an
item is handed straight to the first in line (nobody can snatch it in between), and if that one is
cancelled before it goes on, the lock or the item goes back: nothing is lost.

`sleep`, `gather` and `timeout` may be called on a worker thread too. Event, Lock, Semaphore and
Queue are for the loop's thread only; a worker reaches them by `spawn(...).result()`, or by
`reactor.call_soon_threadsafe(event.set)`.
"""

from __future__ import annotations

import queue
from collections import OrderedDict, deque
from collections.abc import Coroutine, Generator
from contextlib import ExitStack
from functools import partial
from operator import itemgetter
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


# -- several at once, and not for ever ----------------------------------------------------------


def gather(*awaitables: Any) -> Future:
    """Run Futures, generators and coroutines side by side; give the list of their values.

    The first error cancels the others, waits for their end (their `finally` may wait too) and is
    then raised; errors after it are dropped. Cancelling it cancels all.
    """
    joint = _Joint(awaitables, list)
    on_loop(joint.reactor, joint.begin)
    return joint


def timeout(seconds: float, awaitable: Any) -> Future:
    """Give what `awaitable` gives, or cancel it after `seconds` and raise `TimeoutError`.

    The error is raised when the work has ended. Work that ends with a value all the same, in that
    last moment, has its value given. Cancelling this cancels the work.
    """
    joint = _Joint((awaitable,), itemgetter(0))
    on_loop(joint.reactor, joint.begin, seconds)
    return joint


class _Joint(Future):
    """A Future of what several parts give. It ends when all parts have ended.

    When it stops before its time (a part fails, it is cancelled, time is up) it cancels the parts,
    and waits for their end too: work that nobody waits for any more is never left running.
    """

    __slots__ = ('_alarm', '_left', '_parts', '_pick', '_why')

    def __init__(self, awaitables: tuple[Any, ...], pick: Callable[[list[Any]], Any]) -> None:
        # All are looked at before the first begins.
        for each in awaitables:
            if not isinstance(each, (Future, Generator, Coroutine)):
                raise TypeError(f'{each!r} is no Future, generator or coroutine')
        Future.__init__(self)
        self._parts = [each if isinstance(each, Future) else spawn(each) for each in awaitables]
        self._left = len(self._parts)
        # Makes our value of the parts' values.
        self._pick = pick
        # Why it stops before its time.
        self._why: BaseException | None = None

    def begin(self, seconds: float = NEVER) -> None:
        late = TimeoutError(f'not done in {seconds:g} seconds')
        self._alarm = self.reactor.call_later(seconds, self._stop, late)
        for part in self._parts:
            part.add_done_callback(self._part_ended)
        if not self._parts:
            self._end()

    def _part_ended(self, part: Future) -> None:
        self._left -= 1
        error = part.exception()
        if error is not None:
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
        # Told that time is up, work may end with a value all the same, or have had it already.
        stopped = not isinstance(self._why, (TimeoutError, type(None)))
        values, backs = [], []
        for part in self._parts:
            give_back = part.give_back
            value, error = part.outcome()
            stopped = stopped or error is not None
            values.append(value)
            if give_back is not None:
                backs.append(partial(give_back, value))

        def return_all(_: Any) -> None:
            for back in backs:
                back()

        if self._why is not None and stopped:
            return_all(None)
            self.set_exception(self._why)
        else:
            self.give_back = return_all
            self.set_result(self._pick(values))

    def cancel(self) -> bool:
        """Cancel the parts; it is done when they have ended."""
        if self._done:
            return Future.cancel(self)
        self._seen = True
        self._stop(Cancelled())
        return True


# -- standing in line ---------------------------------------------------------------------------

# Futures that wait, each with what it brought along. Ordered, with both ends and the middle cheap
# to take from, however long it is.
_Line = OrderedDict[Future, Any]


def _stand(line: _Line, brought: Any = None,
           give_back: Callable[[Any], Any] | None = None) -> Future:
    """Stand at the end of a line, until served or cancelled."""
    future = Future(give_back=give_back)
    line[future] = brought
    future.on_cancel = lambda: line.pop(future)
    return future


class Event:
    """Something that has happened, or not yet.

        yield event.wait()      # goes on when somebody called event.set()
    """

    __slots__ = ('_happened', '_line')

    def __init__(self) -> None:
        self._happened = False
        self._line: _Line = OrderedDict()

    def is_set(self) -> bool:
        """Tell whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let all who wait go on, and all who come later pass."""
        self._happened = True
        while self._line:
            self._line.popitem(last=False)[0].set_result()

    def clear(self) -> None:
        """Let those who come from now on wait again."""
        self._happened = False

    def wait(self) -> Future:
        """Give a Future that is done as soon as it is set."""
        future = _stand(self._line)
        if self._happened:
            self.set()
        return future


class Semaphore:
    """At most `places` at a time.

        with (yield semaphore.acquire()):
            ...                             # the place is given back at the end of the block

    This is safe when the task is cancelled while it waits.
    """

    __slots__ = ('_free', '_line', '_places')

    def __init__(self, places: int = 1) -> None:
        self._places = self._free = places
        # Somebody waits only while no place is free.
        self._line: _Line = OrderedDict()

    def locked(self) -> bool:
        """Tell whether all places are taken."""
        return self._free == 0

    def acquire(self) -> Future:
        """Wait for a place; the value releases it at the end of a `with` block."""
        place = ExitStack()
        place.callback(self.release)
        future = _stand(self._line, place, ExitStack.close)
        self._serve()
        return future

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

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(1)


class Queue:
    """Items on their way from some tasks to others; at most `maxsize` at a time (0: any number).

        yield queue.put(item)       # waits while it is full
        item = yield queue.get()    # waits while it is empty

    `put_nowait` and `get_nowait` raise the `Full` and `Empty` of the standard module `queue`.
    """

    __slots__ = ('_getters', '_items', '_putters', 'maxsize')

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
        future = _stand(self._putters, item)
        self._serve()
        return future

    def get(self) -> Future:
        """Take the oldest item, when there is one; one that is given back is the oldest again."""
        future = _stand(self._getters, give_back=self._put_back)
        self._serve()
        return future

    def put_nowait(self, item: Any) -> None:
        """Add an item. Raises `queue.Full`."""
        if self.full():
            raise queue.Full
        self._items.append(item)
        self._serve()

    def get_nowait(self) -> Any:
        """Take the oldest item. Raises `queue.Empty`."""
        if not self._items:
            raise queue.Empty
        item = self._items.popleft()
        self._serve()
        return item

    def _put_back(self, item: Any) -> None:
        self._items.appendleft(item)
        self._serve()

    def _serve(self) -> None:
        """Let go on who need not wait any more."""
        while True:
            if self._getters and self._items:
                self._getters.popitem(last=False)[0].set_result(self._items.popleft())
            elif self._putters and not self.full():
                future, item = self._putters.popitem(last=False)
                self._items.append(item)
                future.set_result()
            else:
                return

"""Waiting for time and for each other: sleep, gather, timeout, Event, Lock, Semaphore, Queue.

All give Futures, so they are waited for by `yield` in a generator and by `await` in a coroutine.
Who waits stands in line, first come first served; who is cancelled leaves the line. A lock or an
item is handed straight to the first in line (nobody can snatch it in between), and if that one is
cancelled before it goes on, the lock or the item goes back: nothing is lost (see `Handover`).

What gives a Future, and `set`, `clear` and `release`, may be called on a worker thread too: there
it is handed to the loop and happens soon, in the order of the calls.
"""

from __future__ import annotations

import inspect
import queue
from collections import OrderedDict, deque
from typing import Any, Callable

from .errors import Cancelled, InvalidState
from .future import Future, Handover, current_reactor
from .task import spawn
from .timers import Timer


def on_loop(callback: Callable[..., Any], *args: Any) -> None:
    """Call it now; on a worker thread soon, on the thread of the reactor it works for."""
    try:
        reactor = current_reactor()
    except RuntimeError:
        # No reactor runs here, so this is a program that sets things up, or a host's own code.
        callback(*args)
        return
    if reactor.in_thread():
        callback(*args)
    else:
        reactor.call_soon_threadsafe(callback, *args)


# -- time ---------------------------------------------------------------------------------------


def sleep(seconds: float, result: Any = None) -> Future:
    """Give `result` after `seconds`. Cancelling the Future cancels its timer."""
    future = Handover()
    on_loop(_set_alarm, future, seconds, result)
    return future


def _set_alarm(future: Future, seconds: float, result: Any) -> None:
    if not future.done():
        future.on_cancel = future.reactor.call_later(seconds, future.set_result, result).cancel


# -- several at once, and not for ever ----------------------------------------------------------


class _Joint(Handover):
    """A Future of what several parts give. It ends when all parts have ended.

    When it stops before its time (a part fails, it is cancelled, time is up) it cancels the parts,
    and waits for their end too: work that nobody waits for any more is never left running.
    """

    __slots__ = ('_left', '_parts', '_why')

    def __init__(self) -> None:
        Handover.__init__(self)
        self._parts: list[Future] = []
        self._left = 0
        # Why it stops before its time.
        self._why: BaseException | None = None

    def begin(self, awaitables: tuple[Any, ...]) -> None:
        if self._why is None:
            self._parts = [_as_future(awaitable) for awaitable in awaitables]
        self._left = len(self._parts)
        for part in self._parts:
            part.add_done_callback(self._part_ended)
        if not self._left:
            self.all_ended()

    def _part_ended(self, part: Future) -> None:
        self._left -= 1
        error = part.exception()
        if error is not None:
            self.stop(error)
        if not self._left:
            self.all_ended()

    def stop(self, why: BaseException) -> None:
        """Cancel what still runs; end with `why` when it has ended. The first call counts."""
        if self._why is None:
            self._why = why
            for part in self._parts:
                part.cancel()

    def all_ended(self) -> None:
        if self._why is not None:
            self._parts = []
            self.set_exception(self._why)
        else:
            self.set_result(self.values())

    def values(self) -> list[Any]:
        # Looked at, but not taken: while nobody has taken ours, the parts may still be given back.
        return [Future.outcome(part)[0] for part in self._parts]

    def cancel(self) -> bool:
        """Cancel the parts; it is done when they have ended."""
        if self._done:
            return Handover.cancel(self)
        self._seen = True
        self.stop(Cancelled())
        return True

    def outcome(self) -> tuple[Any, BaseException | None]:
        self._take_parts()
        return Handover.outcome(self)

    def result(self) -> Any:
        value = Handover.result(self)
        self._take_parts()
        return value

    def _take_parts(self) -> None:
        parts, self._parts = self._parts, []
        for part in parts:
            part.outcome()

    def hand_back(self, value: Any) -> None:
        parts, self._parts = self._parts, []
        for part in parts:
            part.cancel()


class _Timeout(_Joint):
    """A Joint of one part that has not for ever."""

    __slots__ = ('_timer',)

    def __init__(self) -> None:
        _Joint.__init__(self)
        self._timer: Timer | None = None

    def begin_within(self, seconds: float, awaitable: Any) -> None:
        self._timer = self.reactor.call_later(seconds, self._late, seconds)
        self.begin((awaitable,))

    def _late(self, seconds: float) -> None:
        # What is done already and only not told yet came in time.
        if not self._parts[0].done():
            self.stop(TimeoutError(f'not done in {seconds:g} seconds'))

    def all_ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if isinstance(self._why, TimeoutError) and self._parts[0].exception() is None:
            # Told to stop it ended with a value all the same: nothing that is there is lost.
            self._why = None
        _Joint.all_ended(self)

    def values(self) -> Any:
        return _Joint.values(self)[0]


def gather(*awaitables: Any) -> Future:
    """Run Futures, generators and coroutines side by side; give the list of their values.

    The first error cancels the others, waits for their end (their `finally` may wait too) and is
    then raised; errors after it are dropped. Cancelling it cancels all.
    """
    for awaitable in awaitables:
        _check(awaitable)
    joint = _Joint()
    on_loop(joint.begin, awaitables)
    return joint


def timeout(seconds: float, awaitable: Any) -> Future:
    """Give what `awaitable` gives, or cancel it after `seconds` and raise `TimeoutError`.

    The error is raised when the work has ended. Work that ends with a value all the same, in that
    last moment, has its value given. Cancelling this cancels the work.
    """
    _check(awaitable)
    joint = _Timeout()
    on_loop(joint.begin_within, seconds, awaitable)
    return joint


def _check(awaitable: Any) -> None:
    if not (isinstance(awaitable, Future) or inspect.isgenerator(awaitable)
            or inspect.iscoroutine(awaitable)):
        raise TypeError(f'{awaitable!r} is no Future, generator or coroutine')


def _as_future(awaitable: Any) -> Future:
    return awaitable if isinstance(awaitable, Future) else spawn(awaitable)


# -- standing in line ---------------------------------------------------------------------------


class _Line:
    """Futures that wait, each with a value it brought along; a cancelled one leaves by itself."""

    __slots__ = ('_futures',)

    def __init__(self) -> None:
        # Ordered, with both ends and the middle cheap to take from, however long it is.
        self._futures: OrderedDict[Future, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, future: Future, brought: Any = None) -> None:
        if not future.done():
            self._futures[future] = brought
            future.on_cancel = lambda: self._futures.pop(future, None)

    def next(self) -> tuple[Any, Any]:
        """Take the first out of the line, with what it brought."""
        return self._futures.popitem(last=False)


class Event:
    """Something that has happened, or not yet.

        yield event.wait()      # goes on when somebody called event.set()
    """

    __slots__ = ('_happened', '_line')

    def __init__(self) -> None:
        self._happened = False
        self._line = _Line()

    def is_set(self) -> bool:
        """Tell whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let all who wait go on, and all who come later pass."""
        on_loop(self._set)

    def clear(self) -> None:
        """Let those who come from now on wait again."""
        on_loop(self._clear)

    def wait(self) -> Future:
        """Give a Future that is done as soon as it is set."""
        future = Future()
        on_loop(self._wait, future)
        return future

    def _set(self) -> None:
        self._happened = True
        while self._line:
            self._line.next()[0].set_result()

    def _clear(self) -> None:
        self._happened = False

    def _wait(self, future: Future) -> None:
        if not self._happened:
            self._line.add(future)
        elif not future.done():
            future.set_result()


class Semaphore:
    """At most `places` at a time.

        with (yield semaphore.acquire()):
            ...                             # the place is given back at the end of the block

    This is safe when the task is cancelled while it waits. `release` gives a place back by hand.
    """

    __slots__ = ('_free', '_line')

    def __init__(self, places: int = 1) -> None:
        self._free = places
        self._line = _Line()

    def locked(self) -> bool:
        """Tell whether all places are taken."""
        return self._free == 0

    def acquire(self) -> Future:
        """Wait for a place; the value releases it at the end of a `with` block."""
        future = Handover(self._take_back)
        on_loop(self._acquire, future)
        return future

    def release(self) -> None:
        """Give a place back: to the first in line, if somebody waits."""
        on_loop(self._release)

    def _acquire(self, future: Future) -> None:
        if self._free == 0:
            self._line.add(future)
        elif not future.done():
            self._free -= 1
            future.set_result(_Place(self))

    def _release(self) -> None:
        if self._line:
            self._line.next()[0].set_result(_Place(self))
        else:
            self._free += 1

    def _take_back(self, place: _Place) -> None:
        self._release()


class Lock(Semaphore):
    """One at a time: `with (yield lock.acquire()):`."""

    __slots__ = ()

    def __init__(self) -> None:
        Semaphore.__init__(self, 1)

    def _release(self) -> None:
        if not self.locked():
            raise InvalidState('the lock is not held')
        super()._release()


class _Place:
    """A place in a semaphore, released at the end of a `with` block."""

    __slots__ = ('_semaphore',)

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        self._semaphore.release()


class Queue:
    """Items on their way from some tasks to others; at most `maxsize` at a time (0: any number).

        yield queue.put(item)       # waits while it is full
        item = yield queue.get()    # waits while it is empty

    `put_nowait` and `get_nowait` raise the `Full` and `Empty` of the standard module `queue`; they
    are for the loop's thread only.
    """

    __slots__ = ('_getters', '_items', '_number', '_putters', 'maxsize')

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        # Numbered as they came, so that one that is given back finds its place again.
        self._items: deque[tuple[int, Any]] = deque()
        self._number = 0
        # Getters wait only while there is no item, putters only while it is full.
        self._getters = _Line()
        self._putters = _Line()

    def qsize(self) -> int:
        """Return how many items are held."""
        return len(self._items)

    def full(self) -> bool:
        """Tell whether `put` would wait."""
        return 0 < self.maxsize <= len(self._items)

    def put(self, item: Any) -> Future:
        """Add an item, when there is room. Cancelled before that, the item was never there."""
        future = Future()
        on_loop(self._put, future, item)
        return future

    def get(self) -> Future:
        """Take the oldest item, when there is one."""
        getter = _Getter(self)
        on_loop(self._get, getter)
        return getter

    def put_nowait(self, item: Any) -> None:
        """Add an item. Raises `queue.Full`."""
        if self.full():
            raise queue.Full
        self._add(item)

    def get_nowait(self) -> Any:
        """Take the oldest item. Raises `queue.Empty`."""
        if not self._items:
            raise queue.Empty
        return self._take()[1]

    def _put(self, future: Future, item: Any) -> None:
        if self.full():
            self._putters.add(future, item)
        elif not future.done():
            self._add(item)
            future.set_result()

    def _get(self, getter: _Getter) -> None:
        if not self._items:
            self._getters.add(getter)
        elif not getter.done():
            getter.give(*self._take())

    def _add(self, item: Any) -> None:
        self._number += 1
        if self._getters:
            self._getters.next()[0].give(self._number, item)
        else:
            self._items.append((self._number, item))

    def _take(self) -> tuple[int, Any]:
        numbered = self._items.popleft()
        if self._putters and not self.full():
            future, item = self._putters.next()
            self._add(item)
            future.set_result()
        return numbered

    def put_back(self, number: int, item: Any) -> None:
        """Take an item back that its getter did not live to receive; it keeps its turn."""
        if self._getters:
            self._getters.next()[0].give(number, item)
            return
        place = 0
        while place < len(self._items) and self._items[place][0] < number:
            place += 1
        self._items.insert(place, (number, item))


class _Getter(Handover):
    """A Future of an item, which remembers the item's number."""

    __slots__ = ('_number', '_queue')

    def __init__(self, origin: Queue) -> None:
        Handover.__init__(self)
        self._queue = origin
        self._number = 0

    def give(self, number: int, item: Any) -> None:
        self._number = number
        self.set_result(item)

    def hand_back(self, value: Any) -> None:
        self._queue.put_back(self._number, value)

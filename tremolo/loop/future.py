"""Future: one value, later.

A Future belongs to the reactor that was current when it was made. Set it on that reactor's thread;
on another thread use `reactor.call_soon_threadsafe(future.set_result, value)`. Its callbacks run
from the ready queue, so that a running generator is never entered a second time.
"""

from __future__ import annotations

import threading
from collections.abc import Generator

from ..frames import caller
from ..typed import TYPE_CHECKING, Any, Callable
from .dropped import FRAMES_STAY, Droppable
from .errors import Cancelled, InvalidState, NoReactor

if TYPE_CHECKING:
    from .reactor import Reactor

_local = threading.local()


def current_reactor() -> Reactor:
    """Return the reactor that this thread runs or works for. Raises `RuntimeError` without one."""
    reactor: Reactor | None = getattr(_local, 'reactor', None)
    if reactor is None:
        raise NoReactor('no reactor runs in this thread')
    return reactor


def runs_here(reactor: Reactor) -> bool:
    """Return whether it is the reactor that this thread runs or works for."""
    return getattr(_local, 'reactor', None) is reactor


def set_current_reactor(reactor: Reactor | None) -> Reactor | None:
    """Make `reactor` the current one of this thread, and return the one before."""
    before, _local.reactor = getattr(_local, 'reactor', None), reactor
    return before


def wait_by(wait: Callable[[threading.Event], Any]) -> None:
    """Let `wait` do the waiting for a Future in this thread, a worker thread."""
    _local.wait = wait


def on_loop(reactor: Reactor, callback: Callable[..., Any], *args: Any) -> None:
    """Call `callback` now; from a worker thread soon, on the reactor's thread, in order."""
    if reactor.in_loop_thread():
        callback(*args)
    else:
        reactor.call_soon_threadsafe(callback, *args)


class Future(Droppable):
    """A value that is not there yet. `yield` or `await` returns the value or raises the error.

        future = Future()
        reactor.call_later(1, future.set_result, 'done')
        value = yield future

    A value that must reach its receiver (a lock, an item, a connected socket) needs `give_back`.
    The waiting task may be cancelled after the value was set and before the task goes on. The task
    then cancels the Future, and `give_back(value)` hands the lock to the next waiting task. The
    same happens to a value that nobody waits for (dropped.py).
    """

    __slots__ = ('_callbacks', '_done', '_error', '_origin', '_seen', '_value', 'give_back',
                 'on_cancel', 'reactor')

    def __init__(self, reactor: Reactor | None = None,
                 give_back: Callable[[Any], Any] | None = None) -> None:
        self.reactor = reactor if reactor is not None else current_reactor()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], Any]] = []
        # Whether code has waited for it or looked at it; otherwise an error is logged, not lost.
        self._seen = False
        # Called by `cancel`, to stop the work behind it (a timer, a thread's job).
        self.on_cancel: Callable[[], Any] | None = None
        self.give_back = give_back    # None once the value was taken.
        self._origin = caller() if self.reactor.debug else None

    def done(self) -> bool:
        """Return whether it has a value or an error, or was cancelled."""
        return self._done

    def cancelled(self) -> bool:
        """Return whether it ended by `cancel`."""
        return isinstance(self._error, Cancelled)

    def result(self) -> Any:
        """Return the value or raise the error; `InvalidState` if neither is there.

        A thread other than the reactor's waits for it, and gets `Cancelled` if the reactor closes.
        """
        if not self._done:
            self._wait_in_thread()
        value, error = self.outcome()
        if error is not None:
            # (The error's traceback leads here: with these two it would be a cycle.)
            box = [error]
            del self, error
            raise box.pop()
        return value

    def exception(self) -> BaseException | None:
        """Return the error, or None if it ended well. Raises `InvalidState` when not done."""
        if not self._done:
            raise InvalidState('this Future has no value yet')
        self._seen = True
        return self._error

    def outcome(self) -> tuple[Any, BaseException | None]:
        """Return `(value, error)` of a Future that is done, and count the value as taken."""
        self._seen = True
        self.give_back = None
        return self._value, self._error

    def where(self) -> str:
        """Return file:line at which the work behind it stands, or a word, for reports."""
        return 'ended' if self._done else 'unknown'

    def set_result(self, value: Any = None) -> None:
        """Set the value. Raises `InvalidState` if it is done."""
        self._finish(value, None)

    def set_exception(self, error: BaseException) -> None:
        """Set an error instead of a value. Raises `InvalidState` if it is done."""
        self._finish(None, error)

    def cancel(self, message: str = '') -> bool:
        """End it with `Cancelled(message)`; return False if it was done.

        If it was done and nobody has taken its value, the value is given back.
        """
        if self._done:
            give_back, self.give_back = self.give_back, None
            if give_back is not None:
                give_back(self._value)
            return False
        stop = self.on_cancel
        self._seen = True
        self._finish(None, Cancelled(message))
        if stop is not None:
            stop()
        return True

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Call `callback(self)` from the ready queue when it is done, or soon if it is already."""
        self._seen = True
        if self._done:
            self.reactor.call_soon(callback, self)
        else:
            self._callbacks.append(callback)

    def withdraw(self, callback: Callable[[Any], Any], message: str = '') -> None:
        """Remove a callback; if it was the last one, cancel the Future."""
        self._callbacks = [each for each in self._callbacks if each != callback]
        if not self._callbacks:
            self.cancel(message)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        if self._done:
            raise InvalidState('this Future is done already')
        self._done = True
        self._value, self._error = value, error
        if error is not None:
            self.give_back = None
            if FRAMES_STAY and not self._seen:
                self.failed()
        self.on_cancel = None    # It refers to the work behind the Future, which has ended.
        for callback in self._callbacks:
            self.reactor.call_soon(callback, self)
        self._callbacks.clear()

    def _wait_in_thread(self) -> None:
        if self.reactor.in_loop_thread():
            raise InvalidState('this Future has no value yet: yield it or await it')
        ended = threading.Event()
        # First add, then look at `closed`. A reactor that closes sets `closed` first and then
        # calls `at_close`, so one of the two sees the other, and no thread waits for ever.
        self.reactor.at_close.add(ended.set)
        if not self.reactor.closed:
            self.reactor.call_soon_threadsafe(self.add_done_callback, lambda _: ended.set())
            getattr(_local, 'wait', threading.Event.wait)(ended)
        self.reactor.at_close.discard(ended.set)
        if not self._done:
            raise Cancelled('the reactor was closed')

    def __await__(self) -> Generator[Any, Any, Any]:
        if _wait is not None:
            yield from _wait(self)
        elif not self._done:
            yield self
        box = [self]
        del self    # (As in `result`.)
        return box.pop().result()

    __iter__ = __await__

    def __del__(self) -> None:
        try:
            taken = self._seen and self.give_back is None
        except AttributeError:    # The constructor raised.
            return
        if not taken:
            self.dropped()


# The function by which a coroutine waits for a Future, if asyncio may run the coroutine.
_wait: Callable[[Future], Generator[Any, Any, None]] | None = None


def await_by(wait: Callable[[Future], Generator[Any, Any, None]]) -> None:
    """Let `wait` do the waiting in each `await future`; the bridge to asyncio sets this."""
    global _wait
    _wait = wait

"""Future: one value, later.

A Future belongs to the reactor that was current where it was made. It is set on that reactor's
thread (from elsewhere use `reactor.call_soon_threadsafe`), and calls back from the ready queue, so
that a generator that is running is never re-entered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable

from .errors import Cancelled, InvalidState
from .frames import caller

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo.loop')
_local = threading.local()


def current_reactor() -> Reactor:
    """Return the one that this thread runs or works for. Raises `RuntimeError` without one."""
    reactor: Reactor | None = getattr(_local, 'reactor', None)
    if reactor is None:
        raise RuntimeError('no reactor runs in this thread')
    return reactor


def set_current_reactor(reactor: Reactor | None) -> Reactor | None:
    """Make `reactor` this thread's current one and return the one before."""
    before, _local.reactor = getattr(_local, 'reactor', None), reactor
    return before


def on_loop(reactor: Reactor, callback: Callable[..., Any], *args: Any) -> None:
    """Call it now; on a worker thread soon, on the reactor's own, in the order of the calls."""
    if reactor.in_loop_thread():
        callback(*args)
    else:
        reactor.call_soon_threadsafe(callback, *args)


class Future:
    """A value that is not there yet. `yield` it or `await` it: that gives it or raises its error.

        future = Future()
        reactor.call_later(1, future.set_result, 'done')
        value = yield future

    A value that must reach its receiver (a lock, an item, a connected socket) comes with
    `give_back`. The waiting task may be cancelled after the value was set and before it goes on,
    and cancels what it waited for: then `give_back(value)` hands the lock to the next in line.
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
        # Whether anybody has waited or looked: an error nobody sees is logged, not lost.
        self._seen = False
        # Called when it is cancelled, to stop the work behind it (a timer, a thread's job).
        self.on_cancel: Callable[[], Any] | None = None
        self.give_back = give_back    # None once the value was taken: nobody else gives it back.
        self._origin = caller() if self.reactor.debug else None

    def done(self) -> bool:
        """Tell whether the value, the error or the cancellation is there."""
        return self._done

    def cancelled(self) -> bool:
        """Tell whether it ended by `cancel`."""
        return isinstance(self._error, Cancelled)

    def result(self) -> Any:
        """Return the value or raise the error; `InvalidState` if neither is there.

        Another thread than the reactor's waits for it; `Cancelled` if the reactor is closed.
        """
        if not self._done:
            self._wait_in_thread()
        value, error = self.outcome()
        if error is not None:
            raise error
        return value

    def exception(self) -> BaseException | None:
        """Return the error, or None if it ended well. Raises `InvalidState` when not done."""
        if not self._done:
            raise InvalidState('this Future has no value yet')
        self._seen = True
        return self._error

    def outcome(self) -> tuple[Any, BaseException | None]:
        """Return `(value, error)` of a Future that is done; for a trampoline."""
        self._seen = True
        self.give_back = None
        return self._value, self._error

    def where(self) -> str:
        """Return where the work behind it stands, as file:line, for reports."""
        return 'ended' if self._done else 'unknown'

    def set_result(self, value: Any = None) -> None:
        """Give the value. Raises `InvalidState` if it has one."""
        self._finish(value, None)

    def set_exception(self, error: BaseException) -> None:
        """Give an error instead of a value. Raises `InvalidState` if it is done."""
        self._finish(None, error)

    def cancel(self) -> bool:
        """End it with `Cancelled`; False: it was done (its value goes back if nobody took it)."""
        if self._done:
            give_back, self.give_back = self.give_back, None
            if give_back is not None:
                give_back(self._value)
            return False
        stop = self.on_cancel
        self._seen = True
        self._finish(None, Cancelled())
        if stop is not None:
            stop()
        return True

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Call `callback(self)` from the ready queue once it is done (soon, if it is)."""
        self._seen = True
        if self._done:
            self.reactor.call_soon(callback, self)
        else:
            self._callbacks.append(callback)

    def withdraw(self, callback: Callable[[Any], Any]) -> None:
        """Take back a callback that was added; if it was the last, cancel the Future."""
        self._callbacks = [each for each in self._callbacks if each != callback]
        if not self._callbacks:
            self.cancel()

    def _finish(self, value: Any, error: BaseException | None) -> None:
        if self._done:
            raise InvalidState('this Future is done already')
        self._done = True
        self._value, self._error = value, error
        if error is not None:
            self.give_back = None
        self.on_cancel = None    # Whatever it holds of the work behind it would outlive that work.
        for callback in self._callbacks:
            self.reactor.call_soon(callback, self)
        self._callbacks.clear()

    def _wait_in_thread(self) -> None:
        if self.reactor.in_loop_thread():
            raise InvalidState('this Future has no value yet: yield it or await it')
        ended = threading.Event()
        # First this, then the look at `closed`: a reactor that closes does them the other way
        # round, so one of the two sees the other and nobody waits for ever.
        self.reactor.at_close.add(ended.set)
        if not self.reactor.closed:
            self.reactor.call_soon_threadsafe(self.add_done_callback, lambda _: ended.set())
            ended.wait()
        self.reactor.at_close.discard(ended.set)
        if not self._done:
            raise Cancelled('the reactor was closed')

    def __await__(self) -> Generator[Any, Any, Any]:
        if _wait is not None:
            yield from _wait(self)
        elif not self._done:
            yield self
        return self.result()

    __iter__ = __await__

    def __del__(self) -> None:
        if getattr(self, '_seen', True):    # A constructor that raised left no attributes.
            return
        if self._error is not None and not isinstance(self._error, Cancelled):
            _log.error('an error was never looked at', exc_info=self._error)
        elif self._origin is not None and (not self._done or self.give_back is not None):
            _log.warning('%s: a Future was dropped without being waited for: is a `yield` missing?',
                         self._origin)


# How a coroutine waits for a Future if another loop than ours may run the coroutine.
_wait: Callable[[Future], Generator[Any, Any, None]] | None = None


def await_by(wait: Callable[[Future], Generator[Any, Any, None]]) -> None:
    """Let `wait` do the waiting of each `await future`; the bridge to asyncio sets this."""
    global _wait
    _wait = wait

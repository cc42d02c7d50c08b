"""Task: resumes a generator or a coroutine each time what it waits for is there.

What a generator may yield, and what happens then:

    a Future    it waits; the `yield` gives the Future's value or raises its error
    None        others get a turn
    awaitable   asyncio runs it (`adopt_awaitables_by`), and the task waits for its value
    the rest    is handed to the task's owner, if it has one: `owner.emit(value)` takes it (None) or
                returns a Future to wait for (backpressure); without an owner it is a mistake

A task starts at once, inside its constructor: a generator that never waits has ended when that
returns. It has a `contextvars.Context` of its own. README.md tells what cancels what.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Coroutine, Generator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Callable, Protocol

from .errors import Cancelled
from .frames import place_of
from .future import Future, current_reactor
from .timers import Timer

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo.loop')

TIME_SLICE = 0.01    # Seconds that one resume may go on without waiting, before others get a turn.
CLEANUP_TIMEOUT = 10.0    # Seconds until a cancelled task that waits in its `finally` is closed.
# The clock is looked at from this resume on: each time would cost a hello world 3 % (measured).
_FREE_RESUMES = 4
_NOTHING: Any = object()    # In the place of a yielded value: the generator is to be resumed first.


class Owner(Protocol):
    """Who takes what a generator yields, and is told before it waits or lets others run."""

    def emit(self, value: Any) -> Future | None: ...

    def pausing(self) -> None: ...


class Task(Future):
    """A generator or coroutine on its way; a Future of what it returns: `yield Task(job())`."""

    __slots__ = ('_awaitable', '_closer', '_context', '_doom', '_owner', '_waiting')

    def __init__(self, awaitable: Generator[Any, Any, Any] | Coroutine[Any, Any, Any], *,
                 owner: Owner | None = None, context: contextvars.Context | None = None,
                 reactor: Reactor | None = None, later: bool = False,
                 yielded: Any = _NOTHING) -> None:
        """Start it; with `later` from the ready queue, as it must be when made on another thread.

        `context`: a copy of the caller's unless given. `yielded`: what a begun generator gave last.
        """
        Future.__init__(self, reactor)
        self._awaitable: Any = awaitable
        self._owner = owner
        self._context = context if context is not None else contextvars.copy_context()
        # What it waits for; None while it runs or stands in the ready queue.
        self._waiting: Future | None = None
        self._doom: Cancelled | None = None    # What is to be thrown once it is cancelled.
        self._closer: Timer | None = None    # What closes it if it does not end then.
        if later:
            self.reactor.tasks.add(self)
            self.reactor.call_soon_threadsafe(self._resume)
        else:
            self._context.run(self._run, yielded)

    def where(self) -> str:
        """Return where it stands, as file:line of the innermost generator; or 'ended'."""
        return place_of(self._awaitable)

    def cancel(self) -> bool:
        """Throw `Cancelled` into it, soon; return False if it was done already."""
        if not self._done and self._closer is None:
            self._seen = True
            self._doom = Cancelled()
            self._closer = self.reactor.call_later(CLEANUP_TIMEOUT, self._give_up)
            self._abandon()
        return not self._done

    def _abandon(self) -> None:
        """Wait no longer, if it does: it goes on from the ready queue."""
        if (waited := self._waiting) is not None:
            self._waiting = None
            waited.withdraw(self._resume)
            self.reactor.call_soon(self._resume)

    def _resume(self, arrived: Future | None = None) -> None:
        """Go on, with the outcome of what it waited for. Called from the ready queue."""
        # It may have been cancelled or closed after the Future ended and before this call.
        if self._done or arrived is not self._waiting:
            return
        self._waiting = None
        error, self._doom = self._doom, None
        self._context.run(self._run, _NOTHING if arrived is None else arrived, error)
        del arrived, error    # The generator's last frame may keep this one (see `Reactor._guard`).

    def _run(self, yielded: Any, error: BaseException | None = None) -> None:
        """Do what was yielded, and resume the generator, until it has to wait or ends."""
        awaitable, owner = self._awaitable, self._owner
        value, resumes, spent = None, 0, False
        while True:
            if yielded is None:
                return self._pause(None)
            if isinstance(yielded, Future):
                if spent or not yielded.done():
                    return self._pause(yielded)
                value, error = yielded.outcome()
            elif yielded is not _NOTHING:
                try:
                    yielded = awaited(yielded) if owner is None else owner.emit(yielded)
                    if yielded is not None or spent:
                        continue
                except Exception as exc:
                    # Raised at the `yield` that gave it, where the mistake is.
                    error = exc.with_traceback(None)
            try:
                yielded = awaitable.send(value) if error is None else awaitable.throw(error)
            except StopIteration as stop:
                yielded = error = None
                return self._end(stop.value, None)
            except KeyboardInterrupt:
                raise
            except BaseException as exc:
                yielded = error = None
                # Without our own frame in its traceback the error does not refer to this task, and
                # there is no cycle. From Python 3.12 on a generator's last frame refers to ours
                # all the same; but nobody reads where a cancelled task stood.
                if isinstance(exc, Cancelled) or exc.__traceback__ is None:
                    return self._end(None, exc.with_traceback(None))
                return self._end(None, exc.with_traceback(exc.__traceback__.tb_next))
            value = error = None
            resumes += 1
            if resumes == _FREE_RESUMES:
                slice_end = self.reactor.time() + TIME_SLICE
            elif resumes > _FREE_RESUMES:
                spent = self.reactor.time() >= slice_end

    def _pause(self, waited: Future | None) -> None:
        """Stop until `waited` is done; with None, or when cancelled, until others had a turn."""
        if self._owner is not None:
            self._owner.pausing()
        self.reactor.tasks.add(self)
        self._waiting = waited
        if waited is None:
            self.reactor.call_soon(self._resume)
        else:
            waited.add_done_callback(self._resume)
            if self._doom is not None:
                self._abandon()

    def _end(self, value: Any, error: BaseException | None) -> None:
        # What it held would live as long as whoever holds the task.
        self._awaitable = self._owner = None
        if self._closer is not None:
            self._closer.cancel()
        self.reactor.tasks.discard(self)
        self._finish(value, error)

    def _give_up(self) -> None:
        _log.error('%s: a cancelled task did not end in %g seconds and is closed', self.where(),
                   CLEANUP_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Close the generator now, waiting for nothing; for a reactor that ends."""
        if not self._done:
            self._seen = True
            self._abandon()
            try:
                self._context.run(self._awaitable.close)
            except (Exception, Cancelled) as exc:
                _log.error('%s: closing a task failed', self.where(), exc_info=exc)
            self._end(None, Cancelled())


def spawn(awaitable: Generator[Any, Any, Any] | Coroutine[Any, Any, Any]) -> Task:
    """Start a task of the current reactor: at once, or, on a worker thread, soon and on its own."""
    reactor = current_reactor()
    return Task(awaitable, reactor=reactor, later=not reactor.in_loop_thread())


# Makes a Future of an awaitable that is not ours.
_adopt: Callable[[Any], Future] | None = None


def adopt_awaitables_by(adopt: Callable[[Any], Future]) -> None:
    """Let `adopt` make a Future of what is awaitable and not ours: asyncio's coroutines, say.

    The loop knows nothing of asyncio. The package `tremolo` sets this when it is imported; asyncio
    is imported when the first such awaitable comes.
    """
    global _adopt
    _adopt = adopt


def awaited(value: Any, mistake: type[Exception] = TypeError, other: str = '') -> Future:
    """Let asyncio run what it can await, a coroutine above all. Raises `mistake` for the rest."""
    if hasattr(value, '__await__') and _adopt is not None:
        return _adopt(value)
    if isinstance(value, GeneratorType):
        name = value.__name__
        raise mistake(f'yielded the generator {name}(): write `yield from {name}()`')
    raise mistake(f'yielded {type(value).__name__}, which is not a Future{other}')

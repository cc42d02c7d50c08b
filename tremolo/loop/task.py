"""Task: a generator or a coroutine that is resumed each time when what it waits for is there.

What a generator may yield, and what happens then:

    a Future      the task waits; the `yield` returns the Future's value or raises its error
    None          other tasks get a turn
    an awaitable  asyncio runs it (foreign.py), and the task waits for its value
    other values  go to the task's owner: `owner.emit(value)` takes the value (and returns None) or
                  returns a Future to wait for (backpressure); without an owner it is a mistake

A task starts at once, inside its constructor: a generator that never waits has ended when the
constructor returns. Each task has a `contextvars.Context` of its own. README.md draws the life of a
task, and tells what cancels what.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Coroutine, Generator

from ..frames import place_of
from ..typed import TYPE_CHECKING, Any, Protocol
from .done import DONE
from .errors import Cancelled
from .foreign import awaited
from .future import Future
from .signals import caught
from .timers import Timer

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo.loop')

TIME_SLICE = 0.01    # Seconds that a task may go on without waiting, before others get a turn.
CLEANUP_TIMEOUT = 10.0    # Seconds until a cancelled task that waits in its `finally` is closed.
# The clock is read from this resume on; to read it on each one costs a hello world 3 % (measured).
_FREE_RESUMES = 4
_NOTHING: Any = object()    # Instead of a yielded value: the generator has to be resumed first.


class Owner(Protocol):
    """The receiver of the values that a generator yields."""

    def emit(self, value: Any) -> Future | None:
        """Take a yielded value; return None, or a Future that the task has to wait for."""

    def pausing(self) -> None:
        """Record that the task is about to wait, or to let others run."""


class Task(Future):
    """A generator or coroutine that runs; also the Future of its result: `yield Task(job())`."""

    __slots__ = ('_awaitable', '_closer', '_doom', '_waiting', 'context', 'owner')

    def __init__(self, awaitable: Generator[Any, Any, Any] | Coroutine[Any, Any, Any], *,
                 owner: Owner | None = None, context: contextvars.Context | None = None,
                 reactor: Reactor | None = None, later: bool = False,
                 yielded: Any = _NOTHING) -> None:
        """Start it at once; with `later` from the ready queue (needed on another thread).

        `context` is a copy of the caller's unless given. `yielded` is the last value of a generator
        that has begun already.
        """
        Future.__init__(self, reactor)
        self._awaitable: Any = awaitable
        self.owner = owner    # Who takes what it yields; None after its end.
        self.context = context if context is not None else contextvars.copy_context()
        # The Future that it waits for; None while it runs or stands in the ready queue.
        self._waiting: Future | None = None
        # After `cancel`: the error to raise in it next, and the timer that closes it if it does
        # not end.
        self._doom: Cancelled | None = None
        self._closer: Timer | None = None
        if later:
            self.reactor.tasks.add(self)
            self.reactor.call_soon_threadsafe(self._resume)
        else:
            self.context.run(self._run, yielded)

    def where(self) -> str:
        """Return where it stands, as file:line of the innermost generator; or 'ended'."""
        return place_of(self._awaitable)

    def cancel(self, message: str = '') -> bool:
        """Raise `Cancelled(message)` in it, soon; return False if it was done already."""
        if self._done:
            return Future.cancel(self)    # Its value goes back.
        if self._closer is None:
            self._seen = True
            self._doom = Cancelled(message)
            self._closer = self.reactor.call_later(CLEANUP_TIMEOUT, self._give_up)
            self._abandon()
        return True

    def _abandon(self) -> None:
        """Stop waiting; a task that waited goes on from the ready queue."""
        if (waited := self._waiting) is not None:
            self._waiting = None
            waited.withdraw(self._resume, str(self._doom or ''))
            self.reactor.call_soon(self._resume)

    def _resume(self, arrived: Future | None = None) -> None:
        """Go on with the outcome of the Future it waited for; called from the ready queue."""
        # The task may have been cancelled or closed between the end of the Future and this call.
        if self._done or arrived is not self._waiting:
            return
        self._waiting = None
        error, self._doom = self._doom, None
        self.context.run(self._run, _NOTHING if arrived is None else arrived, error)
        del arrived, error    # The generator's last frame may keep this one (see `Reactor.guard`).

    def _run(self, yielded: Any, error: BaseException | None = None, value: Any = None) -> None:
        """Act on the yielded value and resume the generator, until it has to wait or ends."""
        awaitable, owner = self._awaitable, self.owner
        resumes, spent = 0, False
        while True:
            if yielded is DONE and not spent:
                pass    # There is nothing to wait for, and this is common.
            elif yielded is None:
                return self._pause(None)
            elif isinstance(yielded, Future):
                if spent or not yielded.done():
                    return self._pause(yielded)
                value, error = yielded.outcome()
            elif yielded is not _NOTHING:
                try:
                    yielded = awaited(yielded) if owner is None else owner.emit(yielded)
                    if yielded is not None or spent:
                        continue
                except BaseException as exc:
                    # Raised at the `yield` of that value, where the mistake is.
                    error = caught(exc).with_traceback(None)
            try:
                yielded = awaitable.send(value) if error is None else awaitable.throw(error)
            except StopIteration as stop:
                yielded = error = None
                return self._end(stop.value, None)
            except BaseException as exc:
                yielded = error = None
                exc = caught(exc)
                # Our own frame leaves the traceback: then the error does not refer to this task,
                # and there is no cycle. From Python 3.12 on the generator's last frame refers to
                # ours all the same. A cancelled task needs no traceback, so all of it goes.
                if isinstance(exc, Cancelled) or exc.__traceback__ is None:
                    return self._end(None, exc.with_traceback(None))
                return self._end(None, exc.with_traceback(exc.__traceback__.tb_next))
            value = error = None
            resumes += 1
            if resumes == _FREE_RESUMES:
                slice_end = self.reactor.slice_end(owner)
            elif resumes > _FREE_RESUMES:
                spent = self.reactor.time() >= slice_end

    def _pause(self, waited: Future | None) -> None:
        """Wait until `waited` is done; with None, or after `cancel`, until others had a turn."""
        if self.owner is not None:
            self.owner.pausing()
        self.reactor.tasks.add(self)
        self._waiting = waited
        if waited is None:
            self.reactor.call_soon(self._resume)
        else:
            waited.add_done_callback(self._resume)
            if self._doom is not None:
                self._abandon()

    def _end(self, value: Any, error: BaseException | None) -> None:
        # A finished task may be kept for long; the generator and the owner need not be.
        self._awaitable = self.owner = None
        if self._closer is not None:
            self._closer.cancel()
        self.reactor.tasks.discard(self)
        self._finish(value, error)

    def _give_up(self) -> None:
        _log.error('%s: a cancelled task did not end in %g seconds and is closed', self.where(),
                   CLEANUP_TIMEOUT)
        self.close()

    def close(self) -> None:
        """Close the generator now, without waiting for it; for a reactor that ends."""
        if not self._done:
            self._seen = True
            self._abandon()
            try:
                self.context.run(self._awaitable.close)
            except BaseException as exc:
                _log.error('%s: closing a task failed', self.where(), exc_info=caught(exc))
            self._end(None, Cancelled())

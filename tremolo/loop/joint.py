"""Joint: one Future of several: gather, and timeout, which joins a work and its time.

A joint Future ends when all of its parts have ended: nothing is left running behind it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack

from ..typed import Any, Callable
from .errors import Cancelled
from .future import Future, on_loop
from .shared_future import SharedFuture
from .spawn import not_awaitable, spawn
from .timers import NEVER


def gather(*awaitables: Any) -> Future:
    """Run Futures, generators and coroutines side by side; return a Future of their values.

    The first error cancels the other parts and is raised when all have ended; later errors are
    dropped. To cancel the Future cancels all parts.
    """
    return _Joint(awaitables, list)


def timeout(seconds: float, awaitable: Any) -> Future:
    """Return a Future of the awaitable's value; after `seconds` cancel it, raise `TimeoutError`.

    The error is raised when the work has ended; if the work ends with a value all the same, the
    Future gets the value. To cancel the Future cancels the work.
    """
    return _Joint((awaitable,), lambda values: values[0], seconds)


class _Joint(Future):
    """A Future of several parts, done when all have ended; `pick` makes its value of theirs."""

    __slots__ = ('_alarm', '_left', '_parts', '_pick', '_why')

    def __init__(self, awaitables: tuple[Any, ...], pick: Callable[[list[Any]], Any],
                 seconds: float = NEVER) -> None:
        # All are checked before the first begins.
        for each in awaitables:
            if not isinstance(each, Generator) and not hasattr(each, '__await__'):
                raise TypeError(not_awaitable(each))
        Future.__init__(self)
        self._parts = [_part(each) for each in awaitables]
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
        """Cancel the parts that run, and end with `why` when they have ended; once."""
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
                # `outcome` takes the value over. The last value goes back first, so that the items
                # of a queue keep their order.
                backs.callback(part.give_back, part.outcome()[0])
        # After the time is up a part may end with a value all the same, or may have one already.
        good = all(part.exception() is None for part in self._parts)
        if self._why is None or (good and not isinstance(self._why, Cancelled)):
            self.give_back = lambda _: backs.close()
            self.set_result(self._pick([part.outcome()[0] for part in self._parts]))
        else:
            backs.close()
            self.set_exception(self._why)

    def cancel(self, message: str = '') -> bool:
        """Cancel the parts; this Future is done when they have ended."""
        if self._done:
            return Future.cancel(self, message)
        self._seen = True
        self._stop(Cancelled(message))
        # Also after a timeout: nobody takes a late value any more.
        self._why = Cancelled(message)
        return True


def _part(awaitable: Any) -> Future:
    """Return a Future of a part, which the joint one may cancel."""
    if isinstance(awaitable, SharedFuture):
        return awaitable.follower()
    return awaitable if isinstance(awaitable, Future) else spawn(awaitable)

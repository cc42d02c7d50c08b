"""NextMessage: the Future of the next message, as `receive` returns it.

A task that waits for it may become its `taker`, instead of adding a callback as for other Futures.
Then it goes on within the read that brings the message, and not from the ready queue.

A Future is made to be kept, and looked at again; but hardly anybody does so with this one. If only
the socket and the taker have it, it is not even set: the taker gets the message, and the socket has
the Future for the next one (`spare`). CPython counts references, so there it is known.
"""

from __future__ import annotations

import sys

from ..loop import Future
from ..typed import TYPE_CHECKING, Any, Callable, Protocol

if TYPE_CHECKING:
    from ..loop import Reactor

# Counts the references to an object. (Where nothing counts them, nobody is ever alone.)
count: Callable[[object], int] = getattr(sys, 'getrefcount', lambda _: 0)


def _count_of_local() -> int:
    """Return what is counted of an object that one local variable refers to."""
    local = object()
    return count(local)


# What is counted of a NextMessage that only a local variable, the socket and the taker refer to.
ALONE = _count_of_local() + 2


class Taker(Protocol):
    """A task that waits for a message."""

    def take(self, message: str | bytes) -> None:
        """Go on with the message, at once."""

    def arrived(self, message: Future) -> None:
        """Go on with the outcome of the Future, from the ready queue."""


class NextMessage(Future):
    """The next message of a socket, for one who receives it."""

    __slots__ = ('taker',)

    def __init__(self, reactor: Reactor, give_back: Callable[[Any], Any]) -> None:
        super().__init__(reactor, give_back)
        self.taker: Taker | None = None

    def wake(self, message: str | bytes) -> None:
        """Give the message to all who wait for it; the taker goes on at once."""
        taker, self.taker = self.taker, None
        self.set_result(message)
        if taker is not None:
            self.outcome()    # So it counts as taken.
            taker.take(message)

    def withdraw(self, callback: Callable[[Any], Any], message: str = '') -> None:
        """Remove a callback; if nobody is left who waits, cancel the Future."""
        if self.taker is None:
            super().withdraw(callback, message)
        else:
            self._callbacks = [each for each in self._callbacks if each != callback]

    def _finish(self, value: Any, error: BaseException | None) -> None:
        taker, self.taker = self.taker, None
        if taker is not None:
            self._callbacks.append(taker.arrived)
        super()._finish(value, error)

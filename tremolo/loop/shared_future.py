"""SharedFuture: one Future that any number of tasks wait for, and that none of them can cancel.

    begun = SharedFuture(reactor)
    yield begun                     # in each of many tasks
    yield timeout(15, begun)        # after 15 seconds this waiter gives up, and no other one
    begun.set_result()              # now all of them go on

A plain Future is cancelled when the last task that waits for it is cancelled, because then nobody
wants its value. A SharedFuture tells of something that happens whether anybody waits or not. A
waiter that gives up is forgotten at once, so one that waits a thousand times, each time for a
second, leaves nothing behind.
"""

from __future__ import annotations

from functools import partial

from ..typed import TYPE_CHECKING, Any, Callable
from .future import Future, on_loop

if TYPE_CHECKING:
    from .reactor import Reactor


class SharedFuture(Future):
    """A Future that belongs to none of those who wait for it."""

    __slots__ = ('_waiting',)

    def __init__(self, reactor: Reactor) -> None:
        Future.__init__(self, reactor)
        # The callbacks, as the keys of a dictionary: among thousands one leaves as fast as among
        # two, and the order stays.
        self._waiting: dict[Callable[[Any], Any], None] = {}
        self._origin = None    # Nobody has to wait for it.

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Call `callback(self)` once, from the ready queue, when it is done, or soon if it is."""
        if self._done:
            Future.add_done_callback(self, callback)
        else:
            self._waiting[callback] = None

    def withdraw(self, callback: Callable[[Any], Any], message: str = '') -> None:
        """Remove a callback; the Future goes on without it."""
        self._waiting.pop(callback, None)

    def cancel(self, message: str = '') -> bool:
        """Return False, and do nothing: others may wait for it."""
        return False

    def follower(self) -> Future:
        """Return a plain Future with the same outcome, which may be cancelled; in any thread."""
        future = Future(self.reactor)
        on_loop(self.reactor, self._lead, future)
        return future

    def _lead(self, follower: Future) -> None:
        if self._done:
            _pass_on(follower, self)
        elif not follower.done():
            follow = partial(_pass_on, follower)
            follower.on_cancel = partial(self.withdraw, follow)
            self.add_done_callback(follow)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        super()._finish(value, error)
        for callback in self._waiting:
            self.reactor.call_soon(callback, self)
        self._waiting.clear()


def _pass_on(follower: Future, shared: Future) -> None:
    """Give the outcome of a SharedFuture that is done to one of its followers."""
    if not follower.done():    # It may have been cancelled meanwhile.
        value, error = shared.outcome()
        if error is None:
            follower.set_result(value)
        else:
            follower.set_exception(error)

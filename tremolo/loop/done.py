"""Done: the Future of what is there already: `yield DONE` and `await DONE` go on at once.

A function that mostly has nothing to wait for returns `DONE` instead of None. So its caller can
always wait, and no object is made.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING, Any
from .future import Future, current_reactor

if TYPE_CHECKING:
    from .reactor import Reactor


class _Done(Future):
    """A Future that all reactors and threads share. It is never set, and keeps nothing."""

    __slots__ = ()

    def __init__(self, value: Any) -> None:
        # (Not by `Future.__init__`, which wants a reactor.)
        self._done = self._seen = True
        self._value = value
        self._error = self.on_cancel = self.give_back = self._origin = None
        self._callbacks = []

    @property
    def reactor(self) -> Reactor:    # type: ignore[override]
        """The reactor of the caller: a callback runs on it."""
        return current_reactor()


DONE = _Done(None)
NO_BYTES = _Done(b'')    # What a read returns after the end.

"""Few: calls that may take long, of which each turn of the loop makes few.

Twenty clients may send 256 KiB of JSON that ends at once. To parse all of it in one turn would hold
up all others for a second. What such calls take shows only later in the turn, when tasks go on; so
if some have to wait, their number follows the turns: twice as many as long as turns are short, or
hardly longer than with half of them; one after a turn that was long, and much longer.
"""

from __future__ import annotations

from collections import deque

from ..loop import Reactor
from ..typed import Any, Callable

_FIRST, _MOST = 2, 64    # So many calls in a turn at first, and at most.
_SHORT, _LONG = 0.005, 0.02    # Seconds of a turn.
_HARDLY, _MUCH = 1.25, 1.5    # Times the turn before.


class Few:
    """Calls that may take long, in their order."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.waiting: deque[Callable[[], Any]] = deque()
        self.most = _FIRST    # So many in a turn.
        # The turn in which the last ones were made, how many, and when it began.
        self._turn, self._made, self._begun = -1, 0, 0.0
        self._took = 0.0    # Seconds of the last turn with as many as might be.

    def call(self, callback: Callable[[], Any]) -> None:
        """Call it now, or in a later turn if this one has made enough, or others wait."""
        if not self.waiting and self._may():
            callback()
        else:
            self.waiting.append(callback)
            if len(self.waiting) == 1:
                self._reactor.call_soon(self._next)

    def _may(self) -> bool:
        """Count a call; return False if there are enough in this turn."""
        reactor = self._reactor
        if self._turn != reactor.turns:
            self._turn, self._made, self._begun = reactor.turns, 0, reactor.now
        self._made += 1
        return self._made <= self.most

    def _next(self) -> None:
        """Go on with those that wait."""
        if self.waiting and self._turn != self._reactor.turns:
            # (What the last ones do has come before this one, and no poll has waited since then.)
            before, self._took = self._took, self._reactor.time() - self._begun
            if self._took > max(_LONG, _MUCH * before):
                self.most = 1
            elif self._took < max(_SHORT, _HARDLY * before):
                self.most = min(2 * self.most, _MOST)
        while self.waiting and self._may():
            self._reactor.guard(self.waiting.popleft(), ())
        if self.waiting:
            self._reactor.call_soon(self._next)

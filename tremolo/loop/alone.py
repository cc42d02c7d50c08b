"""Alone: calls that may take long, of which each turn of the loop makes one.

Twenty clients may send 256 KiB of JSON that ends at once. To parse all of it in one turn would hold
up all others for a second.
"""

from __future__ import annotations

from collections import deque

from ..typed import Any, Callable
from .reactor import Reactor


class Alone:
    """Calls that may take long, in their order."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._turn = -1    # The turn in which the last one was made.
        self.waiting: deque[Callable[[], Any]] = deque()

    def call(self, callback: Callable[[], Any]) -> None:
        """Call it now, or in a later turn if this one has made such a call, or others wait."""
        self.waiting.append(callback)
        if len(self.waiting) == 1:
            self._next()

    def _next(self) -> None:
        if self.waiting:    # (What rations turns takes them out.)
            callback = None
            if self._turn != self._reactor.turns:
                self._turn = self._reactor.turns
                callback = self.waiting.popleft()
            if self.waiting:
                self._reactor.call_soon(self._next)
            if callback is not None:
                callback()

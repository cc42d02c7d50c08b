"""Refusals: a poller, real or simulated, whose calls fail when a test wants it.

    refusals = Refusals(poller)
    refusals.next(3, errno.ENOSPC)    # its next three calls fail
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Callable


class Refusals:
    """Counts the calls that change what a poller watches, and lets some of them fail."""

    def __init__(self, poller: Any) -> None:
        self.calls = 0
        self._first = self._times = 0
        self._code = 0
        for name in ('register', 'modify', 'unregister'):
            setattr(poller, name, partial(self._call, getattr(poller, name)))

    def next(self, times: int, code: int, after: int = 0) -> None:
        """Let so many calls fail; so many others come first."""
        self._first, self._times, self._code = self.calls + after, times, code

    def _call(self, change: Callable[..., None], *args: int) -> None:
        number, self.calls = self.calls, self.calls + 1
        if 0 <= number - self._first < self._times:
            raise OSError(self._code, os.strerror(self._code))
        change(*args)

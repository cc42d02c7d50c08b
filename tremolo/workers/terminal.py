"""Terminal: whether a SIGHUP means that the terminal went away, or that somebody sent it.

The kernel and the shell send SIGHUP when a terminal is closed, and `kill -HUP` sends the same
signal; Python does not tell who sent it. But only after the first the process has lost its
controlling terminal: then /dev/tty cannot be opened any more. A program that outlives its terminal
on purpose (`disown`) gets no SIGHUP at that moment; later ones are from somebody. So it matters
when the terminal was seen last. (A shell that ends may send SIGHUP just before its terminal goes:
so who has a terminal waits `MOMENT` and asks again.)
"""

from __future__ import annotations

import os

from ..loop import Reactor
from ..loop.timers import NEVER

MOMENT = 0.3    # Seconds until a shell that has sent SIGHUP has ended.
_EVERY = 1.0    # Seconds between two looks.
_RECENT = 3.0    # A terminal that was seen so many seconds ago went away just now.


class Terminal:
    """Looks for the controlling terminal, in a process that has one at its start."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._seen = -NEVER    # When the terminal was there, at the last look.
        self._look()

    @property
    def recent(self) -> bool:
        """Whether there is a terminal, or was just now."""
        return self._reactor.time() - self._seen < _RECENT

    def hung_up(self) -> bool:
        """Return whether the terminal went away just now."""
        return self.recent and not has_terminal()

    def _look(self) -> None:
        if has_terminal():
            self._seen = self._reactor.time()
            self._reactor.call_later(_EVERY, self._look)


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open('/dev/tty', os.O_RDONLY | os.O_NOCTTY))
    except (OSError, AttributeError):    # Windows has no such file, and no O_NOCTTY.
        return False
    return True

"""Full polls: more fds are ready than one poll shows, so the timers have to wait for the rest.

A poll shows `MOST_EVENTS` at most. After code that held up the loop more fds may be ready: bytes of
a thousand clients, that came in time. If the timers fired after the first poll, those that end what
is silent for too long would end the clients whose bytes no poll has shown yet.
"""

from __future__ import annotations

from .poller import MOST_EVENTS

# After a poll with so many events more fds may be ready. (kqueue may report an fd twice.)
MANY = MOST_EVENTS // 2


class FullPolls:
    """Counts the full polls in a row for which the timers have waited."""

    __slots__ = ('_count', '_turn')

    def __init__(self) -> None:
        self._count = 0
        self._turn = 0    # The turn of the last of them.

    def hold_back(self, turn: int, watched: int) -> bool:
        """Tell whether the timers have to wait after a full poll in this turn.

        They wait no longer than it takes to show each of the `watched` fds once.
        """
        self._count = self._count + 1 if turn == self._turn + 1 else 1
        self._turn = turn
        if self._count * MANY < watched:
            return True
        self._count = 0
        return False

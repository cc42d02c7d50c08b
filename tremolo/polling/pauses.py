"""Pauses: the loop did not turn for a while, so timers wait until all has had one turn.

A process is stopped (SIGSTOP), a virtual machine moves, a handler holds up the loop: then deadlines
pass that nobody could keep. What came in time lies unread in the sockets, and a poll that was asked
to wait until a deadline reports nothing at all when it wakes behind it (Python's `poll` after a
SIGCONT). So a turn that is late holds its timers back for itself and one turn more: all that is
ready is read, and who waited for it has run, before a deadline passes.

Here it is noticed, and counted in `missed`. Who has a deadline gives that time back: a connection
by server/missed_time.py, all else by loop/patience.py.

The clock of Linux and of macOS stands still while the system is suspended, and no deadline passes
then; a stopped process and most machines that move find it gone on.
"""

from __future__ import annotations

import math

# Seconds behind the deadline, or the begin of the turn before, from which on a turn is late.
LATE = 0.1
_LONG = 1.0    # From so many seconds on they are missed: they count against nobody.
# So many seconds before the deadline that it missed first the loop may have been stopped already:
# an idle loop has nothing to do meanwhile, so nobody knows.
_BEFORE = 5.0
_TURNS = 2    # Turns that the timers wait: the late one, and a whole one.


class Pauses:
    """The late turns of one reactor; `missed` are the seconds of all long pauses."""

    __slots__ = ('_count', '_turn', 'missed', 'until')

    def __init__(self) -> None:
        self.missed = 0.0
        self.until = -math.inf    # When the last long pause ended.
        self._count = 0    # Turns in a row in which the timers have waited.
        self._turn = 0    # The last of them.

    def hold_back(self, turn: int, now: float, due: float, last: float) -> bool:
        """Tell whether the timers have to wait in this turn, which began at `now`.

        The first of them is `due`; the turn before began at `last`. After code that moves a
        deadline into the past nothing is late.
        """
        late = now - max(due, last)
        if late >= _LONG:
            # No more than the loop turned since the last pause: however often handlers hold it up,
            # a deadline comes after twice its time.
            self.missed += min(now - max(due - _BEFORE, last), last - self.until)
            self.until = now
        if turn == self._turn + 1:
            self._count += 1
        elif late >= LATE:
            self._count = 1
        else:
            return False
        self._turn = turn if self._count <= _TURNS else 0
        return self._count <= _TURNS

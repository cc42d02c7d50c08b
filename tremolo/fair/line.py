"""Line: clients that wait until there is time for them, and how much time there is.

A line has a *credit*. It grows with the time in which no line is served: by a part of it while
light clients have the turn, by all of it while none is there. A step may overdraw the credit, and
then the line waits until that is paid back.
"""

from __future__ import annotations

from collections.abc import Iterator

from .accounts import Account

_LONG = 0.02    # Seconds of a step that is half of the mean.
# What a line gets for each second that light clients have, in seconds; and the most credit.
_SHARE, _RICHEST = 1 / 8, 0.005
_LOOK_AT = 32    # So many are compared: each turn must be short, however long the line.


class Line:
    """Clients in the order in which they came, and their credit in seconds."""

    def __init__(self) -> None:
        self._waiting: dict[Account, None] = {}
        self.credit = 0.0
        # What its steps take, in the mean over their time: short ones hardly count.
        self.cost = 0.0
        self.paid = 0.0    # The time of its steps since the last turn began.
        self._oldest = False    # Whether the next one is who has waited longest.

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Account]:
        return iter(tuple(self._waiting))

    def earn(self, seconds: float, idle: bool = False) -> None:
        """Count the seconds of a turn that no line had.

        In an `idle` turn no light one was there: all of it could have been the line's.
        """
        self.credit = min(self.credit + (seconds if idle else _SHARE * seconds), _RICHEST)
        self.paid = 0.0

    def pay(self, cost: float) -> None:
        """Count a step of `cost` seconds."""
        self.paid += cost
        self.cost += (cost - self.cost) * cost / (cost + _LONG)
        # (One step at most is owed: what was served because nobody else was there is no debt.)
        self.credit = max(self.credit - cost, min(self.credit, -cost))

    def join(self, account: Account) -> None:
        """Let a client wait, unless it does already."""
        if account.line is None:
            account.line = self
            self._waiting[account] = None

    def leave(self, account: Account) -> None:
        """Let a client go that waits here."""
        account.line = None
        del self._waiting[account]

    def next(self, turn: int) -> Account | None:
        """Return who has waited longest, or of the first ones who is heavy for the shortest time.

        So who has cost little does not wait for a long line, and nobody waits for ever. Those that
        have nothing to do in this turn are passed over.
        """
        least, looked_at = None, 0
        oldest = self._oldest
        for account in self._waiting:
            if account.turn == turn or account.held is not None:
                if least is None or account.until < least.until:
                    least = account
                looked_at += 1
                if oldest or looked_at == _LOOK_AT:
                    break
        self._oldest = not oldest
        return least

"""Accounts: what each client has cost the loop lately, and which costs are heavy.

A *step* is what cannot be interrupted: all that one call of a reader or a callback does. A step is
heavy if it takes several times as long as a light one does in this program, on this machine. What a
light one takes is the lower eighth of all steps: as soon as one step in eight is light, heavy ones
cannot move it, and when all are equally slow, none is heavy.
"""

from __future__ import annotations

from collections import deque

from ..typed import Any, Callable

# A step is heavy if it takes so many times as long as a light one, but never if it takes less than
# so many seconds. (A hello world takes 0.01 to 0.02 ms; so a turn of 64 of them is 1 ms.)
_TIMES, _LEAST = 4, 0.00005
# The factors that move the usual cost, up after a longer step and down after a shorter one: in
# balance when one step in eight is shorter, since 1.04 ** 7 is 1 / 0.76.
_UP, _DOWN = 1.04, 0.76
# A client is heavy for so many times its step's cost, times the clients; at most so many seconds.
# So all heavy ones together, forgiven again and again, cost half of the time at most.
_MEMORY, _LONGEST = 2, 60.0


class Account:
    """What one watched fd has cost; it stays that of a client that has gone, and of its tasks."""

    __slots__ = ('fd', 'held', 'known', 'line', 'mask', 'turn', 'until', 'watcher')

    def __init__(self, fd: int, watcher: Any, known: bool) -> None:
        self.fd = fd
        self.watcher = watcher
        self.known = known    # Whether it was served, or was there when the rationing began.
        self.until = 0.0    # The time until which it is heavy.
        self.line: Any = None    # The line in which it stands.
        # What the poller said of it, and in which turn.
        self.mask = self.turn = 0
        self.held: deque[Callable[[], Any]] | None = None    # Callbacks that wait, too.

    def is_light(self, now: float) -> bool:
        """Return whether it is served before those in the lines."""
        return self.known and self.line is None and self.until <= now


class Usual:
    """What a light step costs, in seconds."""

    __slots__ = ('cost',)

    def __init__(self, costs: list[float]) -> None:
        """Begin with the costs of some steps."""
        self.cost = sorted(costs)[len(costs) // 8] if costs else _LEAST / _TIMES

    def note(self, cost: float) -> bool:
        """Take the cost of a step into account; return whether it is heavy. Hot."""
        usual = self.cost
        self.cost = max(usual * (_UP if cost > usual else _DOWN), 1e-6)
        return cost > _LEAST and cost > _TIMES * usual

    def is_heavy(self, cost: float) -> bool:
        """Return whether a step that costs so much is heavy."""
        return cost > _LEAST and cost > _TIMES * self.cost


def heavy_until(account: Account, cost: float, now: float, clients: float) -> float:
    """Return how long a client is heavy after a step: until the others have had as much, twice."""
    return min(max(account.until, now) + _MEMORY * cost * clients, now + _LONGEST)

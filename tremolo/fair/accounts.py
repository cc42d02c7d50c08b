"""Accounts: what each client has cost the loop lately, and which costs are heavy.

A *step* is what cannot be interrupted: all that one call of a reader or a callback does. A step is
heavy if it takes very long, or several times as long as a light one does in this program, on this
machine. A sixteenth of all steps is shorter than what a light one takes: so as soon as one step in
sixteen is light, heavy ones cannot move it.
"""

from __future__ import annotations

from collections import deque

from ..loop import Reactor
from ..typed import Any, Callable

# A step is heavy if it takes so many times as long as a light one; never if it takes less than so
# many seconds, and always if it takes more. (A hello world takes 0.01 to 0.02 ms.)
_TIMES, _LEAST, _MOST = 4, 0.0001, 0.02
# No request is answered in less than so many seconds; what takes less is no measure.
_NOTHING = 0.000005
_FEW = 64    # Fewer steps are not looked at.
# A client is heavy for so many times its step's cost, times the clients; at most so many seconds.
# So all heavy ones together, forgiven again and again, cost a quarter of the time. A step of _ONCE
# seconds is paid for by being light before it: any step may be long once.
_MEMORY, _LONGEST, _ONCE = 4, 60.0, 0.002
_MANY = 64    # So many accounts are kept that may be of no use any more.
_STEADY = 0.001    # Seconds of a step that is half of the mean of a client's steps.


class Account:
    """What one watched fd has cost; it stays that of its client, also for tasks that outlive it."""

    __slots__ = ('cost', 'ended', 'ending', 'fd', 'heavy', 'held', 'known', 'later', 'line',
                 'mask', 'passed_over', 'passes', 'served', 'turn', 'until', 'watcher')

    def __init__(self, watcher: Any, since: float | None = None) -> None:
        """`since`: when a newcomer came; None for who has been there for long."""
        self.watcher = watcher
        self.fd = -1    # (It is found when there is an event for it.)
        self.known = since is None    # Whether it was served, or was there before the rationing.
        self.until = since or 0.0    # The time until which it is heavy.
        self.heavy = False    # Whether it ever was.
        # What its steps take, in the mean over their time: short ones hardly count. 0: it had none.
        self.cost = 0.0
        self.served = 0    # The turn of its last step.
        self.later = 0.0    # Seconds of its callbacks since it was served in a line.
        self.passes = 0    # How many more of them need not wait.
        # Whether a long body of it has ended, and whether the end of one waits in the line.
        self.ended = self.ending = False
        self.passed_over = False    # Whether the last turn had no time for it.
        self.line: Any = None    # The line in which it stands.
        # What the poller said of it, and in which turn.
        self.mask = self.turn = 0
        self.held: deque[Callable[[], Any]] | None = None    # Callbacks that wait, too.

    def is_light(self, now: float) -> bool:
        """Return whether it is served before those in the lines."""
        return (self.known and self.line is None and self.until <= now
                and not self.watcher.last)


class Accounts:
    """The accounts of all clients of a reactor, by the watchers of their fds."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._accounts: dict[Any, Account] = {}
        # The watchers of newcomers that were not served yet, and when they came.
        self._unknown: dict[Any, float] = {}
        # With so many they are looked through; the turn in which they were.
        self._most, self._tidied = _MANY, 0

    def __len__(self) -> int:
        return len(self._accounts) + len(self._unknown)

    def of(self, fd: int) -> Account | None:
        """Return the account of an fd, if it is watched."""
        watcher = self._reactor.watchers.get(fd)
        if watcher is None:
            return None
        account = self.of_watcher(watcher)
        account.fd = fd
        return account

    def of_watcher(self, watcher: Any) -> Account:
        """Return an account, also if its client has gone."""
        account = self._accounts.get(watcher)
        if account is None:
            account = self._accounts[watcher] = Account(watcher, self._unknown.get(watcher))
            account.served = self._tidied    # (It may have been forgotten: it is not the first.)
        return account

    def note_newcomer(self, fd: int) -> None:
        """Note that an fd is watched from now on: nothing is known of it until it is served."""
        watcher = self._reactor.watchers.get(fd)
        if watcher is not None:    # (A child has no fds of its parent's, see loop/forks.py.)
            self._unknown[watcher] = self._reactor.now

    def know(self, account: Account) -> None:
        """Note that a newcomer was served."""
        account.known = True
        self._unknown.pop(account.watcher, None)

    def tidy(self, turn: int) -> None:
        """Let go of who has gone and of light ones that have been idle since the last time.

        (Thousands of idle ones may be watched, and each account takes 200 bytes.) Who is heavy is
        kept: a task may outlive its client. So is who waits.
        """
        if len(self) > self._most:
            watched, now = set(self._reactor.watchers.values()), self._reactor.now
            self._unknown = {watcher: since for watcher, since in self._unknown.items()
                             if watcher in watched}
            self._accounts = {
                watcher: account for watcher, account in self._accounts.items()
                if account.line is not None or account.until > now or (watcher in watched and (
                    account.passed_over or account.served > self._tidied))}
            self._tidied = turn
            self._most = len(self) * 5 // 4 + _MANY


class Usual:
    """What a light step costs, in seconds."""

    __slots__ = ('_costs', '_known', 'cost', 'heavy')

    def __init__(self) -> None:
        self.cost = _LEAST / _TIMES
        self.heavy = _LEAST    # What takes longer is heavy.
        self._costs: list[float] = []    # Those of the last turns.
        self._known = False    # Whether `cost` was found, and is no guess.

    def note(self, account: Account, cost: float) -> bool:
        """Note a step; return whether its client's steps are heavy. Hot: once per step.

        One that only seems heavy, as the machine did something else meanwhile, is a small part of
        what the client's steps take.
        """
        if cost > _NOTHING:
            self._costs.append(cost)
        before = account.cost or cost
        account.cost = usual = before + (cost - before) * cost / (cost + _STEADY)
        return cost > self.heavy and usual > self.heavy

    def settle(self, few: int = _FEW) -> None:
        """Look at the steps of the last turns, if they were not few. Call it between two turns.

        (In a turn the light ones come first: to follow each step would be to follow the last.)
        """
        costs = self._costs
        if len(costs) >= few and costs:
            costs.sort()
            found = costs[len(costs) // 16]
            # (Light ones that have come show at once.)
            self.cost = (self.cost + found) / 2 if self._known and found > self.cost else found
            self._known = True
            self.heavy = min(max(_TIMES * self.cost, _LEAST), _MOST)
            costs.clear()


def heavy_until(account: Account, cost: float, now: float, clients: float) -> float:
    """Return until when a client is heavy after a step: until all others had as much, and more."""
    since = max(account.until, now - _MEMORY * _ONCE * clients)
    return min(since + _MEMORY * cost * clients, now + _LONGEST)

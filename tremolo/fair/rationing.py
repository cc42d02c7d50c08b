"""Rationing: the turns that were too long, and what of the ready fds each turn serves meanwhile.

In each turn the light clients are served first. All others stand in one line: those that are heavy,
and those that came after the rationing began, as nothing is known of them. The line is served from
a *credit*. It grows with the time in which no one of the line is served, by `_FEWEST` to `_MOST` of
it, the more stand there; a step may overdraw it, and then the line waits until that is paid back.
So the light ones keep two thirds of the time, or more, as long as they have something to do. When
they have not, the line is served as if there were no rationing.

What is not served is passed over: a poller shows it again in the next turn. Callbacks of a client
in the line wait there, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..loop import Reactor
from ..loop.timers import NEVER
from ..polling.full_polls import MANY
from ..typed import Any, Callable
from .accounts import Account, Usual, heavy_until

Event = tuple[int, int]

# What the line gets for each second in which it is not served, in seconds.
_FEWEST, _MOST = 1 / 8, 1 / 2
_RICHEST = 0.005    # The most credit, in seconds.
# A light client that asks again as soon as it has its answer is away for less than this. (To serve
# a step of 30 ms meanwhile would leave 64 of them 3 % of the time.)
_PATIENCE = 0.0005
_SERVING = 0.001    # Seconds of the line's steps in a turn, when no light client has been there.
# It ends after so many seconds without a heavy step; if there never was one, after so many turns.
_CALM, _TRIAL = 0.25, 5


class Rationing:
    """One time of rationing, from a turn that was too long until there is no heavy client."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._time = reactor.time
        self.now = reactor.time()    # When this turn began.
        self._known = set(reactor.watchers.values())    # What is watched already is no newcomer.
        self._accounts: dict[int, Account] = {}
        self._line: dict[Account, None] = {}    # In the order in which they came.
        self.current: Account | None = None    # Who pays for what runs now.
        # The steps of the first turn: then all are served, and what is usual is found out.
        self._first: list[tuple[Account, float]] | None = []
        self._usual = Usual([])
        self._turns = 0
        self._credit = 0.0
        self._paid = 0.0    # Seconds in this turn for which the line pays.
        self._lights = 0.0    # How many light clients there are, about.
        self._last_light = -NEVER    # When the last one was served.
        self._last_heavy = self.now    # When the last heavy step ended.
        self.found = False    # Whether there was a heavy step at all.
        self.held = 0    # Clients in the line of which callbacks wait.
        self.postponed = False    # Whether a callback goes on when this turn's events are served.
        self.over = False

    # -- the events of a turn -------------------------------------------------------------------

    def choose(self, events: list[Event]) -> Iterator[Event]:
        """Yield the events to serve in this turn, and measure how long each takes."""
        self._begin_turn()
        light = self._split(events)
        if self._line and len(events) >= MANY:
            light += self._split(self._others(events))
        self._lights = max(len(light), self._lights * 0.98)
        try:
            begun = self._time()
            for account, mask in light:
                self.current = account
                yield account.fd, mask
                ended = self._time()
                self.charge(account, ended - begun, ended)
                begun = ended
            if light:
                self._last_light = begun
            yield from self._serve_line(begun)
        finally:
            self.current = None

    def _begin_turn(self) -> None:
        before, self.now = self.now, self._time()
        share = min(max(len(self._line) / max(self._lights, 1), _FEWEST), _MOST)
        spared = max(self.now - before - self._paid, 0.0)
        self._credit = min(self._credit + share * spared, _RICHEST)
        self._paid = 0.0
        self.postponed = False
        self._turns += 1
        if self._turns == 2:
            first, self._first = self._first or [], None
            self._usual = Usual([cost for _, cost in first])
            for account, cost in first:
                self.charge(account, cost, self.now)

    def _split(self, events: list[Event]) -> list[tuple[Account, int]]:
        """Return those to be served at once; the others stand in the line."""
        light, now, turn = [], self.now, self._turns
        for fd, mask in events:
            account = self.account_of(fd)
            if account is None:
                continue
            if account.is_light(now) or self._first is not None:
                light.append((account, mask))
            else:
                account.mask, account.turn = mask, turn
                self._stand_in_line(account)
        return light

    def _others(self, events: list[Event]) -> list[Event]:
        """Return the events that the first poll did not show: it shows a bounded number."""
        shown = dict(events)
        found: list[Event] = []
        while not found or len(found) % MANY == 0:
            fresh = [event for event in self._reactor.poll_again() if event[0] not in shown]
            if not fresh:
                break
            shown.update(fresh)
            found += fresh
        return found

    def account_of(self, fd: int) -> Account | None:
        """Return the account of an fd that is watched."""
        watcher = self._reactor.watchers.get(fd)
        account = self._accounts.get(fd)
        if account is None or account.watcher is not watcher:
            if watcher is None:
                return None
            account = self._accounts[fd] = Account(fd, watcher, watcher in self._known)
        return account

    # -- costs ----------------------------------------------------------------------------------

    def charge(self, account: Account, cost: float, now: float, in_line: bool = False) -> None:
        """Count a step that took `cost` seconds, until now."""
        account.known = True
        if self._first is not None:
            self._first.append((account, cost))
            return
        if self._usual.note(cost):
            account.until = heavy_until(account, cost, now, self._lights + len(self._line) + 1)
            self._last_heavy = now
            self.found = in_line = True
        if in_line:
            self._paid += cost
            # (One step at most is owed: what was served because nobody else was there is no debt.)
            self._credit = max(self._credit - cost, min(self._credit, -cost))

    def run(self, account: Account, callback: Callable[..., Any], *args: Any) -> None:
        """Call a callback for which a client pays."""
        before, self.current = self.current, account
        begun = self._time()
        try:
            callback(*args)
        finally:
            ended = self._time()
            self.current = before
            self.charge(account, ended - begun, ended)
            del args    # (See `Reactor.guard`.)

    # -- the line -------------------------------------------------------------------------------

    def must_wait(self, account: Account) -> bool:
        """Return whether a callback of a client has to wait in the line."""
        return not (self.over or self._first is not None or account.is_light(self.now))

    def hold(self, account: Account, callback: Callable[[], Any]) -> None:
        """Let a callback wait until its client is served."""
        if account.held is None:
            account.held = deque()
            self.held += 1
            if self.held == 1:
                self._reactor.call_soon(self._stay_awake)
        account.held.append(callback)
        self._stand_in_line(account)

    def _stay_awake(self) -> None:
        """Let no poll wait as long as callbacks do."""
        if self.held and not self.over:
            self._reactor.call_soon(self._stay_awake)

    def _stand_in_line(self, account: Account) -> None:
        if not account.waiting:
            account.waiting = True
            self._line[account] = None

    def _serve_line(self, begun: float) -> Iterator[Event]:
        """Serve those in the line, as far as the credit allows."""
        turn, oldest, until = self._turns, True, begun + _SERVING
        while self._line and not self.postponed and (
                self._credit > 0 or self._last_light + _PATIENCE < begun < until):
            account = self._next(oldest)
            if account is None:
                return
            oldest = not oldest
            self._leave_line(account)
            self.current = account
            begun = self._time()
            self._release(account)
            if account.turn == turn and self._is_watched(account):
                yield account.fd, account.mask
            ended = self._time()
            self.current = None
            self.charge(account, ended - begun, ended, True)
            begun = ended

    def _next(self, oldest: bool) -> Account | None:
        """Return who has waited longest, and every second time who is heavy for the shortest time.

        So a newcomer, or who has cost little, does not wait for a long line; and nobody waits for
        ever.
        """
        turn, least = self._turns, None
        for account in list(self._line):
            if account.held is None and not (account.turn == turn and self._is_watched(account)):
                if not self._is_watched(account):
                    self._leave_line(account)
            elif oldest:
                return account
            elif least is None or account.until < least.until:
                least = account
        return least

    def _is_watched(self, account: Account) -> bool:
        return self._reactor.watchers.get(account.fd) is account.watcher

    def _leave_line(self, account: Account) -> None:
        account.waiting = False
        del self._line[account]

    def _release(self, account: Account) -> None:
        """Call the callbacks that waited with a client; those that it adds wait again."""
        held, account.held = account.held, None
        if held is not None:
            self.held -= 1
            while held:
                held.popleft()()

    # -- the end --------------------------------------------------------------------------------

    def is_calm(self) -> bool:
        """Return whether there is no heavy client any more, or none was found."""
        if self._line:
            return False
        return self.now - self._last_heavy > _CALM if self.found else self._turns > _TRIAL

    def end(self) -> None:
        """Let all go on that wait."""
        self.over = True
        for account in self._line:
            for callback in account.held or ():
                self._reactor.call_soon(callback)
        self._line.clear()
        self._accounts.clear()

"""Rationing: the turns that were too long, and what of the ready fds each turn serves meanwhile.

In each turn the light clients are served first. All others stand in a line: in one those that came
after the rationing began, as nothing is known of them, and in another those that are heavy, and
those whose bytes are thrown away. A line is served from its credit (line.py). So the light ones
keep four fifths of the time as long as they have something to do. When they have not, the lines
are served as without a rationing.

What is not served is passed over: a poller shows it again in the next turn. Callbacks of a client
in a line wait there, too.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from ..loop import Reactor
from ..loop.timers import NEVER
from ..polling.full_polls import MANY
from ..typed import Any, Callable
from .accounts import Account, Accounts, Usual, heavy_until
from .line import Line

Event = tuple[int, int]
Usage = Callable[[], tuple[float, int]]

# A light client that asks again as soon as it has its answer is away for so long at most. (To serve
# a step of 30 ms meanwhile would leave 64 of them 3 % of the time.) A line waits for it a quarter
# of the time that its own steps take, within these bounds, and in vain only once: so it loses a
# fifth of its time at most. A turn takes 5 us.
_PATIENCE, _MOST_PATIENCE, _TURN = 0.001, 0.02, 0.000005
# When no light client has been there, a line has so many usual steps in a turn, which take so many
# seconds at least and at most. (Each turn has costs of its own.) No turn begins a step later.
_STEPS, _SHORTEST, _LONGEST = 16, 0.001, 0.02
_CHEAP = 0.001    # Steps of so many seconds, of which many make a turn, are begun even then.
# The tasks of who was served from a line go on for so many steps: what one of them has read for the
# next, a JSON for example, would lie in memory for long.
_PASSES = 2
# A thread that wants the interpreter's lock has it after so many switch intervals, mostly.
_LOCKED = 2
# It ends after so many seconds without harm; if there never was any, after so many turns. Heavy
# steps do harm if they take more than a part of the time, and so many seconds beyond that: a busy
# machine makes steps heavy, too, now and then.
_CALM, _TRIAL = 0.25, 10
_HARMLESS, _HARM = 1 / 32, 0.003
_VERY_LONG = 0.004    # Seconds of a step.
# (PyPy's collector works in small steps, and has no such list.)
COLLECTOR: list[Any] = getattr(gc, 'callbacks', [])


class Rationing:
    """One time of rationing, from a turn that was too long until there is no heavy client."""

    def __init__(self, reactor: Reactor, usage: Usage | None = None) -> None:
        """Begin; `usage` tells the time that the thread had of a processor, as in machine.py."""
        self._reactor = reactor
        self._time = time = reactor.time
        self._usage = usage or (lambda: (time(), 0))
        # When the collector has begun, and what it took in this step.
        self._collecting, self._collected = time(), 0.0
        if not reactor.simulated:
            COLLECTOR.append(self._note_collection)
        self._use()
        self._used_before = self._used[0]    # What was used when this turn began.
        self.now = self._latest = reactor.time()    # When this turn began; the last step ended.
        self.accounts = Accounts(reactor)
        self._newcomers, self._heavy = self._lines = Line(), Line()
        self.current: Account | None = None    # Who pays for what runs now.
        self.usual = Usual()
        self._cheap = _CHEAP    # Seconds of a step that is cheap.
        self._turns = 0    # In the first one all are served, and what is usual is found out.
        self._lights = 0.0    # How many light clients there are, about.
        self._hurried = 0    # How many wait in the lines who are not `last`.
        # When the last one was served, and in which turn.
        self._last_light, self._light_turn = -NEVER, 0
        self._last_new, self._new_turn = -NEVER, 0    # (And the last newcomer.)
        self._harm, self._harmed = 0.0, self.now    # What heavy steps took lately, and until when.
        self._last_harm = self.now
        self.found = False    # Whether there was harm at all.
        self._passed_over = False    # Whether the last turn had no time for some.
        self._held = 0    # Clients of which callbacks wait.
        self.over = False

    # -- the events of a turn -------------------------------------------------------------------

    def choose(self, events: list[Event]) -> Iterator[Event]:
        """Yield the events to serve in this turn, and measure how long each takes."""
        self._begin_turn()
        forgiven, turn = self._forgiven(), self._turns
        light = self._split(events)
        light += [(account, account.mask if account.turn == turn else 0) for account in forgiven]
        if len(events) >= MANY and any(self._lines):
            light += self._split(self._others(events))
        self._lights = max(len(light), self._lights * 0.98)
        try:
            light.sort(key=self._in_turn)
            begun = self._latest = self._time()
            others = 0    # How many were served of whom it is not known that they are cheap.
            self._passed_over = False
            for account, mask in light:
                if not 0 < account.cost <= self._cheap:
                    others += 1
                    account.passed_over = others > 1 and self._is_late()
                    if account.passed_over:
                        self._passed_over = True
                        continue
                self.current = account
                if account.held is not None:    # (It is forgiven.)
                    self._heavy.leave(account)
                    self._release(account)
                if mask:
                    yield account.fd, mask
                ended = self._time()
                self.charge(account, ended - begun, ended)
                begun = ended
            if light:
                self._last_light, self._light_turn = begun, self._turns
                self._use()
            for line in self._lines:
                if len(line):
                    yield from self._serve(line)
        finally:
            self.current = None

    def _in_turn(self, waiting: tuple[Account, int]) -> tuple[bool, int, bool]:
        """Let who is known to be cheap come first, then who is new here, then who waits longest."""
        account, _ = waiting
        return not 0 < account.cost <= self._cheap, account.served, account.passed_over

    def _begin_turn(self) -> None:
        self.now = self._time()
        self._use()
        before, self._used_before = self._used_before, self._used[0]
        spared = max(self._used_before - before - sum(line.paid for line in self._lines), 0.0)
        no_light = self._light_turn != self._turns
        self._newcomers.earn(spared, no_light)
        self._heavy.earn(spared, no_light and self._new_turn != self._turns)
        self.current = None    # (An exit may have ended the last turn.)
        self.accounts.tidy(self._turns)
        self._turns += 1
        if self._turns == 2:
            self.usual.settle(1)
        else:
            self.usual.settle()
        self._cheap = min(self.usual.heavy, _CHEAP)

    def _split(self, events: list[Event]) -> list[tuple[Account, int]]:
        """Return those to be served at once; the others stand in a line."""
        light, now, turn, first = [], self.now, self._turns, self._turns == 1
        account_of = self.accounts.of
        for fd, mask in events:
            account = account_of(fd)
            if account is None:
                continue
            if account.line is not None:
                account.mask, account.turn = mask, turn
            elif account.is_light(now) or first:
                light.append((account, mask))
            else:
                account.mask, account.turn = mask, turn
                self._line_of(account).join(account)
        return light

    def _forgiven(self) -> list[Account]:
        """Let those leave the line that are heavy no more; return those with callbacks.

        These leave it when they are served: this turn may end, or have no time left, before that.
        """
        served = [account for account in self._heavy if not account.watcher.last]
        self._hurried = len(served) + len(self._newcomers)
        forgiven = [account for account in served
                    if account.until <= self.now and not account.ending]
        for account in forgiven:
            if account.held is None:
                self._heavy.leave(account)
        return [account for account in forgiven if account.held is not None]

    def _others(self, events: list[Event]) -> list[Event]:
        """Return the events that the first poll did not show: it shows a bounded number."""
        shown = dict(events)
        found: list[Event] = []
        while True:
            more = self._reactor.poll_again()
            fresh = [event for event in more if event[0] not in shown]
            found += fresh
            shown.update(fresh)
            if len(more) < MANY or len(fresh) < len(more):
                return found

    def _line_of(self, account: Account) -> Line:
        return self._heavy if account.known else self._newcomers

    # -- costs ----------------------------------------------------------------------------------

    def charge(self, account: Account, cost: float, now: float, line: Line | None = None) -> None:
        """Count a step that took `cost` seconds, until now; a line that was served pays for it.

        Hot: once per step.
        """
        if not account.known:
            self.accounts.know(account)
        account.served, self._latest = self._turns, now
        computed = cost
        collected, self._collected = self._collected, 0.0
        if cost > self.usual.heavy:
            computed = cost = self._own(cost, now)
            if not account.heavy:
                # (The collector looked for what all clients have left behind. Who is known to be
                # heavy may leave it on purpose.)
                computed = max(cost - collected, 0.0)
        if self.usual.note(account, computed) and self._turns > 1:
            clients = self._lights + self._hurried + 1
            account.until = heavy_until(account, computed, now, clients)
            self._note_harm(computed, now)
            if account.until > now:
                account.heavy = True
                line = line or self._heavy
        if line is not None:
            line.pay(cost)

    def _note_harm(self, cost: float, now: float) -> None:
        self._harm = max(self._harm - _HARMLESS * (now - self._harmed), 0.0) + cost
        self._harmed = now
        if self._harm > _HARM:
            self._last_harm = now
            self.found = True

    def _own(self, cost: float, now: float) -> float:
        """Return what a step cost without the time in which another process had the processor.

        If the thread has waited, it was held up as much as by computing; but it may have waited for
        the interpreter's lock, which another thread gives up after a while (`_LOCKED`).
        """
        (cpu, waits), others = self._used, now - cost - self._used_at
        self._use()
        computed = min(cost, max(self._used[0] - cpu - others, 0.0))
        waits = self._used[1] - waits
        if waits and self._threads_work():
            return max(computed, cost - waits * _LOCKED * sys.getswitchinterval())
        return cost if waits else computed

    def _threads_work(self) -> bool:
        """Return whether worker threads have something to do, or have just done it."""
        reactor = self._reactor
        return any(pool.busy for pool in (reactor.pool, *reactor.pools) if pool is not None)

    def _note_collection(self, phase: str, info: object) -> None:
        """Measure what the garbage collector takes; it calls this before and after."""
        if phase == 'start':
            self._collecting = self._time()
        else:
            self._collected += self._time() - self._collecting

    def _use(self) -> None:
        self._used, self._used_at = self._usage(), self._time()

    def run(self, account: Account, callback: Callable[..., Any], *args: Any) -> None:
        """Call a callback for which a client pays."""
        before, self.current = self.current, account
        begun = self._time()
        try:
            callback(*args)
        finally:
            ended = self._time()
            self.current = before
            account.later += ended - begun
            # (A heavy one was let out of its line.)
            self.charge(account, ended - begun, ended,
                        self._heavy if account.until > self.now else None)
            del args    # (See `Reactor.guard`.)

    # -- the lines ------------------------------------------------------------------------------

    def must_wait(self, account: Account, is_task: bool = False) -> bool:
        """Return whether a callback of a client has to wait in a line; a task has `_PASSES`."""
        if self.over:
            return False
        light = account.is_light(self.now) or self._turns == 1
        if is_task and not light and account.passes and account.line is None:
            account.passes -= 1
            return False
        return not light or self._is_late()

    def _is_late(self) -> bool:
        """Return whether this turn has no time left: who has just come shall not wait for long."""
        return self._latest - self.now > _LONGEST

    def hold(self, account: Account, callback: Callable[[], Any]) -> None:
        """Let a callback wait until its client is served."""
        if account.held is None:
            account.held = deque()
            self._held += 1
            if self._held == 1:
                self._reactor.call_soon(self._stay_awake)
        account.held.append(callback)
        self._line_of(account).join(account)

    def hold_end(self, account: Account, callback: Callable[[], Any]) -> None:
        """Let a callback wait in the line of the heavy ones: what follows may be a heavy step."""
        if account.line is None:
            self._heavy.join(account)
        account.ended = account.ending = True
        self.hold(account, callback)

    def _stay_awake(self) -> None:
        """Let no poll wait as long as callbacks do."""
        if self._held and not self.over:
            self._reactor.call_soon(self._stay_awake)

    def _serve(self, line: Line) -> Iterator[Event]:
        """Serve those in a line, as far as its credit allows.

        What they do later in this turn is expected to cost as much as the last time.
        """
        turn, begun, later = self._turns, self._time(), 0.0
        until = begun + min(max(_STEPS * self.usual.cost, _SHORTEST), _LONGEST)
        while line.credit > later or (begun + later < until and self._is_idle(line, begun)):
            account = line.next(turn)
            if account is None:
                self._forget_gone(line)
                return
            line.leave(account)
            self.current = account
            begun = self._time()
            ending, account.ending = account.ending, False
            later, account.later = later + account.later, 0.0
            account.passes = _PASSES
            self._release(account)
            if account.turn == turn and self._is_watched(account):
                yield account.fd, account.mask
            ended = self._time()
            self.charge(account, ended - begun, ended, line)
            begun = ended
            if ending:
                return    # (What that costs is known later in this turn.)
            if line is self._newcomers:
                self._last_new, self._new_turn = ended, turn

    def _is_idle(self, line: Line, now: float) -> bool:
        """Return whether the light ones stay away for longer than a line has to wait.

        (The heavy ones wait for newcomers, too. Newcomers do not wait for each other.)
        """
        last, last_turn = self._last_light, self._light_turn
        if line is self._heavy:
            last, last_turn = max(last, self._last_new), max(last_turn, self._new_turn)
        patience = min(max(line.cost / 4, _PATIENCE), _MOST_PATIENCE)
        return now - last > patience or (self._turns - last_turn) * _TURN > patience

    def _forget_gone(self, line: Line) -> None:
        for account in line:
            if account.held is None and not self._is_watched(account):
                line.leave(account)

    def _is_watched(self, account: Account) -> bool:
        return self._reactor.watchers.get(account.fd) is account.watcher

    def _release(self, account: Account) -> None:
        """Call the callbacks that waited with a client; those that it adds wait again."""
        held, account.held = account.held, None
        if held is not None:
            self._held -= 1
            while held:
                held.popleft()()

    # -- the end --------------------------------------------------------------------------------

    def is_calm(self) -> bool:
        """Return whether there is no heavy client any more, or none was found."""
        if self.found:
            return not any(self._lines) and self.now - self._last_harm > _CALM
        # (If all steps are very long, it costs nothing to measure them, and one turn without is
        # too long for who comes then.)
        return (self._turns > _TRIAL and not self._passed_over
                and self.usual.cost < _VERY_LONG)

    def end(self) -> None:
        """Let all go on that wait."""
        self.over = True
        with suppress(ValueError):
            COLLECTOR.remove(self._note_collection)
        for line in self._lines:
            for account in line:
                line.leave(account)
                held, account.held = account.held or (), None    # (The callbacks may refer to it.)
                for callback in held:
                    self._reactor.call_soon(callback)

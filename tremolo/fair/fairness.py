"""Fairness: when turns are rationed.

The reactor tells of a turn that took too long; it reads the clock for its timers anyway, so this
costs nothing. Then the next turns are rationed (rationing.py) and callbacks are charged
(callbacks.py), until there is no heavy client any more. When none is found, all have the same
right to make turns long: only much longer ones count for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ..loop import Reactor
from ..loop.timers import NEVER
from ..machine import thread_usage
from .callbacks import Charging, Clients
from .rationing import Event, Rationing

_log = logging.getLogger('tremolo.loop')

LONG_TURN = 0.001    # Seconds.
# After a rationing in vain a turn is long if it takes so many times as long; for how long, and when
# others may have come.
_MUCH, _WHILE, _SOON = 2, 8.0, 0.25


class Fairness:
    """Rations the turns of one reactor when they are too long."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.clients: list[Clients] = []
        self.rationing: Rationing | None = None    # As long as turns are rationed.
        self._charging: Charging | None = None
        # (In a simulated world all time is the thread's.)
        self.usage = None if reactor.simulated else thread_usage()
        reactor.long_turn = LONG_TURN
        reactor.at_close.add(self.end)

    def begin(self) -> None:
        """Ration from now on; the reactor calls this after a turn that was too long."""
        reactor = self._reactor
        if self.rationing is None:
            self._longest = reactor.time() - reactor.now
            self.rationing = Rationing(reactor, self.usage)
            self._charging = Charging(reactor, self.rationing, self.clients)
            reactor.choose = self._choose

    def _choose(self, events: list[Event]) -> Iterator[Event]:
        """Yield what is served in this turn, or all of it after the end."""
        rationing = self.rationing
        if rationing is None or self._charging is None:
            yield from events
        elif rationing.is_calm():
            if not rationing.found:
                self._reactor.long_turn = _MUCH * self._longest
                self._look_again(self._reactor.time() + _WHILE)
            self.end()
            yield from events
        else:
            try:
                self._charging.look_at_bridge()
                yield from rationing.choose(events)
            except Exception:    # (It would end the loop. What was not served is shown again.)
                _log.exception('turns are rationed no more')
                self._reactor.long_turn = NEVER
                self.end()

    def _look_again(self, until: float, clients: int = 0) -> None:
        """Take each long turn for one again, after a while or when the clients are others."""
        reactor = self._reactor
        now = len(reactor.watchers)
        if reactor.time() >= until or now != (clients or now):
            reactor.long_turn = LONG_TURN
        else:
            reactor.call_later(_SOON, self._look_again, until, now)

    def end(self) -> None:
        """Ration no more."""
        if self.rationing is not None and self._charging is not None:
            self._reactor.choose = None
            self._charging.end()
            self.rationing.end()
            self.rationing = self._charging = None


def be_fair(reactor: Reactor, *clients: Clients) -> None:
    """Let the clients of a server have their turns, also beside others that cost much."""
    fairness = reactor.fairness
    if fairness is None:
        fairness = reactor.fairness = Fairness(reactor)
    fairness.clients += [each for each in clients if each not in fairness.clients]

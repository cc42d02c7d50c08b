"""Heartbeat: a worker's signs of life.

A beat is sent from inside the loop, so it stays away when the loop hangs, whatever else the process
does. It also carries what the worker asks of its supervisor for as long as that has not happened:
to be renewed (renewal.py).
"""

from __future__ import annotations

from ..loop import Reactor
from .channel import BEAT, Channel
from .renewal import Renewal

# The longest time between two beats; there are three within `worker_timeout`.
_LONGEST = 5.0


class Heartbeat:
    """Beats on a channel for as long as the loop turns."""

    def __init__(self, reactor: Reactor, channel: Channel, renewal: Renewal,
                 worker_timeout: float) -> None:
        self._reactor = reactor
        self._channel = channel
        self._renewal = renewal
        self._every = min((worker_timeout or 3 * _LONGEST) / 3, _LONGEST)
        reactor.call_later(self._every, self._beat)

    def _beat(self) -> None:
        if not self._renewal.ask_again():
            self._channel.send(BEAT)
        self._renewal.look_at_memory()
        if not self._channel.closed:
            self._reactor.call_later(self._every, self._beat)

"""Heartbeat: a worker's signs of life.

A timer of the worker's own loop sends the beats. So they stop when the loop hangs, although other
threads of the process may run. When the worker has asked to be renewed (renewal.py), each beat asks
again, until the new worker is there.
"""

from __future__ import annotations

from ..loop import Reactor
from .channel import BEAT, Channel
from .renewal import Renewal

# Seconds between two beats at most. Three beats fall within `worker_timeout`, so that one or two
# may be late.
_LONGEST = 5.0


class Heartbeat:
    """Sends BEAT or RENEW on a channel for as long as the loop turns."""

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

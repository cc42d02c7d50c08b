"""Renewal: when a worker had better be followed by a new one.

After `max_requests` answers, or beyond `limit_memory` bytes of resident memory, a worker asks its
supervisor to be renewed, as SIGHUP renews all of them.
"""

from __future__ import annotations

import logging
import os
import random

from ..server import Response, Server
from .channel import RENEW, Channel

_log = logging.getLogger('tremolo')


class Renewal:
    """Counts what the worker of a server has done, and asks for the next worker on its channel."""

    def __init__(self, server: Server, channel: Channel) -> None:
        settings = server.settings
        self._channel = channel
        self._memory = settings.limit_memory
        self._asked = False
        if settings.max_requests:
            # By chance up to a tenth more, so that not all workers are renewed at once.
            self._left = settings.max_requests + random.randint(0, settings.max_requests // 10)
            server.request_observers.append(self._count)

    def ask_again(self) -> bool:
        """Ask once more if it has asked before: the worker that came may have failed to start."""
        if self._asked:
            self._channel.send(RENEW)
        return self._asked

    def look_at_memory(self) -> None:
        """Ask if the process has grown beyond its limit."""
        if self._memory and resident_memory() > self._memory:
            self._ask(f'resident memory is above {self._memory} bytes (limit_memory)')

    def _count(self, response: Response, reason: str) -> None:
        self._left -= 1
        if self._left <= 0:
            self._ask('that was the last of max_requests')

    def _ask(self, why: str) -> None:
        if not self._asked:
            self._asked = True
            _log.info('this worker ends: %s', why)
            self._channel.send(RENEW)


def resident_memory() -> int:
    """Return the bytes of resident memory, of a system that tells it in /proc; else 0."""
    try:
        with open('/proc/self/statm', 'rb') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except OSError:
        return 0

"""Heartbeat: a worker's signs of life, and when it had better be followed by a new one.

A beat is sent from inside the loop, so it stays away when the loop hangs, whatever else the process
does. With it the worker looks at itself: after `max_requests` requests, or beyond `limit_memory`
bytes of resident memory, it asks to be renewed, as by SIGHUP.
"""

from __future__ import annotations

import logging
import os
import random

from ..server import Request, Response, Server
from .channel import BEAT, RENEW, Channel

_log = logging.getLogger('tremolo')

# The longest time between two beats; there are three within `worker_timeout`.
_LONGEST = 5.0


class Heartbeat:
    """Beats on a line as long as the server's loop turns."""

    def __init__(self, server: Server, channel: Channel) -> None:
        settings = server.settings
        self._server = server
        self._channel = channel
        self._every = min((settings.worker_timeout or 3 * _LONGEST) / 3, _LONGEST)
        self._left, self._asked = 0, False
        if settings.max_requests:
            # (By chance up to a tenth more, lest all are renewed at once.)
            self._left = settings.max_requests + random.randint(0, settings.max_requests // 10)
            self._handle = server.handle
            for part in {server, *server.parts.values()}:
                part.handle = self._count
        server.reactor.call_later(self._every, self._beat)

    def _beat(self) -> None:
        # (To be asked for again, for the one that came may have failed to start.)
        self._channel.send(RENEW if self._asked else BEAT)
        limit = self._server.settings.limit_memory
        if limit and resident_memory() > limit:
            self._renew(f'resident memory is above {limit} bytes (limit_memory)')
        if not self._channel.closed:
            self._server.reactor.call_later(self._every, self._beat)

    def _count(self, request: Request, response: Response) -> None:
        self._left -= 1
        if self._left <= 0:
            self._renew('that was the last of max_requests')
        self._handle(request, response)

    def _renew(self, why: str) -> None:
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

"""Renewal: when a worker asks its supervisor for a new worker in its place.

It asks after `max_requests` answers, or above `limit_memory` bytes of resident memory. The
supervisor then renews this worker as SIGHUP renews all of them.

A limit below what a worker needs before its first request would renew it for ever: it has no
effect, and that is told at the start. (It ends no start: the memory that the start needs may have
grown since the limit was chosen, and a server that runs on is better than none.)
"""

from __future__ import annotations

import logging
import os
import random
import signal

from ..machine import resident_memory
from ..server import Response, Server
from ..settings import Settings
from .channel import RENEW, Channel

_log = logging.getLogger('tremolo')

# A start that needs more than this part of `limit_memory` leaves no room for requests.
_NEARLY = 7 / 8
_LOOK = 1.0    # Seconds between two looks at the memory of a process without supervisor.


class Renewal:
    """Counts the answers of a server, looks at the memory, and sends RENEW on a channel."""

    def __init__(self, server: Server, channel: Channel | _Alone) -> None:
        settings = server.settings
        self._channel = channel
        self._memory = settings.limit_memory
        self._asked = False
        if settings.max_requests:
            # Up to a tenth more, by chance: workers under equal load are not renewed together.
            self._left = settings.max_requests + random.randint(0, settings.max_requests // 10)
            server.request_observers.append(self._count)

    def ask_again(self) -> bool:
        """Ask again if this worker has asked before; return whether it has.

        The worker that was forked to replace this one may have failed to start.
        """
        if self._asked:
            self._channel.send(RENEW)
        return self._asked

    def look_at_start(self, tell: bool = True) -> bool:
        """Tell if the limit is too small for the start; return whether it has an effect."""
        if not self._memory:
            return False
        doubt = doubt_of(self._memory, resident := resident_memory())
        if doubt:
            _log.log(logging.WARNING if tell else logging.DEBUG, doubt)
        if resident > self._memory:
            self._memory = 0
        return bool(self._memory)

    def look_at_memory(self) -> None:
        """Ask if the process uses more memory than its limit."""
        if self._memory and resident_memory() > self._memory:
            self._ask(f'resident memory is above {self._memory} bytes (limit_memory)')

    def _count(self, response: Response, reason: str) -> None:
        """Count an answer that has ended, complete or cut."""
        self._left -= 1
        if self._left <= 0:
            self._ask('that was the last of max_requests')

    def _ask(self, why: str) -> None:
        if not self._asked:
            self._asked = True
            _log.info('this worker ends: %s', why)
            self._channel.send(RENEW)


class _Alone:
    """In place of the channel to a supervisor: the process asks itself, as `kill -HUP` does."""

    def send(self, kind: bytes) -> None:
        if signal.getsignal(signal.SIGHUP) in (signal.SIG_IGN, signal.SIG_DFL):
            _log.warning('it cannot be renewed: SIGHUP is ignored')
        else:
            os.kill(os.getpid(), signal.SIGHUP)


def renew_alone(server: Server) -> None:
    """Renew a process without supervisor: it finishes what is in flight, and starts afresh."""
    renewal = Renewal(server, _Alone())

    def look() -> None:
        renewal.look_at_memory()
        server.reactor.call_later(_LOOK, look)

    if renewal.look_at_start():
        look()


def doubt_of(limit: int, resident: int) -> str:
    """Return what is wrong with a `limit_memory`, if the start needs `resident` bytes, or ''."""
    if resident > limit:
        return (f'limit_memory: has no effect, the start needs more than {limit} bytes: '
                f'{resident} bytes')
    if resident > _NEARLY * limit:
        return (f'limit_memory: the start needs {resident} of {limit} bytes: workers will be '
                'renewed again and again')
    return ''


def why_renewed(settings: Settings, pid: int) -> str:
    """Return which option is the reason that a worker asks: RENEW does not say it."""
    limit = settings.limit_memory
    return 'limit_memory' if limit and (
        not settings.max_requests or resident_memory(pid) > limit) else 'max_requests'

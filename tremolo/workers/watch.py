"""Watch: the supervisor looks for workers whose loop does not turn, and has them killed."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable

from ..loop import Reactor
from ..loop.timers import NEVER
from ..typed import Callable
from .group import Group, Worker

_log = logging.getLogger('tremolo')

LAST_WORDS = 0.5    # Seconds for the report of a worker that hangs, before SIGKILL.


class Watch:
    """Looks at the signs of life of all workers; one that is silent tells where, and is killed."""

    def __init__(self, reactor: Reactor, group: Group, timeout: float,
                 kill: Callable[[Iterable[Worker]], object]) -> None:
        """`timeout` is `worker_timeout`: the seconds that a worker may be silent."""
        self._reactor = reactor
        self._group = group
        self._timeout = timeout
        self._kill = kill
        self._looked = NEVER    # When all workers were last checked for signs of life.
        self._look()

    def _look(self) -> None:
        now, timeout = self._reactor.time(), self._timeout
        if now - self._looked > timeout / 2:
            # This process stood still, too (a container that was paused). What the workers sent
            # meanwhile is read after this look.
            for worker in self._group.workers.values():
                worker.beat = max(worker.beat, now)
        self._looked, late = now, now - timeout
        for worker in list(self._group.workers.values()):
            if worker.beat < late:
                _log.error('worker %d does not answer (worker_timeout), and is killed when it has '
                           'said where it hangs', worker.pid)
                self._group.restarts['hung'] += 1
                worker.hang()
                os.kill(worker.pid, signal.SIGUSR2)
                self._reactor.call_later(LAST_WORDS, self._kill, [worker])
        self._reactor.call_later(min(timeout / 4, 1.0), self._look)

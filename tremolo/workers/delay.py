"""Delay: after SIGTERM all workers serve on for `drain_delay`, and their health says 503.

The supervisor keeps the time. Each worker learns of the begin by SIGTERM (some service managers
send that to each process by themselves), and of the end by STOP.
"""

from __future__ import annotations

import logging

from ..loop import Reactor
from ..settings import Settings
from ..systemd.manager import Manager
from ..typed import Callable
from .dismissal import GRACE
from .group import Group, Worker

_log = logging.getLogger('tremolo')


class DrainDelay:
    """The time between SIGTERM and the end.

    Meanwhile a worker that crashes is replaced as ever, and nothing is renewed by SIGHUP.
    """

    def __init__(self, reactor: Reactor, group: Group, manager: Manager,
                 settings: Settings) -> None:
        self._reactor = reactor
        self._group = group
        self._manager = manager
        self._seconds = settings.drain_delay
        self._longest = settings.shutdown_timeout + GRACE    # How long the end may take after it.
        self.begun = False

    def begin(self, end: Callable[[int], object]) -> bool:
        """Call `end(0)` when it is over; return False if there is no delay."""
        if self._seconds and not self.begun:
            self.begun = True
            self._manager.stopping(self._seconds + self._longest)
            _log.info('stopping: everything is served for %g s more (drain_delay)', self._seconds)
            for worker in self._group.workers.values():
                self.tell(worker)
            self._reactor.call_later(self._seconds, end, 0)
        return self.begun

    def tell(self, worker: Worker) -> None:
        """Tell a worker that serves, if the delay has begun."""
        if self.begun:
            worker.leave()

"""Announcer: what the user and the service manager are told: where workers serve, and of renewals.

A renewal is over when no worker starts any more: each slot has its new worker, or the code was bad,
and the old one goes on.
"""

from __future__ import annotations

import logging
import os

from ..loop import Reactor
from ..pace import Paces
from ..server import announce
from ..systemd.manager import NOT_RENEWED, SERVING, Manager
from .group import STARTING, Group, Worker

_log = logging.getLogger('tremolo')


class Announcer:
    """Tells of the first worker, and of each renewal, good or not."""

    def __init__(self, reactor: Reactor, group: Group, manager: Manager) -> None:
        self._reactor = reactor
        self._group = group
        self._manager = manager
        # The workers that served when SIGHUP came; None: no renewal is in hand.
        self._outdated: set[Worker] | None = None
        reactor.at_close.add(Paces(reactor).watch().close)    # (What it repeats is counted.)

    def ready(self, worker: Worker) -> None:
        """Tell where the first worker serves."""
        addresses = [*(sock.getsockname() for sock in worker.slot), *worker.opened]
        announce(addresses, os.getpid(), worker.secure)
        self._manager.ready(self._reactor)

    def ended(self, worker: Worker, code: int, unserved: bool) -> None:
        """Tell in the log how a worker has ended that nobody told to."""
        self._group.restarts['killed' if code < 0 else 'crash'] += 1
        how = f'was ended by signal {-code}' if code < 0 else f'ended with status {code}'
        if unserved:
            how += (' before it served (with workers, a program that makes itself a daemon cannot '
                    'be renewed: stop it, and start it again)')
        _log.error('worker %d %s', worker.pid, how)

    def reloading(self) -> None:
        """Tell that a renewal begins."""
        self._manager.reloading()
        self._outdated = {each for each in self._group.workers.values()
                          if each.state is not STARTING}

    def look(self) -> None:
        """Tell the end of a renewal; called in each turn."""
        outdated = self._outdated
        if outdated is not None and self._group.settled:
            self._outdated = None
            failed = any(slot.worker is None or slot.worker in outdated
                         for slot in self._group.slots)
            self._manager.ready(self._reactor, NOT_RENEWED if failed else SERVING)

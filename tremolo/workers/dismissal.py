"""Dismissal: how a worker is told to end, and killed if it does not."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable

from ..loop import Reactor
from ..loop.patience import call_patiently
from ..loop.timers import NEVER
from .group import ENDING, STARTING, Group, Worker
from .watch import LAST_WORDS

_log = logging.getLogger('tremolo')

# Seconds after `shutdown_timeout` until SIGKILL. A worker that can end by itself takes 5 s at most.
GRACE = 6.0
# The same where somebody sits at the terminal, and has pressed Ctrl-C twice, or while it imports.
SOON = 1.0


class Dismissal:
    """Ends workers; each is killed a while after its time is over."""

    def __init__(self, reactor: Reactor, group: Group, patience: float,
                 grace: float = GRACE) -> None:
        """`patience` is `shutdown_timeout`, in seconds; `grace` follows if it is not waited for."""
        self._reactor = reactor
        self._group = group
        self._patience = patience
        self._grace = grace

    def dismiss(self, worker: Worker) -> None:
        """Let a worker end while the server goes on; SIGKILL follows if it does not.

        One that serves gives its connections away. One that still starts has none.
        """
        if worker.pid not in self._group.workers or worker.state is ENDING:
            return
        if worker.state is STARTING:
            worker.end(signal.SIGTERM)
            call_patiently(self._reactor, LAST_WORDS, self.kill_unready, worker)
        else:
            worker.hand_over(self._group.heir(worker.slot, [worker]))
        # (The handover takes half of the time, at most; draining may take all of it.)
        self.kill_late(worker, 1.5 * self._patience)

    def stop_all(self, at_once: bool = False) -> None:
        """Let all workers finish what is in flight, and end; or end at once."""
        for worker in self._group.workers.values():
            if at_once:
                worker.end(signal.SIGQUIT)
            else:
                # (What a start has begun cleans up meanwhile.)
                call_patiently(self._reactor, self._grace, self.kill_unready, worker)
                worker.stop()
        call_patiently(
            self._reactor, self._grace if at_once else self._patience + GRACE, self.kill)

    def stop_again(self, worker: Worker) -> None:
        """Stop a worker that was told to end before it was ready, and is ready now.

        Its import has caught what SIGTERM raised, or a callback of Python's import lock lost it.
        """
        if worker.pid in self._group.workers:
            worker.stop()

    def kill_late(self, worker: Worker, seconds: float) -> None:
        call_patiently(self._reactor, seconds + GRACE, self.kill, [worker])

    def kill_unready(self, worker: Worker) -> None:
        """Kill a worker that was told to end before it was ready, and hangs."""
        if worker.beat == NEVER:
            self.kill([worker])

    def kill(self, workers: Iterable[Worker] | None = None) -> None:
        """Kill these workers, or all, unless they have ended."""
        for worker in self._group.workers.values() if workers is None else workers:
            if worker.pid in self._group.workers:
                _log.error('worker %d did not end, and is killed', worker.pid)
                worker.end(signal.SIGKILL)

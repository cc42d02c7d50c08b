"""Rotation: SIGUSR1 lets each worker open its log anew, after the file was renamed.

    supervisor: SIGUSR1 --> each worker, old and new ones: SIGUSR1 --> LogWriter.reopen

A worker that starts at this moment ignores the signal, or does nothing (beginning.py), and opens
the new file a little later. Without a log file nothing is passed on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial

from ..loop import Reactor
from ..workers.group import Group
from .beginning import at_usr1


class Rotation:
    """Passes SIGUSR1 on to the workers, beside which it stands (`Beside`)."""

    def begin(self, reactor: Reactor, group: Group) -> None:
        """Pass it on from now on."""
        # (In a turn of the loop: a worker that has ended is no longer in the group then.)
        at_usr1.append(partial(reactor.call_soon_threadsafe, _pass_on, group))

    def close(self) -> None:
        """Pass it on no longer; also in a worker."""
        at_usr1.clear()


def _pass_on(group: Group) -> None:
    for pid in group.workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)

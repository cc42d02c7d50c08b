"""Beginning: what signals do until the reactor handles them, from the import of the application on.

    SIGTERM           ends the import, or the start, as Ctrl-C does: a `finally` runs
    second SIGTERM    ends the process within a second, also if something caught the first
    SIGUSR1           nothing, also while the server serves (a tool that rotates logs sends it)

The first process of a container (PID 1) ignores each signal that it does not handle. So these
handlers stand before anything of the application runs. (Python calls them between two of its own
instructions: a function of C that takes long delays them, and what never returns is for SIGKILL.)
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

from ..loop.signals import is_ignored
from ..typed import Any
from ..workers.leaving import leave_process

_log = logging.getLogger('tremolo')

_STATUS = 128 + signal.SIGTERM
_LAST = 0.5    # Seconds for what cleans up, from the second SIGTERM on.


def outlive_usr1(afresh: bool = False) -> None:
    """Let SIGUSR1 do nothing in this process, unless the program handles it, or ignores it.

    `afresh`: a program before this one let it be ignored until now (`Slot.start_afresh`). Ignored
    signals would stay ignored in what the application starts.
    """
    if not hasattr(signal, 'SIGUSR1'):    # Windows
        return
    unhandled = signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, signal.SIG_IGN)
    if unhandled and (afresh or not is_ignored(signal.SIGUSR1)):
        signal.signal(signal.SIGUSR1, _nothing)


def _nothing(*_: object) -> None:
    """Do what SIGUSR1 does."""


@contextlib.contextmanager
def ended_by_sigterm(alone: bool = True) -> Iterator[None]:
    """Let SIGTERM end this block, and raise `SystemExit` with 128 + SIGTERM.

    A block may stand in another one. With workers the supervisor handles it (not `alone`), and if
    the program handles SIGTERM itself, nothing happens here.
    """
    handler: Any = signal.getsignal(signal.SIGTERM)
    outer = handler is signal.SIG_DFL and not is_ignored(signal.SIGTERM)
    if not alone or not (outer or isinstance(handler, _End)):
        yield
        return
    if outer:
        handler = _End()
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    except KeyboardInterrupt:
        if not handler.came:
            raise
        handler.tell()
        raise SystemExit(_STATUS) from None
    finally:
        if outer:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def served() -> None:
    """Let a SIGTERM that comes from now on change nothing: the server has ended."""
    handler: Any = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _End):
        handler.over = True


class _End:
    """The handler of SIGTERM."""

    def __init__(self) -> None:
        self.came = 0    # How often it came.
        self.over = False    # Whether the server has ended.
        self._told = False

    def __call__(self, signum: int, _: object) -> None:
        if self.over:
            return
        self.came += 1
        if self.came == 1:
            raise KeyboardInterrupt
        if self.came == 2:
            # What cleans up goes on meanwhile. (Something may have caught the KeyboardInterrupt.)
            threading.Thread(target=_force, daemon=True).start()

    def tell(self) -> None:
        """Say in the log, once, why nothing was served."""
        if not self._told:
            self._told = True
            _log.info('stopping: SIGTERM came before the application had started')


def _force() -> None:
    time.sleep(_LAST)
    leave_process(_STATUS)


def _leave() -> None:
    """Take all of this from a process that the application has forked."""
    if isinstance(signal.getsignal(signal.SIGTERM), _End):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave)

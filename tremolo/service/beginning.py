"""Beginning: what signals do until the reactor handles them, from the import of the application on.

    SIGTERM           ends the import, or the start, as Ctrl-C does: a `finally` runs
    second SIGTERM    ends the process within a second, also if something caught the first
    SIGHUP            the renewal follows when the server serves; from a terminal: the end
    SIGUSR1           opens the access log's file anew, also while the server serves; else nothing

The first process of a container (PID 1) ignores each signal that it does not handle. So these
handlers stand before anything of the application runs. (Python calls them between two of its own
instructions: a function of C that takes long delays them, and what never returns is for SIGKILL.)
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from ..loop.signals import is_ignored
from ..typed import Any, Callable
from ..workers.leaving import leave_process
from ..workers.terminal import has_terminal

_log = logging.getLogger('tremolo')

_STATUS = 128 + signal.SIGTERM
_LAST = 0.5    # Seconds for what cleans up, from the second SIGTERM on.
_HUP = getattr(signal, 'SIGHUP', None)    # Windows has none.


def outlive_signals(afresh: bool = False) -> None:
    """Let SIGUSR1 do no harm in this process, unless the program handles it, or ignores it.

    `afresh`: SIGHUP has begun this program (`Slot.start_afresh`), and the next one waits. Until now
    SIGUSR1 was ignored; ignored signals would stay so in what the application starts.
    """
    if not hasattr(signal, 'SIGUSR1'):    # Windows
        return
    unhandled = signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, signal.SIG_IGN)
    if unhandled and (afresh or not is_ignored(signal.SIGUSR1)):
        signal.signal(signal.SIGUSR1, _usr1)
        atexit.register(_ignore_usr1)
    if afresh:
        _let_hup_wait()


# What SIGUSR1 does beside: the supervisor passes it on (rotation.py).
at_usr1: list[Callable[[], object]] = []


def _usr1(*_: object) -> None:
    """Let each log that this process writes be opened anew: its file was renamed."""
    for each in at_usr1:
        each()
    # (Without the option nothing has imported it; and at this moment it may be half imported.)
    reopen_all = getattr(sys.modules.get('tremolo.access.writer'), 'reopen_all', None)
    if reopen_all is not None:
        reopen_all()


def _ignore_usr1() -> None:
    """Let it do no harm at Python's own end, which takes handlers away: it would be a kill."""
    if signal.getsignal(signal.SIGUSR1) is _usr1:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


class _Hup:
    """The handler of SIGHUP before the server serves."""

    came = False

    def __call__(self, *_: object) -> None:
        self.came = True


_hup = _Hup()


def _let_hup_wait() -> None:
    """Let a SIGHUP be remembered until the server serves."""
    # (With a terminal it may tell that this is gone. Then nobody waits for the server.)
    if _HUP is not None and not has_terminal():
        signal.signal(_HUP, _hup)


def hup_came() -> bool:
    """Return whether a SIGHUP has come before the server could handle it; the next call: False."""
    came, _hup.came = _hup.came, False
    return came


@contextlib.contextmanager
def ended_by_sigterm(tell: bool = True) -> Iterator[None]:
    """Let SIGTERM end this block, and raise `SystemExit` with 128 + SIGTERM; SIGHUP waits.

    A block may stand in another one. If the program handles SIGTERM itself, nothing happens here.
    With `tell` the log says it. (It does not say it of each worker.)
    """
    handler: Any = signal.getsignal(signal.SIGTERM)
    outer = handler is signal.SIG_DFL and not is_ignored(signal.SIGTERM)
    if not (outer or isinstance(handler, _End)):
        yield
        return
    if outer:
        handler = _End()
        signal.signal(signal.SIGTERM, handler)
        if _HUP is not None and signal.getsignal(_HUP) is signal.SIG_DFL and not is_ignored(_HUP):
            _let_hup_wait()
    try:
        yield
    except KeyboardInterrupt:
        if not handler.came:
            raise
        if tell:
            handler.tell()
        raise SystemExit(_STATUS) from None
    finally:
        if outer:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _give_hup_back()


def outlive_the_end() -> None:
    """Let no signal that would change nothing end this process, which has a status already.

    Python's own end takes a moment, and takes our handlers away.
    """
    for name in ('SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'):
        signum = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) in (signal.SIG_DFL, _usr1):
            signal.signal(signum, signal.SIG_IGN)


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
    _give_hup_back()


def _give_hup_back() -> None:
    if _HUP is not None and signal.getsignal(_HUP) is _hup:
        signal.signal(_HUP, signal.SIG_DFL)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave)

"""Signals: handlers of signals for one reactor.

A handler that Python calls only queues the callback and wakes the reactor. Python calls it between
two instructions of the main thread, so it must first end a poll. For that there is the wake-up fd:
the C handler writes a byte to it, also when the kernel gave the signal to another thread.
"""

from __future__ import annotations

import signal
import sys
import threading

from ..errors import readable
from ..typed import Any, Callable
from .forks import end_if_forked

# The signals that a reactor of this process handles.
ours: set[int] = set()


def from_keyboard(error: BaseException) -> bool:
    """Tell whether an error is the user's Ctrl-C: a KeyboardInterrupt that Python made of SIGINT.

    It arrives on the main thread, unless a reactor handles SIGINT. Any other KeyboardInterrupt was
    raised by code, and is an error as others are. (Each error of a handler comes by here: one of a
    process that the handler has forked goes no further.)
    """
    end_if_forked(error)
    return (issubclass(type(error), KeyboardInterrupt) and signal.SIGINT not in ours
            and threading.current_thread() is threading.main_thread())


def caught(error: BaseException) -> BaseException:
    """Return the error of code that we have called, to be answered, logged and kept.

    Even SystemExit: no error of a handler may end the loop. Raises the user's Ctrl-C.
    """
    if from_keyboard(error):
        raise error
    return readable(error)


def is_ignored(signum: int) -> bool:
    """Tell whether a signal is ignored: as it was when this process began, under `nohup`."""
    if signal.getsignal(signum) is signal.SIG_IGN:
        return True
    if sys.implementation.name == 'cpython':
        return False
    # PyPy says SIG_DFL for a signal that was ignored from the beginning.
    try:
        with open('/proc/self/status', encoding='ascii', errors='replace') as file:
            masks = [line.split()[1] for line in file if line.startswith('SigIgn:')]
    except OSError:
        return False
    return bool(masks) and bool(int(masks[0], 16) >> (signum - 1) & 1)


class Signals:
    """The signals that one reactor handles; `wake` is the socket that ends its poll."""

    def __init__(self, wake: Any) -> None:
        self._wake = wake
        self._handlers_before: dict[int, Any] = {}
        self._wakeup_before = -1

    def handled(self) -> list[int]:
        """Return the signals that have a handler here."""
        return list(self._handlers_before)

    def add(self, signum: int, handler: Callable[..., Any]) -> None:
        """Set a handler. Main thread only."""
        before = signal.signal(signum, handler)
        if not self._handlers_before:
            self._wakeup_before = signal.set_wakeup_fd(
                self._wake.fileno(), warn_on_full_buffer=False)
        self._handlers_before.setdefault(signum, before)
        ours.add(signum)

    def remove(self, signum: int) -> None:
        """Put back the handler from before; harmless if there is none of ours."""
        if signum in self._handlers_before:
            # None: a handler that was not set by Python, so Python cannot put it back.
            signal.signal(signum, self._handlers_before.pop(signum) or signal.SIG_DFL)
            ours.discard(signum)
            if not self._handlers_before:
                taken = signal.set_wakeup_fd(self._wakeup_before)
                # If other code has set another wake-up fd since, that one stays.
                if taken != self._wake.fileno():
                    signal.set_wakeup_fd(taken)

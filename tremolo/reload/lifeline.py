"""Lifeline: a worker ends when its supervisor is killed, whatever it does at that moment.

One that serves would notice that, and drain; one that imports for long, or loops without an end
(perhaps in C), would not, and keep the port for ever. So there is a pipe whose one end only the
supervisor has. The kernel sends each worker SIGIO when that is closed. Nobody handles that signal,
so it ends the process.
"""

from __future__ import annotations

import contextlib
import os
import signal

from ..typed import NoReturn


class Lifeline:
    """The supervisor's side."""

    def __init__(self) -> None:
        self.end, self._ours = os.pipe()

    def let_go(self) -> None:
        """Close the end that only the supervisor has: in a worker, and when all has ended."""
        os.close(self._ours)

    def close(self) -> None:
        """Close all of it."""
        self.let_go()
        os.close(self.end)


def hold(end: int) -> None:
    """Let this process end with its supervisor; `end` is closed, or becomes ours."""
    try:
        import fcntl  # (Late: Windows has none.)
        # (Only one process is told of each opened end. So this one opens it once more.)
        ours = os.open(f'/proc/self/fd/{end}', os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(ours, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | os.O_ASYNC)
        with contextlib.suppress(BlockingIOError):
            if not os.read(ours, 1):
                _end()    # It was killed before.
    except (ImportError, AttributeError, OSError):
        pass    # (A system without /proc: a worker that serves ends all the same.)
    os.close(end)


def _end() -> NoReturn:
    os._exit(128 + signal.SIGIO)

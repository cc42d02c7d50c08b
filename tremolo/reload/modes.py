"""Modes: how the terminal was, for when a worker was killed that stood in a debugger.

The prompt of `breakpoint()` shows what is typed by itself, so it turns the echo of the terminal
off. Who is killed there does not turn it on again, and the shell after it would seem dead.
"""

from __future__ import annotations

import contextlib
import os

from ..typed import Any


class Modes:
    """The modes of the terminal on stdin, if there is one."""

    def __init__(self) -> None:
        self._kept: Any = None
        with contextlib.suppress(ImportError, OSError, ValueError):
            self._kept = _modes()

    def give_back(self) -> None:
        """Set them again, if they are others now."""
        if self._kept is None:
            return
        import termios
        with contextlib.suppress(termios.error, OSError):
            # (In the background it is the shell's, and to touch it would stop this process.)
            if os.tcgetpgrp(0) == os.getpgrp() and _modes() != self._kept:
                termios.tcsetattr(0, termios.TCSANOW, self._kept)


def _modes() -> Any:
    """Return the modes of the terminal; None if stdin is none."""
    import termios  # (Late: Windows has none.)
    return termios.tcgetattr(0) if os.isatty(0) else None

"""Machine: what systems do in different ways: memory, a thread's time, a file without a name."""

from __future__ import annotations

import os
import time

from .typed import Callable


def resident_memory(pid: int | str = 'self') -> int:
    """Return the bytes of a process's resident memory; 0 if there is no /proc, or no process."""
    try:
        with open(f'/proc/{pid}/statm', 'rb') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except OSError:
        return 0


def thread_usage() -> Callable[[], tuple[float, int]] | None:
    """Return what tells of the thread that calls it how many seconds it had of a processor.

    And how often it has waited: for a file, for another thread. None if the system cannot say.
    """
    try:
        import resource  # (Before the first request. Windows has none.)
        me = resource.RUSAGE_THREAD
    except (ImportError, AttributeError):
        return None

    def usage() -> tuple[float, int]:
        # (Its own `ru_utime` is up to date only after a tick of the system's clock: 4 ms.)
        return time.thread_time(), resource.getrusage(me).ru_nvcsw

    return usage


def unnamed_file(what: str) -> int:
    """Open a file that nobody else can open; return its descriptor. Raises `OSError`.

    It is in memory where the system has that; lsof(8) shows `what`.
    """
    if hasattr(os, 'memfd_create'):
        return os.memfd_create(what)
    import tempfile  # (Late: Linux does without.)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

"""Machine: what systems do in different ways: a process's memory, and a file without a name."""

from __future__ import annotations

import os


def resident_memory(pid: int | str = 'self') -> int:
    """Return the bytes of a process's resident memory; 0 if there is no /proc, or no process."""
    try:
        with open(f'/proc/{pid}/statm', 'rb') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except OSError:
        return 0


def unnamed_file(what: str) -> int:
    """Open a file that nobody else can open; return its descriptor. Raises `OSError`.

    It is in memory where the system has that; lsof(8) shows `what`.
    """
    if hasattr(os, 'memfd_create'):
        return os.memfd_create(what)
    import tempfile  # (Late: Linux does without.)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

"""CPU time: of a process with all that it started, and of the machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

TICK = 1 / os.sysconf('SC_CLK_TCK')


def of_family(ancestor: int) -> float:
    """CPU seconds of a process and of its children, in user and kernel."""
    ticks, family = 0, {ancestor}
    for stat in sorted(Path('/proc').glob('[0-9]*/stat'), key=lambda path: int(path.parts[2])):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        pid, parent = int(stat.parts[2]), int(fields[1])
        if pid in family or parent in family:
            family.add(pid)
            ticks += sum(map(int, fields[11:15]))
    return ticks * TICK


def of_machine() -> float:
    """CPU seconds of everything on the cores that we may use, interrupts apart."""
    cores = {f'cpu{core}' for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path('/proc/stat').read_text().splitlines():
        name, *fields = line.split()
        if name in cores:
            ticks += sum(map(int, fields[:3]))
    return ticks * TICK


def of_ended_children() -> float:
    """CPU seconds of those of our own children that have ended: the load generators."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

"""Leaving: the command line as a program of its own, which no thread holds up at its end."""

from __future__ import annotations

from ..service.beginning import outlive_the_end
from ..service.busy import busy_threads
from ..typed import NoReturn
from ..workers.leaving import end_processes, exit_status, leave_process, processes
from .arguments import main


def run_and_leave() -> NoReturn:
    """Run the command line, and end the process with its status.

    It ends as every Python program does, unless Python would wait for a thread: an application
    that was told to stop has had its time.
    """
    status = exit_status(main)
    outlive_the_end()
    if busy_threads():
        end_processes(processes())
        leave_process(status)
    raise SystemExit(status)

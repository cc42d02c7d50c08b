"""Leaving: how a process of ours ends when Python's own end would wait.

Python waits at its end for each thread that is busy, without limit. `os._exit` does not; but it
leaves out what Python does: to write what is buffered, and to end multiprocessing's processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback

from ..output import complain
from ..typed import Any, Callable, NoReturn

# Seconds for the processes that multiprocessing has started, until they are killed.
_GRACE = 5.0
_FLUSH = 1.0    # Seconds to write what is buffered: nobody may read it.


def exit_status(work: Callable[[], int]) -> int:
    """Work; return the status that the interpreter would exit with, and print what it prints."""
    try:
        return work()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        complain(str(error.code))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException:
        complain(traceback.format_exc(), end='')
    return 1


def leave_process(status: int) -> NoReturn:
    """End the process without waiting for its threads."""
    try:
        _write_logs()
        thread = threading.Thread(target=_flush_all, daemon=True)
        thread.start()
        thread.join(_FLUSH)
    except RuntimeError:    # The system has no more threads.
        flush()
    finally:
        # (The kernel keeps the same eight bits; but `os._exit` refuses what is no C int.)
        os._exit(status & 0xff)


def _write_logs() -> None:
    """Write what is left of the access log, unless the server has done so at its end."""
    module = sys.modules.get('tremolo.access.writer')
    if module is not None:
        with contextlib.suppress(Exception):
            module.close_all()


def _flush_all() -> None:
    with contextlib.suppress(Exception):
        logging.shutdown()
    flush()


def flush() -> None:
    """Write what is buffered."""
    for stream in (sys.stdout, sys.stderr):
        # A stream may be missing, closed by its reader, or full.
        with contextlib.suppress(Exception):
            stream.flush()


def processes() -> set[Any]:
    """Return the running processes of multiprocessing."""
    module = sys.modules.get('multiprocessing')
    return set(module.active_children()) if module is not None else set()


def end_processes(processes: set[Any]) -> None:
    """End processes of multiprocessing: `os._exit` leaves out the hook that would end them."""
    for process in processes:
        with contextlib.suppress(Exception):
            process.terminate()
            process.join(_GRACE)
            process.kill()

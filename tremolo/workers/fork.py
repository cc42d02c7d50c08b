"""fork_worker: the fork, and what the child becomes.

The parent forks between two turns of its reactor, with all signals blocked and no other thread.
So no callback is half done in the child, and no handler of the supervisor runs there. The child
never returns to the supervisor's code: it closes what belongs to the supervisor, works, and ends
in `os._exit`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterable, Set
from functools import partial
from typing import Any, Callable, NoReturn, Protocol

from .slot import Slot, leave_to_supervisor

# The signals that the supervisor handles; a child has none of its handlers.
SIGNALS = ('SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR2', 'SIGCHLD')
# Seconds for the processes that multiprocessing started in a worker, until they are killed.
_GRACE = 5.0


class _Closeable(Protocol):
    def close(self) -> object: ...


def fork_worker(slot: Slot, work: Callable[[Slot], int],
                foreign: Iterable[_Closeable]) -> tuple[int, socket.socket]:
    """Fork a worker; return its process id, and the supervisor's end of its channel.

    The child closes `foreign`, calls `work(slot)`, and exits with the status that this returns.
    Raises `OSError`.
    """
    _flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pair: tuple[socket.socket, ...] = ()
    try:
        ours, theirs = pair = socket.socketpair()
        pid = os.fork()
        if not pid:
            _be_worker(slot, work, theirs, (ours, *foreign), mask)
    except OSError:
        for sock in pair:
            sock.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return pid, ours


def _be_worker(slot: Slot, work: Callable[[Slot], int], channel_end: socket.socket,
               foreign: Iterable[_Closeable], mask: Set[Any]) -> NoReturn:
    """Be the child: work, and exit whatever happens."""
    status = 1
    inherited: set[Any] = set()
    try:
        try:
            inherited = _processes()
            status = _exit_status(partial(_work, slot, work, channel_end, foreign, mask))
        finally:
            _end_processes(_processes() - inherited)
            _flush()
    finally:
        # (The kernel keeps the same eight bits; but `os._exit` refuses what is no C int.)
        os._exit(status & 0xff)


def _work(slot: Slot, work: Callable[[Slot], int], channel_end: socket.socket,
          foreign: Iterable[_Closeable], mask: Set[Any]) -> int:
    """Close and reset what belongs to the supervisor, then work."""
    for each in foreign:
        each.close()
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    leave_to_supervisor()
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    slot.channel_end = channel_end
    return work(slot)


def _exit_status(work: Callable[[], int]) -> int:
    """Work; return the status that the interpreter would exit with, and print what it prints."""
    try:
        return work()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    return 1


def _flush() -> None:
    """Write what is buffered: otherwise both sides of a fork would write it."""
    for stream in (sys.stdout, sys.stderr):
        # A stream may be missing, closed by its reader, or full.
        with contextlib.suppress(Exception):
            stream.flush()


def _processes() -> set[Any]:
    """Return the running processes of multiprocessing."""
    module = sys.modules.get('multiprocessing')
    return set(module.active_children()) if module is not None else set()


def _end_processes(processes: set[Any]) -> None:
    """End processes of multiprocessing: `os._exit` leaves out the hook that would end them."""
    for process in processes:
        with contextlib.suppress(Exception):
            process.terminate()
            process.join(_GRACE)
            process.kill()

"""fork_worker: the fork, and what the child becomes.

The parent forks between two turns of its reactor, with all signals blocked and no other thread.
So no callback is half done in the child, and no handler of the supervisor runs there. The child
never returns to the supervisor's code: it closes what belongs to the supervisor, works, and ends
in `os._exit` (leaving.py).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Set
from functools import partial

from ..loop.signals import is_ignored
from ..typed import Any, Callable, NoReturn, Protocol
from .leaving import end_processes, exit_status, flush, leave_process, processes
from .slot import Slot, leave_to_supervisor

# The signals that the supervisor handles; a child has none of its handlers.
SIGNALS = ('SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR2', 'SIGCHLD')


class _Closeable(Protocol):
    def close(self) -> object: ...


def fork_worker(slot: Slot, work: Callable[[Slot], int],
                foreign: Iterable[_Closeable]) -> tuple[int, socket.socket]:
    """Fork a worker; return its process id, and the supervisor's end of its channel.

    The child closes `foreign`, calls `work(slot)`, and exits with the status that this returns.
    Raises `OSError`.
    """
    # Otherwise both sides of the fork would write what is buffered.
    flush()
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
            inherited = processes()
            status = exit_status(partial(_work, slot, work, channel_end, foreign, mask))
        finally:
            end_processes(processes() - inherited)
    finally:
        leave_process(status)


def _work(slot: Slot, work: Callable[[Slot], int], channel_end: socket.socket,
          foreign: Iterable[_Closeable], mask: Set[Any]) -> int:
    """Close and reset what belongs to the supervisor, then work."""
    for each in foreign:
        each.close()
    without_hangup = is_ignored(signal.SIGHUP)    # (`nohup`)
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    leave_to_supervisor()
    if without_hangup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    slot.channel_end = channel_end
    return work(slot)


def children() -> set[int]:
    """Return the ids of the processes whose parent this one is; none if the system cannot tell."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir('/proc/self/task'):
            with open(f'/proc/self/task/{thread}/children') as file:
                found.update(map(int, file.read().split()))
    return found


def ended(not_ours: Set[int]) -> Iterator[tuple[int, int]]:
    """Take the exit status of each child that has ended, but not of those that are not ours."""
    # (-1: whichever child that is. The first process of a container gets strangers, too, and
    # forgets them here.)
    for each in children() - not_ours if not_ours else itertools.repeat(-1):
        try:
            pid, status = os.waitpid(each, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            yield pid, os.waitstatus_to_exitcode(status)
        elif each < 0:
            return

"""System: what a process that serves settles with its operating system.

Enough file descriptors before it serves, and what a process that the application forks must not
inherit.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import weakref

from ..loop import ListenError, Reactor
from ..loop.forks import end_loop
from ..loop.future import runs_here
from ..loop.signals import ours
from ..rates.scarcity import OWN_DESCRIPTORS
from ..server import Server
from ..workers.leaving import flush


def reserve_descriptors(connections: int, what: str = 'connections', each: int = 1) -> None:
    """Raise the limit of file descriptors if so many connections need more. Raises `ListenError`.

    0 connections stand for no limit of connections: then nothing is changed. With `what` and `each`
    it is another number, that of the workers, of which each needs so many.
    """
    try:
        import resource
    except ImportError:    # Windows has no such limit.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections * each + OWN_DESCRIPTORS
    if connections and needed > soft != resource.RLIM_INFINITY:
        if needed > hard != resource.RLIM_INFINITY:
            raise ListenError(f'{what}: {connections} need {needed} file descriptors, and the '
                              f'system allows {hard} (ulimit -n)')
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class _Kept:
    """What a process that the application forks must not have."""

    def __init__(self, server: Server | None, always: bool) -> None:
        self.server = weakref.ref(server) if server is not None else lambda: None
        self.always = always

    def descriptors(self) -> list[int]:
        """Return those of the server: the loop watches some of them only at times."""
        server = self.server()
        if server is None:
            return []
        return [*(each.stream.fd for each in server.connections),
                *(each.fileno() for each in server.listeners)]


# Of each loop that serves.
_kept: weakref.WeakKeyDictionary[Reactor, _Kept] = weakref.WeakKeyDictionary()


def keep_from_children(reactor: Reactor, server: Server | None = None, always: bool = True) -> None:
    """Take our signal handlers and sockets from each process that the application forks.

    Not `always`: only from those that are forked by handlers. The rest is another program's.
    """
    if hasattr(os, 'register_at_fork'):
        if not _kept:
            _register()
        _kept[reactor] = _Kept(server, always)


@functools.cache
def _register() -> None:
    os.register_at_fork(before=_flush, after_in_child=_leave)


def _flush() -> None:
    """Write what is buffered, or both processes would."""
    if _kept:
        flush()


def _leave() -> None:
    """Take all of this from the child."""
    for reactor, kept in list(_kept.items()):
        if not reactor.closed and (kept.always or runs_here(reactor)):
            if kept.always:
                _leave_signals()
            end_loop(reactor, kept.descriptors())


def _leave_signals() -> None:
    ours.clear()
    with contextlib.suppress(ValueError):    # PyPy: on another thread than the first.
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

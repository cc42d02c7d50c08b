"""System: what a process that serves settles with its operating system.

Enough file descriptors before it serves, and what a process that the application forks must not
inherit.
"""

from __future__ import annotations

import os
import signal
import weakref

from ..loop import ListenError, Reactor
from ..rates.scarcity import OWN_DESCRIPTORS


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


def keep_from_children(reactor: Reactor) -> None:
    """Take our signal handlers and sockets from each process that the application forks."""
    # (A function that is registered for forks stays registered: it must not keep the reactor.)
    this = weakref.ref(reactor)

    def leave() -> None:
        reactor = this()
        if reactor is None or reactor.closed:
            return
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The descriptors are not closed: objects of the child still have their numbers, and would
        # close or use a file that got the same number.
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in list(reactor.watchers):
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)

    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=leave)

"""Report: what a process is doing, on SIGUSR2.

    Thread 0x00007f... (most recent call first):
      File "/srv/shop.py", line 12 in slow
    GET '/slow': 3.2 s, running
    GET '/report': 0.4 s, /srv/shop.py:31
    GET '/chat': WebSocket open, 71.3 s, its handler waits for a message, /srv/shop.py:44
    waiting: /srv/jobs.py:12

First comes the stack of each thread. The interpreter itself writes it, so it comes even if Python
code hangs, or code in C. Then, if Python code can run, comes a line for each request in hand, with
its age and the place where its handler stands. A handler that is `running` holds the loop at this
moment, so its place is in the stacks above. Last come the tasks that belong to no request.

The report is written from a signal handler, between any two steps of the program. So nothing here
raises, waits or imports.
"""

from __future__ import annotations

import faulthandler
import signal
from contextlib import suppress

from ..frames import standing
from ..output import complain
from ..server import Server
from ..typed import Any


def report(server: Server) -> str:
    """Return a line for each request in hand, and for each task that belongs to no request."""
    tasks: set[Any] = set(server.reactor.tasks)
    lines = []
    for connection in list(server.connections):
        tasks.discard(connection.task)
        if connection.response is not None:
            age = server.reactor.time() - connection.since
            lines.append(f'{connection.describe()}: {age:.1f} s, {standing(connection.task)}')
        elif (socket := getattr(connection.stream.receiver, 'report', None)) is not None:
            lines.append(f'{connection.describe()}: {socket()}, {standing(connection.task)}')
    lines += [f'waiting: {standing(task)}' for task in tasks]
    return '\n'.join(lines)


def answer_to_signal(server: Server) -> None:
    """Write the report to stderr on each SIGUSR2. Main thread only.

    Does nothing on Windows, which has no such signal.
    """
    if not hasattr(signal, 'SIGUSR2'):
        return

    def write(*_: object) -> None:
        # At once: the loop may never turn again. Nothing that is wrong here may be raised in the
        # line that the signal has interrupted.
        with suppress(Exception):
            complain(report(server))

    signal.signal(signal.SIGUSR2, write)
    with suppress(Exception):    # `sys.stderr` may be closed, or have no descriptor.
        faulthandler.register(signal.SIGUSR2, all_threads=True, chain=True)

"""Report: where a process is, for whoever asks with SIGUSR2.

    Thread 0x00007f... (most recent call first):
      File "/srv/shop.py", line 12 in slow
    GET '/report': 3.2 s, /srv/shop.py:31 in report

First the stack of each thread, written by the interpreter itself, whatever hangs, in C too; then,
if Python code can run, each request in hand with its age and where its handler waits.
"""

import faulthandler
import signal
import sys
from contextlib import suppress

from ..server import Server


def report(server: Server) -> str:
    """Tell of the requests in hand and of the tasks that wait."""
    now = server.reactor.time()
    lines = [f'{connection.describe()}: {now - connection.since:.1f} s'
             for connection in list(server.connections) if connection.response is not None]
    lines += [f'waiting: {task.where()}' for task in list(server.reactor.tasks)]
    return '\n'.join(lines)


def answer_to_signal(server: Server) -> None:
    """Write the report to stderr on each SIGUSR2. Main thread only."""
    def write(*_: object) -> None:
        # At once: the loop may never turn again.
        with suppress(OSError, ValueError):
            print(report(server), file=sys.stderr, flush=True)

    signal.signal(signal.SIGUSR2, write)
    with suppress(OSError, RuntimeError, ValueError):
        faulthandler.register(signal.SIGUSR2, all_threads=True, chain=True)

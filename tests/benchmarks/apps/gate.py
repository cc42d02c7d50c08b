"""The gate of the ledger: the server stands still here while the load sends a round of requests.

The load asks for a page behind the gate on its first connection. The handler says on the standard
output that it came here, and in which process. Then it waits. The load sends a request on each of
its other connections, and then a byte on the standard input. So the server finds all these requests
at once, in one poll, and always in the same order: what a request costs does not depend on who was
faster.

The first request that comes here collects the garbage. From then on Python's collector counts from
nothing, and it collects at the same places in each run.

A turn in which the server waits here is a long one, and turns are long under an instrument. Neither
is a client's fault, so no turn is rationed (room fair), and none is late (polling/pauses.py): it
would depend on the time.

When the standard input has ended, the handler asks its own process to stop.
"""

from __future__ import annotations

import gc
import math
import os
import signal
from contextlib import suppress

with suppress(ImportError):    # (An older tree has no such room.)
    from tremolo.fair import fairness
    from tremolo.loop import reactor
    fairness.LONG_TURN = math.inf
    reactor.LATE = math.inf    # type: ignore[attr-defined]

HERE = b'at the gate: %d\n' % os.getpid()


_begun: list[bool] = []


def gate() -> None:
    """Wait for a byte; at the end of the input, stop the server."""
    if not _begun:
        _begun.append(True)
        gc.collect()
    os.write(1, HERE)
    if not os.read(0, 1):
        os.kill(os.getpid(), signal.SIGTERM)

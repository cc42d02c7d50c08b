"""Bridge: asyncio on the reactor, in the same thread and with the same poll.

asyncio asks a selector which fds are ready. Here the reactor is that selector: `select` does one
turn of it, in which the reactor calls whom it has to call, and gives asyncio what is ready of
asyncio's own. So whatever is written for asyncio works unchanged, by the public parts of asyncio
alone. It begins with the first thing that needs it, and until then nobody has imported asyncio:

    loop = bridge_to(reactor).loop      # its loop; `Reactor.run` drives both then
    reply = yield future_of(awaitable)  # our Future of anything that asyncio can await
    await sleep(1)                      # and theirs of ours

A task that starts here starts at once, as ours do: a coroutine that never waits has ended when
`future_of` returns. The tasks that the application makes keep asyncio's order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from ..loop import Reactor
from ..loop.task import CLEANUP_TIMEOUT
from .eager import Starter
from .event_loop import ReactorEventLoop


class Bridge:
    """What a reactor has of asyncio, once anybody needs it."""

    def __init__(self, reactor: Reactor, loop: asyncio.AbstractEventLoop | None = None) -> None:
        # A reactor's own, unless it is a guest in another (guest.py).
        self.loop: Any = loop or ReactorEventLoop(reactor)
        self.start = Starter(self.loop).start

    def run(self) -> None:
        """Drive both until `stop`."""
        self.loop.run_forever()

    def step(self, timeout: float | None = None) -> None:
        """Do one turn of both, waiting at most `timeout` seconds, for a host that drives us."""
        loop = self.loop
        if 'call_at' not in vars(loop):
            loop.be_hosted()
            timeout = 0.0    # What there was before nobody has noted.
        loop.selector.longest, loop.selector.after = timeout, loop.stop
        try:
            self.run()
        finally:
            loop.selector.longest = loop.selector.after = None

    def stop(self) -> None:
        """End `run` after this turn."""
        self.loop.stop()

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end while nobody drives the loop; give its value."""
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Cancel the tasks that are left and wait for them, asynchronous generators and threads."""
        loop = self.loop
        if loop.is_closed():
            return
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_TIMEOUT))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


def bridge_to(reactor: Reactor) -> Bridge:
    """Return the bridge of a reactor; the first call makes it."""
    if reactor.bridge is None:
        reactor.bridge = Bridge(reactor)
    return cast(Bridge, reactor.bridge)

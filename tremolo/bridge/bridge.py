"""Bridge: the asyncio loop of a reactor, in the same thread and with the same poll.

A reactor gets its bridge from the first call that needs asyncio; until then asyncio is not even
imported. From then on `Reactor.run` drives both (event_loop.py tells how):

    loop = bridge_to(reactor).loop      # the asyncio loop
    reply = yield future_of(awaitable)  # a Future of ours for anything that asyncio can await
    await sleep(1)                      # a coroutine of asyncio waits for a Future of ours
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
    """The asyncio loop of a reactor. It fulfils `PartnerLoop`."""

    def __init__(self, reactor: Reactor, loop: asyncio.AbstractEventLoop | None = None) -> None:
        # A loop on the reactor's poll, unless the reactor is a guest of `loop` (guest.py).
        self.loop: Any = loop or ReactorEventLoop(reactor)
        self.start = Starter(self.loop).start

    def run(self) -> None:
        """Drive the loop and the reactor until `stop`."""
        self.loop.run_forever()

    def step(self, timeout: float | None = None) -> None:
        """Do one turn of both, for a host that drives us; wait at most `timeout` seconds."""
        loop = self.loop
        if 'call_at' not in vars(loop):
            _be_hosted(loop)
            timeout = 0.0    # The reactor does not know what the loop had to do before.
        loop.selector.longest, loop.selector.after = timeout, loop.stop
        try:
            self.run()
        finally:
            loop.selector.longest = loop.selector.after = None

    def stop(self) -> None:
        """End `run` after this turn."""
        self.loop.stop()

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end while the loop does not run, and return its value."""
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Cancel the remaining tasks; wait for them, asynchronous generators and threads."""
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


def _be_hosted(loop: ReactorEventLoop) -> None:
    """Schedule each callback of asyncio on the reactor too: its host asks only the reactor."""
    call_soon, call_at, reactor = loop.call_soon, loop.call_at, loop.reactor

    def noted_soon(callback: Any, *args: Any, context: Any = None) -> Any:
        reactor.call_soon(_nothing)
        return call_soon(callback, *args, context=context)

    def noted_at(when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        reactor.call_at(when, _nothing)
        return call_at(when, callback, *args, context=context)

    vars(loop).update(call_soon=noted_soon, call_at=noted_at)


def _nothing() -> None:
    """Do nothing: its only purpose is that a turn happens in time."""


def bridge_to(reactor: Reactor) -> Bridge:
    """Return the bridge of a reactor; the first call makes it."""
    if reactor.bridge is None:
        reactor.bridge = Bridge(reactor)
    return cast(Bridge, reactor.bridge)

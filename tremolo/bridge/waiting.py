"""Waiting: how a coroutine of asyncio waits for a Future of ours.

    await sleep(1)    # in an `async def` that a task of asyncio runs
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from ..loop import Future
from ..loop.future import await_by
from ..typed import Any


def wait_in_coroutine(future: Future) -> Generator[Any, Any, None]:
    """Wait for our Future in a coroutine that our Task runs, or a task of asyncio."""
    if future.done() and not future.cancelled():
        return
    bridge: Any = future.reactor.bridge    # A Bridge, or None.
    # (The loop is given, because to find it asyncio makes a system call before Python 3.12.)
    if bridge is None or asyncio.current_task(bridge.loop) is None:
        if not future.done():
            yield future
        return
    if not future.done():
        waiter = bridge.loop.create_future()

        def wake(_: Any) -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(wake)
        try:
            yield from waiter
        except asyncio.CancelledError:
            future.withdraw(wake)
            raise
    if future.cancelled():
        raise asyncio.CancelledError


await_by(wait_in_coroutine)    # From now on asyncio's coroutines can await a Future too.

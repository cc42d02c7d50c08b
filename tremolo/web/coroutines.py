"""Asynchronous handlers: `async def`, with and without `yield`, as tasks of asyncio.

They run on the bridge (loop/bridge.py), so whatever is written for asyncio works inside; our own
Futures can be awaited. One that never waits has answered when `begin` returns, as generators have.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ..bridge import future_of
from ..loop import Future, current_reactor, sleep
from ..loop.task import TIME_SLICE

if TYPE_CHECKING:
    from .handler_run import HandlerRun


def begin(awaitable: Any, run: HandlerRun) -> Future:
    """Start the task of what an `async def` gave; return the Future of what it returns.

    It runs in a copy of the caller's context.
    """
    waited: list[bool] = []
    if isinstance(awaitable, AsyncGenerator):
        awaitable = _send(awaitable, run, waited)
    future = future_of(awaitable)
    if not future.done():
        waited.append(True)
        run.pausing()
    return future


async def _send(generator: AsyncGenerator[Any, None], run: HandlerRun, waited: list[bool]) -> None:
    """Send what an asynchronous generator yields, as the client takes it.

    Nobody tells us when it waits. So once it has `waited`, each chunk goes out in its own turn.
    """
    reactor = current_reactor()
    slice_end = reactor.time() + TIME_SLICE
    try:
        async for chunk in generator:
            wait = run.emit(chunk)
            if wait is None and reactor.time() >= slice_end:
                # Others get a turn.
                wait = sleep(0)
            if wait is not None:
                run.pausing()
                await wait
                slice_end = reactor.time() + TIME_SLICE
            elif waited:
                reactor.call_soon(run.pausing)
    finally:
        await generator.aclose()

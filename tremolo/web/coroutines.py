"""Coroutines: handlers that are `async def`, with and without `yield`, as tasks of asyncio.

The tasks run on the bridge (bridge/), so everything that is written for asyncio works in them, and
our own Futures can be awaited. A handler that never waits has answered when `begin` returns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextvars import Context

from ..bridge import future_of
from ..loop import Future, current_reactor, sleep
from ..loop.task import Owner
from ..typed import Any


def begin(awaitable: Any, run: Owner, context: Context) -> Future:
    """Start a handler's coroutine or asynchronous generator; return the Future of its end.

    `run` takes the chunks of a generator. The task runs in `context`.
    """
    waited: list[bool] = []    # Not empty once the handler had to wait.
    if isinstance(awaitable, AsyncGenerator):
        awaitable = _send(awaitable, run, waited)
    future = future_of(awaitable, context)
    if not future.done():
        waited.append(True)
        run.pausing()
    return future


async def _send(generator: AsyncGenerator[Any, None], run: Owner, waited: list[bool]) -> None:
    """Send the chunks of an asynchronous generator, as fast as the client takes them.

    asyncio does not tell us when the generator waits. So after its first wait (`waited`) each chunk
    is sent in the turn in which it was yielded.
    """
    reactor = current_reactor()
    slice_end = reactor.slice_end(run)
    try:
        async for chunk in generator:
            wait = run.emit(chunk)
            if wait is None and reactor.time() >= slice_end:
                # The time slice is used up: other tasks get a turn.
                wait = reactor.turn_of(run) or sleep(0)
            if wait is not None:
                run.pausing()
                await wait
                slice_end = reactor.slice_end(run)
            elif waited:
                reactor.call_soon(run.pausing)
    finally:
        await generator.aclose()

"""Futures: our tasks wait for awaitables of asyncio, and its coroutines for our Futures.

    reply = yield future_of(awaitable)  # a Future of ours for anything that asyncio can await
    await sleep(1)                      # a coroutine of asyncio waits for a Future of ours
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Generator
from functools import partial
from typing import Any, Optional, cast

from ..loop import Future, current_reactor
from ..loop.frames import place_of
from ..loop.future import await_by
from .bridge import Bridge, bridge_to


class _TaskFuture(Future):
    """The Future of a task of asyncio."""

    __slots__ = ()

    def where(self) -> str:
        """Return where the task's coroutine stands, as file:line, for reports."""
        # (`on_cancel` is the task's `cancel`, until the task has ended.)
        task = getattr(self.on_cancel, '__self__', None)
        return place_of(task.get_coro()) if task is not None else Future.where(self)


def future_of(awaitable: Any, context: contextvars.Context | None = None) -> Future:
    """Run a coroutine, or another awaitable, as a task of asyncio; return a Future of ours for it.

    A coroutine that never waits has ended when this returns. It runs in `context`, by default in a
    copy of the caller's. To cancel the Future cancels the task.
    """
    reactor = current_reactor()
    bridge = bridge_to(reactor)
    loop = bridge.loop
    future = _TaskFuture(reactor)
    context = context if context is not None else contextvars.copy_context()
    coroutine = awaitable if asyncio.iscoroutine(awaitable) else awaiting(awaitable)
    if loop.is_running():
        task = bridge.start(coroutine, context)
    else:
        task = context.run(loop.create_task, coroutine)
    if task.done():
        _settle(future, task)
    else:
        future.on_cancel = task.cancel
        task.add_done_callback(partial(_settle, future))
    return future


async def awaiting(awaitable: Any) -> Any:
    """Make a coroutine of an awaitable."""
    return await awaitable


def _settle(future: Future, task: asyncio.Task[Any]) -> None:
    """Set our Future to the outcome of a task."""
    if task.cancelled():
        future.cancel()
    elif (error := task.exception()) is not None:
        if not future.done():
            future.set_exception(error)
    elif not future.done():
        future.set_result(task.result())


def _wait(future: Future) -> Generator[Any, Any, None]:
    """Wait for our Future in a coroutine that our Task runs, or a task of asyncio."""
    if future.done() and not future.cancelled():
        return
    bridge = cast(Optional[Bridge], future.reactor.bridge)
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


await_by(_wait)    # From now on asyncio's coroutines can await a Future too.

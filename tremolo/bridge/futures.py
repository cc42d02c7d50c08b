"""Futures: our tasks wait for awaitables of asyncio.

    reply = yield future_of(awaitable)  # a Future of ours for anything that asyncio can await
"""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial
from typing import Any

from ..loop import Future, current_reactor
from ..loop.frames import place_of
from .bridge import bridge_to


class _TaskFuture(Future):
    """Our Future of a task of asyncio."""

    __slots__ = ()

    def cancel(self, message: str = '') -> bool:
        """Cancel the task too; its `CancelledError` has the message."""
        stop: Any = self.on_cancel
        if stop is not None and message:
            self.on_cancel = partial(stop, message)
        return Future.cancel(self, message)

    def where(self) -> str:
        """Return file:line at which the task's coroutine stands, or 'ended'."""
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

"""Futures: our tasks wait for awaitables of asyncio, and begin coroutines as tasks of asyncio.

    reply = yield future_of(awaitable)  # a Future of ours for anything that asyncio can await
    spawn(coroutine())                  # is `task_of`
"""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial

from ..frames import place_of
from ..loop import Future, Reactor, current_reactor
from ..loop.future import on_loop
from ..typed import Any, Callable
from .bridge import bridge_to
from .exits import error_of


class _TaskFuture(Future):
    """Our Future of a task of asyncio."""

    __slots__ = ()

    def cancel(self, message: str = '') -> bool:
        """Cancel the task too; its `CancelledError` has the message."""
        stop: Any = self.on_cancel
        if stop is not None and message:
            self.on_cancel = partial(stop, message)
        return Future.cancel(self, message)

    def when_ended(self, callback: Callable[[Any], object]) -> None:
        """Call when the task has ended, which may go on when this is cancelled."""
        task = getattr(self.on_cancel, '__self__', self)
        task.add_done_callback(callback)

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
    future = _TaskFuture(reactor)
    context = context if context is not None else contextvars.copy_context()
    coroutine = awaitable if asyncio.iscoroutine(awaitable) else awaiting(awaitable)
    task = _start(reactor, coroutine, context)
    if task.done():
        _settle(future, task)
    else:
        future.on_cancel = task.cancel
        task.add_done_callback(partial(_settle, future))
    return future


class _Spawned(Future):
    """Our Future of a task of asyncio; it is done when the task has ended, also after `cancel`."""

    __slots__ = ('_context', '_coroutine', '_why', 'task')

    def __init__(self, coroutine: Any) -> None:
        Future.__init__(self)
        self._coroutine = coroutine
        self._context = contextvars.copy_context()
        self.task: Any = None    # The `asyncio.Task`, until it has ended.
        self._why = ''    # The message of `cancel`.
        on_loop(self.reactor, self._begin)

    def _begin(self) -> None:
        coroutine, context, reactor = self._coroutine, self._context, self.reactor
        # A finished task may be kept for long; these need not be.
        del self._coroutine, self._context
        if self._done:    # Cancelled before it began, in a thread.
            coroutine.close()
            return
        # (No local variable: from Python 3.12 on the traceback of an error, which the task keeps,
        # leads to this frame. That would be a cycle.)
        self.task = _start(reactor, coroutine, context)
        if self.task.done():
            self._ended(self.task)
        else:
            # (asyncio itself keeps no task alive. The callback keeps this Future.)
            bridge_to(reactor).kept.add(self.task)
            self.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        bridge_to(self.reactor).kept.discard(task)
        self.task = None
        if task.cancelled():
            Future.cancel(self, self._why)
        elif (error := error_of(task)) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

    def cancel(self, message: str = '') -> bool:
        """Cancel the task; its `CancelledError` has the message."""
        if self.task is None:
            return Future.cancel(self, message)
        self._seen = True
        self._why = message
        self.task.cancel(*([message] if message else ()))
        return True

    def where(self) -> str:
        """Return file:line at which the task's coroutine stands, or 'ended'."""
        return place_of(self.task.get_coro()) if self.task is not None else Future.where(self)


def task_of(awaitable: Any) -> Future:
    """Begin a coroutine, or another awaitable, as a task of asyncio; return our Future of it.

    On the loop's thread a coroutine that never waits has ended when this returns; on a worker
    thread it begins soon. It runs in a copy of the caller's context.
    """
    return _Spawned(awaitable if asyncio.iscoroutine(awaitable) else awaiting(awaitable))


def _start(reactor: Reactor, coroutine: Any, context: contextvars.Context) -> Any:
    """Begin a task: at once, or with the loop if that does not run yet."""
    bridge = bridge_to(reactor)
    if bridge.loop.is_running():
        return bridge.start(coroutine, context)
    reactor.call_soon(_nothing)    # A host that steps the reactor has to know that a turn is due.
    return context.run(bridge.loop.create_task, coroutine)


def _nothing() -> None:
    """Do nothing."""


async def awaiting(awaitable: Any) -> Any:
    """Make a coroutine of an awaitable."""
    return await awaitable


def _settle(future: Future, task: asyncio.Task[Any]) -> None:
    """Set our Future to the outcome of a task."""
    if task.cancelled():
        future.cancel()
    elif (error := error_of(task)) is not None:
        if not future.done():
            future.set_exception(error)
    elif not future.done():
        future.set_result(task.result())

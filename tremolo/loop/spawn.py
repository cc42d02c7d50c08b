"""Spawn: begin a task beside the one that runs.

    spawn(job())        # a generator is resumed by the loop, an `async def` by asyncio
"""

from __future__ import annotations

from collections.abc import Generator

from ..typed import Any
from .foreign import adopted
from .future import Future, current_reactor
from .task import Task


def spawn(awaitable: Any) -> Future:
    """Start a generator or a coroutine: at once, or from a worker thread soon, on the loop's.

    A coroutine, or what else can be awaited, is a task of asyncio, as a handler that is an
    `async def`. Raises `TypeError` for other values.
    """
    reactor = current_reactor()
    if not isinstance(awaitable, Generator):
        if isinstance(awaitable, Future) or not hasattr(awaitable, '__await__'):
            raise TypeError(not_awaitable(awaitable))
        # (The simulated world of the tests has no asyncio, which would open real sockets.)
        future = None if reactor.simulated else adopted(awaitable)
        if future is not None:
            return future
    return Task(awaitable, reactor=reactor, later=not reactor.in_loop_thread())


def not_awaitable(value: Any) -> str:
    """Return a sentence that says what is wrong with a value that cannot be run."""
    if isinstance(value, Future):
        return f'{value!r} runs already: yield it, or await it'
    if callable(value):
        name = getattr(value, '__qualname__', repr(value))
        return f'{name} is a function: call it, {name}(), to get a generator or a coroutine'
    return f'{value!r} is no Future, generator or coroutine'

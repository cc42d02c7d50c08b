"""Eager start: a task of asyncio that has run up to its first wait when its maker goes on.

So a request's task that never waits has ended inside the callback of its socket. The tasks that an
application makes itself are not started like this: they keep asyncio's order.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

# What a task can do by itself, by the version of Python.
_EAGER = sys.version_info >= (3, 12)
_CONTEXT = sys.version_info >= (3, 11)
_Task: Any = asyncio.Task


class Starter:
    """Makes tasks of asyncio that have begun when `start` returns, in any loop.

    From Python 3.12 on asyncio can do that. Before, the first step that a new task asks the loop
    for is caught, and done here.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._own = vars(loop)
        self._step: Any = None
        self._before: Any = None
        self._catch = self._caught    # (Kept: making a bound method for each task costs.)

    def start(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context,
              name: str | None = None) -> Any:
        """Start a task in `context`; to make it a name would cost 0.2 us. Hot: once per request."""
        if _EAGER:
            return _Task(coroutine, loop=self._loop, name=name, context=context, eager_start=True)
        own = self._own
        before = self._before = own.get('call_soon')
        own['call_soon'] = self._catch
        try:
            if _CONTEXT:
                task = _Task(coroutine, loop=self._loop, name=name, context=context)
            else:
                # It takes a copy of the context that it is made in.
                task = context.run(_Task, coroutine, loop=self._loop, name=name)
        finally:
            if before is None:
                del own['call_soon']
            else:
                own['call_soon'] = before
        step, context = self._step
        self._step = None
        try:
            context.run(step)
        except RuntimeError:
            # Inside the step of another task none can begin; whatever the task itself raises stays
            # in it.
            self._loop.call_soon(step, context=context)
        return task

    def _caught(self, step: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        if args or context is None:
            # No step of a task: a finalizer's, if garbage is collected while one is made.
            call_soon = self._before or partial(type(self._loop).call_soon, self._loop)
            return call_soon(step, *args, context=context)
        self._step = step, context
        return None

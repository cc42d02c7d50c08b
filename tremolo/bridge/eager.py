"""Eager start: a task of asyncio that runs at once up to its first wait.

So the task of a request that never waits has ended before the callback of its socket returns. Only
the tasks that the bridge starts are eager; those that an application makes keep asyncio's order.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Coroutine

from ..typed import Any
from .exits import end_if_lost, failed, is_outcome

_EAGER = sys.version_info >= (3, 12)    # asyncio.Task has the parameter `eager_start`.
_CONTEXT = sys.version_info >= (3, 11)    # asyncio.Task has the parameter `context`.
_Task: Any = asyncio.Task


class Starter:
    """Makes tasks of asyncio that have begun when `start` returns, in any loop.

    From Python 3.12 on asyncio can do that. In older versions a new task asks its loop to call its
    first step soon: this class catches that call, and does the step at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._own = vars(loop)
        if not _EAGER:
            # The loop has `call_soon` as an attribute of its own from now on: to catch a call only
            # sets it. (A key that comes and goes undoes what the interpreter has specialised.)
            self._own.setdefault('call_soon', loop.call_soon)
        # The first steps that were caught, with their contexts. (More than one, if the collector
        # runs inside `start` and calls a finalizer that makes a task.)
        self._steps: deque[tuple[Any, contextvars.Context]] = deque()
        self._call_soon: Any = None
        self._catch = self._caught    # (Kept, so that no bound method is made for each task.)

    def start(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context,
              name: str | None = None) -> Any:
        """Start a task in `context`. Hot: once per request (a generated name would cost 0.2 us)."""
        if _EAGER:
            try:
                return _Task(
                    coroutine, loop=self._loop, name=name, context=context, eager_start=True)
            except (SystemExit, KeyboardInterrupt) as error:
                return failed(self._loop, error)
            except RuntimeError as error:
                end_if_lost(error)
                raise
        own = self._own
        before = own['call_soon']
        if before is not self._catch:
            self._call_soon = before
        own['call_soon'] = self._catch
        try:
            if _CONTEXT:
                task = _Task(coroutine, loop=self._loop, name=name, context=context)
            else:
                # The task copies the context that it is made in.
                task = context.run(_Task, coroutine, loop=self._loop, name=name)
        finally:
            own['call_soon'] = before
        steps = self._steps
        step, context = steps.pop() if len(steps) == 1 else self._step_of(task, before)
        try:
            context.run(step)
        except RuntimeError:
            # No task can begin inside the step of another one: this one begins soon. (An error of
            # the task itself does not arrive here, but stays in the task.)
            self._loop.call_soon(step, context=context)
        except (SystemExit, KeyboardInterrupt) as error:
            if not is_outcome(error):
                raise
        return task

    def _step_of(self, task: Any, before: Any) -> tuple[Any, contextvars.Context]:
        """Take the step of this task out of several; the loop does the others soon, as always."""
        found = next(each for each in self._steps if each[0].__self__ is task)
        self._steps.remove(found)
        while self._steps and before is not self._catch:
            step, context = self._steps.popleft()
            before(step, context=context)
        return found

    def _caught(self, step: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        if args or context is None:
            # This is not a task's step: garbage was collected, and a finalizer called `call_soon`.
            return self._call_soon(step, *args, context=context)
        self._steps.append((step, context))
        return None

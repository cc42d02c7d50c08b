"""Exits: a task that raises SystemExit or KeyboardInterrupt ends itself, and not the loop.

asyncio keeps these two errors in the task that raised them, as it keeps any other. Besides, it
raises them out of `run_forever`, so that a program ends. A server must not end because a handler
calls `sys.exit`: the error is the task's outcome, as all others are. What no task raised is the
error of a callback: where an application is served it is logged (`Reactor.failed`), elsewhere it
goes on as in asyncio. The user's Ctrl-C always does (see `from_keyboard`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine

from ..errors import readable
from ..loop.signals import from_keyboard
from ..typed import Any, cast

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return the error of a task that has ended, as one that can be looked at."""
    try:
        error = task.exception()
    except Exception:    # (The one of asyncio in Python asks the error for its traceback.)
        return RuntimeError('an error of a class that raises when it is looked at')
    return error and readable(error)


def is_outcome(error: BaseException) -> bool:
    """Tell whether an error that left the loop is the outcome of a task, which keeps it.

    Then the loop's own frames leave its traceback: they refer to the task, which would be a cycle.
    """
    if from_keyboard(error):
        return False
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_flags & _COROUTINE:
            error.with_traceback(place)
            return True
        place = place.tb_next
    return False


def failed(loop: asyncio.AbstractEventLoop, error: BaseException) -> asyncio.Future[Any]:
    """Return a future with this error, for a task that has ended before it had a name.

    Raises the error if it is no task's outcome.
    """
    if not is_outcome(error):
        raise error
    future = loop.create_future()
    future.set_exception(error)
    return future


def contained(coroutine: Any) -> Coroutine[Any, Any, Any]:
    """Return a coroutine for the loop of somebody else's program, which these errors would end.

    They are raised as the cause of a RuntimeError.
    """
    outer: Any = _contained(coroutine)
    outer.__qualname__ = coroutine.__qualname__    # What it is called in reports.
    return cast('Coroutine[Any, Any, Any]', outer)


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        if from_keyboard(error):
            raise
        raise RuntimeError(f'a task raised {error!r}, which would end the program') from error

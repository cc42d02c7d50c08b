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

from ..loop.forks import end_if_forked
from ..loop.signals import from_keyboard
from ..typed import Any, cast

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


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


def end_if_lost(error: BaseException | None) -> None:
    """End a child that a task has forked, if its step comes back by this error of asyncio.

    From CPython 3.14 on, asyncio lets no loop of its parent run in a child: the step ends by a
    RuntimeError, and what the task itself has raised, a `sys.exit`, is its context.
    """
    if type(error) is RuntimeError and 'is not the running loop' in str(error):
        raised = error.__context__
        end_if_forked(raised if isinstance(raised, SystemExit) else None)


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

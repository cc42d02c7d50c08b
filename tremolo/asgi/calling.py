"""Calling: an application that is no `async def`, as one that is.

Its code would run before the task of the request begins, outside of that task's context.
"""

from __future__ import annotations

import functools
import inspect

from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import Application


def as_coroutine_function(app: Application) -> Application:
    """Return an application whose call gives a coroutine and runs none of its code."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(
            getattr(app, '__call__', None)):  # noqa: B004
        return app

    @functools.wraps(app)
    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return call

"""Connection hooks: functions that each process calls when a connection begins, and when it ended.

    @app.on_connect
    def count(connection, app):
        app.context.open += 1
        if connection.addresses[0] in BANNED:
            connection.abort('refused')

    @app.on_close
    def uncount(connection, reason):    # one of the `REASONS` of server/phases.py

They are called on the loop, so they must not block. A generator and an `async def` go on as tasks.
What fails is logged, and the connection goes on.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping

from ..loop import Cancelled, Future
from ..loop.signals import caught
from ..loop.spawn import spawn
from ..server import HandlerError
from ..server.connection import Connection
from ..typed import Any, Callable

_log = logging.getLogger('tremolo.error')


class ConnectionHook:
    """One function, and what it asks for."""

    def __init__(self, function: Callable[..., Any], names: Iterable[str]) -> None:
        """Read its signature. Raises `HandlerError` for what cannot be called so."""
        if not callable(function) or isinstance(function, type):
            raise HandlerError(f'{function!r:.64} is no function: write the decorator above one, '
                               'without arguments')
        self.name = getattr(function, '__qualname__', repr(function))
        if inspect.isasyncgenfunction(function):
            raise HandlerError(f'{self.name} is an asynchronous generator, which nothing runs: '
                               'leave out its `yield`, and use `await`')
        self._function = function
        self.is_async = inspect.iscoroutinefunction(function)
        parameters = inspect.signature(function).parameters.values()
        self._takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
        self._wants = [each.name for each in parameters if each.name in names]
        for each in parameters:
            if each.kind is each.POSITIONAL_ONLY:
                raise HandlerError(f'{self.name}: {each.name} cannot be given by name')
            if each.default is each.empty and each.name not in names and each.kind not in (
                    each.VAR_KEYWORD, each.VAR_POSITIONAL):
                raise HandlerError(f'{self.name} asks for {each.name!r}, which it does not get; it '
                                   f'may ask for {", ".join(names)}')

    def call(self, names: Mapping[str, Any]) -> None:
        """Call it; what it leaves to do is a task from now on. Raises nothing but Ctrl-C."""
        try:
            if not self._takes_all:
                names = {name: names[name] for name in self._wants}
            value = self._function(**names)
            if inspect.isgenerator(value) or hasattr(value, '__await__'):
                task = spawn(value)
                self._ended(task) if task.done() else task.add_done_callback(self._ended)
        except BaseException as error:
            _log.error('the hook %s failed', self.name, exc_info=caught(error))

    def _ended(self, task: Future) -> None:
        error = task.outcome()[1]
        if error is not None and not isinstance(error, Cancelled):
            _log.error('the hook %s failed', self.name, exc_info=error)


class ConnectionHooks:
    """All of them of one application."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.connects: list[ConnectionHook] = []
        self.closes: list[ConnectionHook] = []    # The last one added is the first.

    def connected(self, connection: Connection) -> None:
        """Tell of a connection that has begun."""
        for hook in self.connects:
            hook.call({'connection': connection, 'app': self._app})

    def closed(self, connection: Connection, reason: str) -> None:
        """Tell of a connection that has ended."""
        for hook in self.closes:
            hook.call({'connection': connection, 'reason': reason, 'app': self._app})

    @property
    def need_asyncio(self) -> bool:
        """Whether one of them is an `async def`."""
        return any(hook.is_async for hook in (*self.connects, *self.closes))

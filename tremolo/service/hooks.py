"""Hooks: functions that each process calls once, before the first connection or after the last.

    @app.on_worker_start
    async def connect(app, **worker):
        app.context.pool = await make_pool()

A hook is a plain function, a generator function or an `async def`. Its parameters say what it gets:
app, context and globals (both are `app.context`), lock, logger, loop, reactor.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
from collections.abc import Coroutine, Iterable, Mapping

from ..errors import HookFailed
from ..loop import Task
from ..loop.future import set_current_reactor
from ..loop.signals import from_keyboard
from ..server import Server
from ..server.contexts import keep_context
from ..typed import Any, Callable

_log = logging.getLogger('tremolo.error')
Hook = Callable[..., Any]
_NOTHING: Any = object()


def call_all(
    hooks: Iterable[Hook], names: Mapping[str, Any], go_on: bool = False
) -> Coroutine[Any, Any, None] | None:
    """Call the hooks in their order.

    When one has to wait, return a coroutine that waits and then calls the rest; None if no hook has
    to wait. Raises `HookFailed`, as the coroutine does; with `go_on` a hook that fails is logged,
    and the rest is called.
    """
    left = iter(list(hooks))
    for hook in left:
        try:
            value = _call(hook, names)
        except BaseException as error:
            _fail(hook, error, go_on, names)
            continue
        if inspect.isgenerator(value) or inspect.isawaitable(value):
            return _wait_for(hook, value, left, names, go_on)
    return None


async def _wait_for(
    hook: Hook, value: Any, left: Iterable[Hook], names: Mapping[str, Any], go_on: bool
) -> None:
    try:
        if inspect.isgenerator(value):
            context = contextvars.copy_context()
            await Task(value, reactor=names['reactor'], context=context)
            _take_over(context)
        else:
            await value
    except BaseException as error:
        from ..bridge.running import being_cancelled
        # (A task that a hook has cancelled, and waits for, raises `CancelledError`, too.)
        if type(error).__name__ == 'CancelledError' and being_cancelled():
            raise
        _fail(hook, error, go_on, names)
    rest = call_all(left, names, go_on)
    if rest is not None:
        await rest


async def then_keep_context(hooks: Coroutine[Any, Any, None], server: Server) -> None:
    """Wait for the hooks; what they have set in ContextVars holds for the server's requests."""
    await hooks
    keep_context(server)


def _take_over(context: contextvars.Context) -> None:
    """Set the variables of a context in the current one."""
    for variable, value in context.items():
        if variable.get(_NOTHING) is not value:
            variable.set(value)


def _call(hook: Hook, names: Mapping[str, Any]) -> Any:
    reactor = names['reactor']
    if inspect.iscoroutinefunction(hook):
        # In an `async def` the name `loop` stands for the asyncio loop, elsewhere for the reactor.
        # The import is late: a process without asyncio starts faster and stays smaller.
        from ..bridge import bridge_to
        names = {**names, 'loop': bridge_to(reactor).loop}
    parameters = inspect.signature(hook).parameters.values()
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        names = {each.name: names[each.name] for each in parameters if each.name in names}
    # The loop does not turn yet, or no longer. A hook may spawn tasks and begin jobs all the same.
    before = set_current_reactor(reactor)
    reactor.belong_to(threading.get_ident())
    try:
        value = hook(**names)
    finally:
        set_current_reactor(before)
    begun = getattr(value, 'gen', value)    # (That of a context manager of `contextlib`.)
    if inspect.isasyncgen(begun) or (begun is not value and inspect.isgenerator(begun)):
        raise TypeError('nothing would run what it returns: write two functions, the first half '
                        'below @app.on_worker_start, the second one below @app.on_worker_stop')
    return value


def _fail(hook: Hook, error: BaseException, go_on: bool, names: Mapping[str, Any]) -> None:
    if from_keyboard(error) or not (go_on or isinstance(error, Exception)):
        raise error    # (A start that exits is one that exits.)
    name = getattr(hook, '__qualname__', repr(hook))
    _log.error('the hook %s failed', name, exc_info=error)
    failure = HookFailed(f'the hook {name} failed: {error!r}')
    failure.__cause__ = error
    if not go_on:
        raise failure
    names['app'].failed_to_end(failure)

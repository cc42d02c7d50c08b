"""Contexts: each request runs in a copy of the context as it was after the application's start.

So what the program, a start hook or a lifespan has set in a ContextVar holds in handlers, and what
one request sets no other one sees. To copy a context takes as long as to make an empty one: a copy
shares what it does not change.

The numbers of `decimal` need care. The value of their ContextVar is an object that changes when a
handler sets `getcontext().prec`, and copied contexts share it. A thread has such an object as soon
as it makes a Decimal. As long as it is as it was made, it is left out, and each request that needs
one makes its own. Otherwise each request gets a copy of it (0.5 us).
"""

from __future__ import annotations

import sys
from contextvars import Context, copy_context

from ..loop.work import for_request, of_startup
from ..typed import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .server import Server


def keep_context(server: Server, context: Context | None = None) -> None:
    """Let the requests of a server run in copies of a context, by default of the caller's."""
    base = copy_context() if context is None else context.copy()
    # What a request begins is no work of the start, though its context comes from there.
    base.run(of_startup.set, False)
    base.run(for_request.set, True)
    new_context = server.with_ids(_maker_of_copies(base))
    for part in {server, *server.parts.values()}:
        part.new_context = new_context


def _maker_of_copies(base: Context) -> Callable[[], Context]:
    decimal: Any = sys.modules.get('decimal')
    numbers = [value for value in base.values() if isinstance(value, decimal.Context)] \
        if decimal is not None else []
    if not numbers:
        return base.copy
    if all(_shown(value) == _shown(decimal.DefaultContext) for value in numbers):
        rest = Context()
        for variable, value in base.items():
            if not isinstance(value, decimal.Context):
                rest.run(variable.set, value)
        return rest.copy
    number, setcontext = numbers[0].copy(), decimal.setcontext

    def copy() -> Context:
        context = base.copy()
        context.run(setcontext, number.copy())
        return context

    return copy


def _shown(number: Any) -> str:
    """Return a context of `decimal` as text, without the flags that calculations leave."""
    number = number.copy()
    number.clear_flags()
    return repr(number)

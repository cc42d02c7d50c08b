"""Work: what goes on beside the requests: tasks and jobs, as a host sees them that has to end.

A host that ends first waits for the work that its requests have begun. What the application began
before the first of them (`of_startup`) is the application's own to end.
"""

from __future__ import annotations

from contextvars import Context, ContextVar
from functools import partial

from ..typed import Any, Callable

# Whether the code that runs belongs to the start of the application. What it begins copies its
# context: so the tasks of a task that was begun at the start are known, too.
of_startup: ContextVar[bool] = ContextVar('tremolo.of_startup', default=False)

# Whether it works for a request: then a thread that waits there mostly waits for a client.
for_request: ContextVar[bool] = ContextVar('tremolo.for_request', default=False)


class Work:
    """A task or a job that has not ended. (A NamedTuple would slow down the start.)"""

    def __init__(self, source: Any, what: str, where: Callable[[], str],
                 cancel: Callable[[], object] | None) -> None:
        self.source = source    # The task or the job itself.
        self.what = what    # What it is, for the log.
        self.where = where    # Returns where it stands, as file:line.
        self.cancel = cancel    # None: it cannot be cancelled.


def name_of(call: Any) -> str:
    """Return the name of a function or a coroutine, or of the function that a partial calls."""
    while isinstance(call, partial):
        # (`asyncio.to_thread` calls the method `run` of a context with the function.)
        of_context = isinstance(getattr(call.func, '__self__', None), Context)
        call = call.args[0] if of_context and call.args else call.func
    return str(getattr(call, '__qualname__', type(call).__qualname__))

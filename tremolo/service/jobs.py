"""Jobs: what an application runs beside its requests: `app.spawn(job())`.

A job is a task that the end of the server waits for (ending.py), and whose failure is told at once.
"""

from __future__ import annotations

import contextvars
import logging
import os
from functools import partial

from ..frames import caller
from ..loop import Cancelled, Future, InvalidState
from ..loop.future import set_current_reactor
from ..loop.spawn import not_awaitable, spawn
from ..loop.threads import call_on_loop
from ..loop.work import name_of, of_startup
from ..server import Server
from ..typed import Any

# The flags of a function with `yield`, and of an `async def` (`inspect.CO_GENERATOR`, ...).
_RESUMED = 0x20 | 0x80
_log = logging.getLogger('tremolo.error')


class Job:
    """What the end of a server has to know of a job. (A NamedTuple would slow down the start.)"""

    __slots__ = ('early', 'what')

    def __init__(self, what: str, early: bool) -> None:
        self.what = what    # Its name, and where it was spawned.
        self.early = early    # Whether the application's start has spawned it.


def begin(server: Server | None, process: int, job: Any) -> Future:
    """Begin a job on a server that was made in `process`; see `Service.spawn`."""
    if hasattr(job, '__aiter__'):
        raise TypeError(f'{name_of(job)} is an asynchronous generator: leave out its `yield`, and '
                        'a job can be awaited')
    if isinstance(job, Future) or callable(job) or not (
            hasattr(job, '__await__') or hasattr(job, 'throw')):
        raise TypeError(_mistake(job))
    if server is None or process != os.getpid() or server.reactor.closed:
        if hasattr(job, 'close'):
            job.close()    # (Else Python warns of a coroutine that was never awaited.)
        raise InvalidState('spawn: no server runs this application now: write it in a handler, or '
                           'in a function below `@app.on_worker_start`, which each process calls '
                           'before its first connection')
    what = f'the job {name_of(job)}, spawned at {caller()},'
    return call_on_loop(server.reactor, _begin, server, job, what)


def _begin(server: Server, awaitable: Any, what: str) -> Future:
    early = of_startup.get()
    context = contextvars.copy_context()
    # (What a job of the start begins is waited for, as the job is.)
    context.run(of_startup.set, False)
    before = set_current_reactor(server.reactor)
    try:
        future: Future = context.run(spawn, awaitable)
    finally:
        set_current_reactor(before)
    server.jobs[future] = Job(what, early)
    future.add_done_callback(partial(_ended, server, what))
    return future


def _ended(server: Server, what: str, future: Future) -> None:
    """Forget a job that has ended, and tell of its failure."""
    del server.jobs[future]
    error = future.exception()
    if error is not None and not isinstance(error, Cancelled):
        _log.error('%s failed', what, exc_info=error)


def _mistake(job: Any) -> str:
    """Return a sentence that says what to write instead of what is no job."""
    code = getattr(job, '__code__', None)
    if job is None or (code is not None and not code.co_flags & _RESUMED):
        what = 'None' if job is None else f'the plain function {name_of(job)}'
        return (f'spawn got {what}: a job is a generator or a coroutine, so write a `yield` into '
                'its function, or `async def`; for what blocks: `yield run_in_thread(function)`')
    return f'spawn: {not_awaitable(job)}'

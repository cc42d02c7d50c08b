"""Work: the tasks and the executors' jobs of an asyncio loop that have not ended.

asyncio knows its tasks, but neither which task began which, nor what the threads of its executors
do. So two methods of a loop of ours note it: `create_task` and `run_in_executor`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

from ..frames import place_in_thread, place_of
from ..loop.work import Work, name_of, of_startup
from ..typed import Any, Callable


class _Job:
    """A call that a thread of an executor does, now or later."""

    def __init__(self, func: Callable[..., Any], jobs: set[_Job]) -> None:
        self._func = func
        self._jobs = jobs    # All jobs of the loop that have not ended.
        self._cancelled = False
        self.name = name_of(func)
        self.early = of_startup.get()    # Whether it is a job of the application's start.
        self.thread = 0    # The number of the thread that does it; 0 before.

    def __call__(self, *args: Any) -> Any:
        if self._cancelled:
            raise CancelledError
        self.thread = threading.get_ident()
        try:
            return self._func(*args)
        finally:
            self._jobs.discard(self)

    def where(self) -> str:
        """Return file:line at which its thread stands."""
        return place_in_thread(self.thread) or 'waiting for a thread'

    def cancel(self) -> None:
        """Never begin; for a job that waits for a thread."""
        self._cancelled = True
        self._jobs.discard(self)

    def ended(self, future: asyncio.Future[Any]) -> None:
        """Forget the job if it was cancelled before it began."""
        if not self.thread:
            self._jobs.discard(self)


class LoopWork:
    """The work of one loop; made with the loop."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._early: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._jobs: set[_Job] = set()
        self._create_task, self._run_in_executor = loop.create_task, loop.run_in_executor
        vars(loop).update(create_task=self.create_task, run_in_executor=self.run_in_executor)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task, as the loop does, and note it if it belongs to the start."""
        task: asyncio.Task[Any] = self._create_task(coro, **options)
        if of_startup.get():
            self._early.add(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Call a function on a thread, as the loop does, and note it as a job."""
        if not (executor is None or isinstance(executor, ThreadPoolExecutor)) \
                or inspect.iscoroutinefunction(func):
            # (Another process gets the function itself. A coroutine function is a mistake.)
            return self._run_in_executor(executor, func, *args)
        job = _Job(func, self._jobs)
        self._jobs.add(job)
        try:
            future = self._run_in_executor(executor, job, *args)
        except BaseException:
            self._jobs.discard(job)
            raise
        future.add_done_callback(job.ended)
        return future

    def begun(self) -> None:
        """Count all tasks that there are now as work of the application's start."""
        self._early.update(asyncio.all_tasks(self._loop))

    def left(self, early: bool = False) -> Iterator[Work]:
        """Return the tasks and jobs that have not ended.

        Those of the application's start are left out, unless `early` is said.
        """
        for task in asyncio.all_tasks(self._loop):
            if early or task not in self._early:
                yield of_task(task)
        for job in list(self._jobs):
            if early or not job.early:
                yield Work(job, f'the job {job.name} in a thread', job.where,
                           None if job.thread else job.cancel)


def of_task(task: asyncio.Task[Any]) -> Work:
    """Return a task of asyncio as work."""
    coroutine = task.get_coro()
    return Work(task, f'the task {name_of(coroutine)}', lambda: place_of(coroutine), task.cancel)

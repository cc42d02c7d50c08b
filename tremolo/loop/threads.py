"""Threads: blocking code off the loop, its result back on it.

    digest = yield run_in_thread(hash_file, path)

A reactor has one pool, made for its first job. A job that finds no idle thread starts a new one, up
to `MOST_THREADS`; threads stay until the reactor closes. All threads are daemons: a job that never
returns cannot keep the process alive.

On a worker thread `current_reactor()` is the reactor that the thread works for. `sleep`, `gather`,
`timeout`, `spawn`, `connect`, `run_in_thread` and the reads of a stream may be called there: their
set-up is handed to the loop, in the order of the calls, and `sleep(1).result()` waits. All other
objects of the loop are reached by `reactor.call_soon_threadsafe` or `spawn`. The system decides
the time and the order of threads, so the simulated world of the tests has none.
"""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Generator
from functools import partial
from typing import Any, Callable, TypeVar

from .errors import InvalidState
from .frames import place_in_thread
from .future import Future, current_reactor, set_current_reactor
from .reactor import Reactor
from .task import Task
from .work import Work, name_of, of_startup

MOST_THREADS = 32

T = TypeVar('T')


class _Job(Future):
    """The Future of a job on a worker thread."""

    __slots__ = ('early', 'name', 'thread')

    def __init__(self, reactor: Reactor, func: Callable[..., Any]) -> None:
        Future.__init__(self, reactor)
        self.name = name_of(func)
        self.early = of_startup.get()    # Whether it is a job of the application's start.
        self.thread = 0    # The number of the thread that does the job; 0 before and after.

    def where(self) -> str:
        """Return file:line at which the thread stands now, or what the job waits for."""
        return place_in_thread(self.thread) or (
            'ended' if self.done() else 'waiting for a thread')


class ThreadPool:
    """The worker threads of one reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        # Guards the five attributes below; notified when a job is added and when the pool closes.
        self._changed = threading.Condition()
        # The jobs that wait for a thread, in order: the Future of each, and the call to do.
        self._jobs: OrderedDict[_Job, Callable[[], Any]] = OrderedDict()
        self._idle: set[threading.Thread] = set()
        self._busy: set[_Job] = set()    # The jobs that threads do now.
        self._started = 0
        self._closed = False
        reactor.at_close.add(self.close)

    def submit(self, future: _Job, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run `func(*args)` on a thread of the pool, and settle `future` with its outcome."""
        with self._changed:
            if self._closed:
                raise InvalidState('the reactor is closed')
            # A notified thread counts as idle until it runs; until then its job counts as waiting
            # too. So the comparison is exact.
            if len(self._idle) <= len(self._jobs) and self._started < MOST_THREADS:
                try:
                    threading.Thread(target=self._work, name='tremolo-worker', daemon=True).start()
                    self._started += 1
                except RuntimeError:
                    # The system has no more threads. The existing ones will do this job later.
                    if not self._started:
                        raise
            self._jobs[future] = partial(contextvars.copy_context().run, func, *args)
            future.on_cancel = partial(self._withdraw, future)
            self._changed.notify()

    def _withdraw(self, future: _Job) -> None:
        with self._changed:
            self._jobs.pop(future, None)

    def _work(self) -> None:
        set_current_reactor(self._reactor)
        this = threading.current_thread()
        while True:
            with self._changed:
                self._idle.add(this)
                self._changed.wait_for(lambda: self._jobs or self._closed)
                self._idle.discard(this)
                if self._closed:
                    return
                future, call = self._jobs.popitem(last=False)
                self._busy.add(future)
            _run(future, call)
            with self._changed:
                self._busy.discard(future)
            del future, call    # An idle thread keeps nothing of its last job alive.

    def left(self, early: bool = False) -> list[Work]:
        """Return the jobs that are done now or wait for a thread.

        Those of the application's start are left out, unless `early` is said.
        """
        with self._changed:
            waiting = [Work(job, f'the job {job.name} in a thread', job.where, job.cancel)
                       for job in self._jobs if early or not job.early]
            return waiting + [Work(job, f'the job {job.name} in a thread', job.where, None)
                              for job in self._busy if early or not job.early]

    def close(self) -> None:
        """Cancel the waiting jobs, end the idle threads; a busy thread ends after its job."""
        with self._changed:
            self._closed = True
            for future in list(self._jobs):
                future.cancel()
            idle = list(self._idle)
            self._changed.notify_all()
        for thread in idle:
            thread.join()


def _run(future: _Job, job: Callable[[], Any]) -> None:
    """Do the job on this thread, and bring the outcome to the loop."""
    future.thread = threading.get_ident()
    try:
        try:
            bring = partial(future.set_result, job())
        except StopIteration as exc:
            # Raised in a generator, it would end that generator as if by `return`.
            raise RuntimeError('a job raised StopIteration') from exc
    except BaseException as exc:
        bring = partial(future.set_exception, exc)
        # The first frame of the traceback is this one, and it refers to the error: a cycle.
        exc.__traceback__ = exc.__traceback__ and exc.__traceback__.tb_next
    future.thread = 0
    future.reactor.call_soon_threadsafe(_bring, future, bring)
    del bring    # The frames of an error's traceback lead back here (before Python 3.11).


def _bring(future: Future, bring: Callable[[], None]) -> None:
    if not future.done():    # It may have been cancelled meanwhile.
        bring()


def run_in_thread(func: Callable[..., Any], *args: Any) -> Future:
    """Call `func(*args)` on a worker thread; return a Future of its value.

    The job runs in a copy of the caller's context. A `StopIteration` arrives as a `RuntimeError`.
    When the Future is cancelled, a job that has not begun never runs; the result of a job that
    runs is dropped.
    """
    reactor = current_reactor()
    future = _Job(reactor, func)
    if reactor.pool is None:
        # Two threads that call this first, together, may make two pools: both work, and the
        # reactor closes both.
        reactor.pool = ThreadPool(reactor)
    reactor.pool.submit(future, func, args)
    return future


def call_on_loop(reactor: Reactor, function: Callable[..., T], *args: Any) -> T:
    """Call `function(*args)` on the reactor's thread; on another thread wait for its value."""
    if reactor.in_loop_thread():
        return function(*args)
    value: T = Task(_in_task(function, *args), reactor=reactor, later=True).result()
    return value


def _in_task(function: Callable[..., Any], *args: Any) -> Generator[None, None, Any]:
    return function(*args)
    yield    # So it is a generator.

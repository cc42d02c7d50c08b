"""Threads: blocking code off the loop, its result back on it.

    digest = yield run_in_thread(hash_file, path)

A reactor has one pool, made when it is first asked for. A thread is started only when a job finds
none idle, up to `MOST_THREADS`; further jobs stand in line. A thread that was idle for `IDLE_TIME`
seconds ends. All are daemons: a job that never returns cannot keep the process alive.

On such a thread `current_reactor()` is the reactor that the thread works for. `sleep`, `gather`,
`timeout`, `spawn`, `connect`, `run_in_thread` and the reads of a stream may be called there: what
has to be set up is handed to the loop, in the order of the calls, and `sleep(1).result()` waits.
All else that belongs to the loop is reached by `reactor.call_soon_threadsafe` or `spawn`.

Cancelling the Future takes a job that has not begun out of the line; of one that runs, the result
is dropped. When the reactor closes, jobs in line are cancelled, idle threads are waited for, and a
thread that waits for a Future gets `Cancelled`.

This is the one place of the loop where time and order are not ours, so the simulated world has no
threads.
"""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from .errors import InvalidState
from .future import Future, current_reactor, set_current_reactor

if TYPE_CHECKING:
    from .reactor import Reactor

MOST_THREADS = 32
# Seconds that a thread waits for its next job before it ends.
IDLE_TIME = 10.0


class ThreadPool:
    """The worker threads of one reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        # Guards the four below, and is notified when a job comes or the pool closes.
        self._changed = threading.Condition()
        # The Future of each job in line, and what the thread has to call.
        self._jobs: OrderedDict[Future, Callable[[], Any]] = OrderedDict()
        self._threads: set[threading.Thread] = set()
        self._idle: set[threading.Thread] = set()
        self._closed = False
        reactor.at_close.add(self.close)

    def submit(self, future: Future, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run `func(*args)` on a thread of the pool; its outcome becomes that of `future`."""
        with self._changed:
            if self._closed:
                raise InvalidState('the reactor is closed')
            # An idle thread that was notified counts as idle until it has run; its job is still
            # in line then, so comparing the two numbers is exact.
            if len(self._idle) <= len(self._jobs) and len(self._threads) < MOST_THREADS:
                self._start_thread()
            self._jobs[future] = partial(contextvars.copy_context().run, func, *args)
            future.on_cancel = partial(self._withdraw, future)
            self._changed.notify()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name='tremolo-worker', daemon=True)
        try:
            thread.start()
            self._threads.add(thread)
        except RuntimeError:
            # The system has no more threads. Those that there are will come to it.
            if not self._threads:
                raise

    def _withdraw(self, future: Future) -> None:
        with self._changed:
            self._jobs.pop(future, None)

    def _work(self) -> None:
        set_current_reactor(self._reactor)
        this = threading.current_thread()
        while True:
            with self._changed:
                self._idle.add(this)
                self._changed.wait_for(lambda: self._jobs or self._closed, IDLE_TIME)
                self._idle.discard(this)
                if not self._jobs:
                    self._threads.discard(this)
                    return
                job = self._jobs.popitem(last=False)
            _run(*job)
            # An idle thread holds nothing of its last job.
            del job

    def close(self) -> None:
        """Cancel what stands in line, end the idle threads; a busy one ends after its job."""
        with self._changed:
            self._closed = True
            for future in list(self._jobs):
                future.cancel()
            idle = list(self._idle)
            self._changed.notify_all()
        for thread in idle:
            thread.join()


def _run(future: Future, job: Callable[[], Any]) -> None:
    """Do the job here and bring the outcome to the loop."""
    bring: Callable[[Any], None] = future.set_exception
    try:
        outcome: Any = job()
        bring = future.set_result
    except StopIteration as exc:
        # Thrown into a generator it would end that one, as if it had returned.
        outcome = RuntimeError('a job raised StopIteration')
        outcome.__cause__ = exc
    except BaseException as exc:
        # Without this frame, which refers to the error, there is no cycle.
        outcome = exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
    future.reactor.call_soon_threadsafe(_bring, future, bring, outcome)
    # The frames of an error's traceback lead back here (before Python 3.11).
    del outcome


def _bring(future: Future, bring: Callable[[Any], None], outcome: Any) -> None:
    # It may have been cancelled meanwhile.
    if not future.done():
        bring(outcome)


def run_in_thread(func: Callable[..., Any], *args: Any) -> Future:
    """Call `func(*args)` on a worker thread; the Future gives its value or raises its error.

    It runs in a copy of the caller's context. `StopIteration` arrives as a `RuntimeError`.
    """
    reactor = current_reactor()
    future = Future(reactor)
    if reactor.pool is None:
        # Two threads that come first together may make two: both work, and both are closed.
        reactor.pool = ThreadPool(reactor)
    reactor.pool.submit(future, func, args)
    return future

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
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from .errors import InvalidState
from .future import Future, current_reactor, set_current_reactor

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo.loop')

MOST_THREADS = 32
# Seconds that a thread waits for its next job before it ends.
IDLE_TIME = 10.0


class _Job:
    """One call on its way, the context it runs in, and the Future of its outcome."""

    __slots__ = ('args', 'context', 'func', 'future')

    def __init__(self, future: Future, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.future = future
        self.func = func
        self.args = args
        self.context = contextvars.copy_context()

    def run(self) -> tuple[Any, BaseException | None]:
        """Call the function here; return its value and its error."""
        try:
            return self.context.run(self.func, *self.args), None
        except StopIteration as exc:
            # Thrown into a generator it would end that one, as if it had returned.
            error = RuntimeError(f'{self.func!r} raised StopIteration')
            error.__cause__ = exc
            return None, error
        except BaseException as exc:
            # Without this frame: the traceback begins in the function.
            return None, exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)


def _bring(future: Future, value: Any, error: BaseException | None) -> None:
    if future.done():
        # It was cancelled meanwhile.
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


class ThreadPool:
    """The worker threads of one reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        # Guards the four below, and is notified when a job comes or the pool closes.
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._threads: set[threading.Thread] = set()
        # Those that run a function of ours: no telling when they come back.
        self._busy: set[threading.Thread] = set()
        self._closed = False
        reactor.at_close.add(self.close)

    def __len__(self) -> int:
        return len(self._threads)

    def submit(self, future: Future, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run `func(*args)` on a thread of the pool; its outcome becomes that of `future`."""
        job = _Job(future, func, args)
        with self._changed:
            if self._closed:
                raise InvalidState('the reactor is closed')
            self._jobs.append(job)
            free = len(self._threads) - len(self._busy)
            if free < len(self._jobs) and len(self._threads) < MOST_THREADS:
                self._start_thread()
            self._changed.notify()
        future.on_cancel = lambda: self._withdraw(job)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name='tremolo-worker', daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            # The system has no more threads. Those that there are will come to it.
            self._threads.discard(thread)
            if not self._threads:
                self._jobs.pop()
                raise

    def _withdraw(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def _work(self) -> None:
        set_current_reactor(self._reactor)
        while True:
            job = self._next_job()
            if job is None:
                return
            value, error = job.run()
            with self._changed:
                self._busy.discard(threading.current_thread())
            job.future.reactor.call_soon_threadsafe(_bring, job.future, value, error)
            # An idle thread holds nothing of its last job.
            del job, value, error

    def _next_job(self) -> _Job | None:
        """Wait for a job; None: this thread has to end."""
        this = threading.current_thread()
        with self._changed:
            while not self._jobs and not self._closed:
                if not self._changed.wait(IDLE_TIME) and not self._jobs:
                    break
            if self._jobs:
                self._busy.add(this)
                return self._jobs.popleft()
            self._threads.discard(this)
            return None

    def close(self) -> None:
        """Cancel what stands in line, end the idle threads; a busy one ends after its job."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._jobs.clear()
            free = self._threads - self._busy
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()
        for thread in free:
            thread.join()


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

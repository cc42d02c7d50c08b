"""Threads: blocking code off the loop, its result back on it.

    digest = yield run_in_thread(hash_file, path)

A reactor has one pool, made for its first job. A job that finds no idle thread starts a new one, up
to `Reactor.threads`; threads stay until the reactor closes. All threads are daemons: a job that
never returns cannot keep the process alive.

A job may wait for another one: `run_in_thread(part).result()`. If all threads did so, no thread
would be left for what they wait for. Therefore a thread that waits for a Future does not count, and
one more may work in its place; but only on jobs that come from jobs, the deepest first. So there
are never more than `Reactor.threads` jobs of the first depth, and those below them always go on.
What else threads may wait for (a lock whose holder needs a thread) is told in the log.

A job that works for a request mostly waits for its client, who may be slow. While it waits, a job
of the first depth may work in its place, too, within the bounds of waits.py.

On a worker thread `current_reactor()` is the reactor that the thread works for. `sleep`, `gather`,
`timeout`, `spawn`, `connect`, `run_in_thread` and the reads of a stream may be called there: their
set-up is handed to the loop, in the order of the calls, and `sleep(1).result()` waits. All other
objects of the loop are reached by `reactor.call_soon_threadsafe` or `spawn`. The system decides
the time and the order of threads, so the simulated world of the tests has none.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Generator
from contextlib import suppress
from functools import partial

from ..errors import readable
from ..frames import place_in_thread
from ..typed import Any, Callable, TypeVar
from .errors import InvalidState
from .forks import end_if_forked
from .future import Future, current_reactor, set_current_reactor, wait_by
from .reactor import Reactor
from .task import Task
from .waits import Waits
from .work import Work, for_request, name_of, of_startup

_log = logging.getLogger('tremolo.loop')
# How many jobs there are above the code that runs: 0 for what no job has called.
_depth: contextvars.ContextVar[int] = contextvars.ContextVar('tremolo.depth_of_jobs', default=0)

LONG = 1.0      # Seconds that all threads wait until that is told.
QUIET = 60.0    # Seconds until it is told again.

T = TypeVar('T')


class Job(Future):
    """The Future of a job on a worker thread."""

    __slots__ = ('answers', 'at_end', 'begun', 'early', 'name', 'thread', 'wants')

    def __init__(self, reactor: Reactor, func: Callable[..., Any]) -> None:
        Future.__init__(self, reactor)
        self.name = name_of(func)
        self.early = of_startup.get()    # Whether it is a job of the application's start.
        self.thread = 0    # The number of the thread that does the job; 0 before and after.
        self.begun = False    # Whether a thread has taken it.
        self.at_end: Callable[[object], object] | None = None
        self.wants = 'a thread'    # What it waits for before it begins.
        self.answers = False    # Whether it is a request's handler, and counts in `queued`.

    def when_ended(self, callback: Callable[[object], object]) -> None:
        """Call when no thread does the job any more, which goes on when this is cancelled."""
        self.at_end = callback
        self.add_done_callback(self.left)

    def left(self, _: object = None) -> None:
        """Call `at_end` once, unless a thread does the job."""
        if not self.begun and (at_end := self.at_end) is not None:
            self.at_end = None
            at_end(self)

    def where(self) -> str:
        """Return file:line at which the thread stands now, or what the job waits for."""
        return place_in_thread(self.thread) or (
            'ended' if self.done() or self.begun else f'waiting for {self.wants}')


class ThreadPool:
    """The worker threads of one reactor, and the jobs that wait for one."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        # Guards what follows; notified when a job may have become possible, and at the close.
        self._changed = threading.Condition()
        # The jobs that wait for a thread, by depth and in order: the Future of each, and the call
        # to do. (A depth without jobs has no entry.)
        self._jobs: dict[int, OrderedDict[Job, Callable[[], Any]]] = {}
        self._idle: set[threading.Thread] = set()
        self._busy: set[Job] = set()    # The jobs that threads do now.
        self._first = 0      # How many of these are of the first depth.
        self._waiting = 0    # How many of them all wait for a Future.
        # Those that wait, are of the first depth, and work for requests.
        self._waits = Waits(reactor, self._more)
        self._queued = 0     # How many handlers wait for a thread.
        self._ended = 0      # How many jobs and waits have ended so far.
        self._looking = False    # Whether `_look` is to be called.
        self._told = -QUIET      # When it was last told that all threads wait.
        # Those of which no outcome has come to the loop, which takes them out.
        self._begun: set[Job] = set()
        self._closed = False
        reactor.at_close.add(self.close)

    def submit(self, future: Job, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run `func(*args)` on a thread of the pool, and settle `future` with its outcome."""
        context, depth = contextvars.copy_context(), _depth.get()
        context.run(_depth.set, depth + 1)
        with self._changed:
            if self._closed:
                raise InvalidState('the reactor is closed')
            jobs = self._jobs.setdefault(depth, OrderedDict())
            jobs[future] = partial(context.run, func, *args)
            self._queued += future.answers
            try:
                self._use_room()
            except RuntimeError:
                # The system has no more threads. The existing ones will do this job later.
                if not (self._idle or self._busy):
                    self._drop(future, depth)
                    raise
            future.on_cancel = partial(self._withdraw, future, depth)
            if self._waiting:
                self._look_soon()

    def _use_room(self) -> None:
        """Wake a thread or start one, if there is a job that may begin."""
        room = self._reactor.threads
        inner = sum(len(jobs) for depth, jobs in self._jobs.items() if depth)
        outer = min(len(self._jobs.get(0, ())), max(0, room + len(self._waits) - self._first))
        # A thread that was notified or started counts as idle until it runs; until then its job
        # counts as waiting too.
        self._changed.notify()
        if min(inner + outer, room - self._active) > len(self._idle):
            thread = threading.Thread(target=self._work, name='tremolo-worker', daemon=True)
            thread.start()
            self._idle.add(thread)

    def _more(self) -> None:
        """Use the place of a thread that waits for a client."""
        with self._changed, suppress(RuntimeError):    # The system has no more threads.
            self._use_room()

    @property
    def full(self) -> bool:
        """Whether one more handler is too many. (No lock: the loop alone asks, and adds.)"""
        return self._waits.full(self._queued)

    @property
    def busy(self) -> bool:
        """Whether jobs are done, or wait. (Room fair asks.)"""
        return bool(self._busy or self._jobs)

    @property
    def _active(self) -> int:
        """How many threads do a job, and do not wait for a Future."""
        return len(self._busy) - self._waiting

    def _next(self) -> int | None:
        """Return the depth of the job that may begin now: of the deepest one. None: no job may."""
        room = self._reactor.threads
        deepest = max(self._jobs, default=None)
        if deepest is None or self._active >= room or (
                not deepest and self._first >= room + len(self._waits)):
            return None
        return deepest

    def _drop(self, future: Job, depth: int) -> None:
        if future in self._jobs.get(depth, ()):
            self._queued -= future.answers
            del self._jobs[depth][future]
            if not self._jobs[depth]:
                del self._jobs[depth]

    def _withdraw(self, future: Job, depth: int) -> None:
        with self._changed:
            self._drop(future, depth)

    def _work(self) -> None:
        set_current_reactor(self._reactor)
        wait_by(self._wait)
        this = threading.current_thread()
        while True:
            with self._changed:
                self._idle.add(this)
                if len(self._idle) > self._reactor.threads and self._next() is None:
                    self._idle.discard(this)
                    return    # One of those that came because others waited.
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                self._idle.discard(this)
                depth = self._next()
                if self._closed or depth is None:
                    return
                future = next(iter(self._jobs[depth]))
                call = self._jobs[depth][future]
                self._drop(future, depth)
                self._busy.add(future)
                self._begun.add(future)
                self._first += not depth
                future.begun = True
            _run(future, call, self._begun.discard)
            with self._changed:
                self._busy.discard(future)
                self._first -= not depth
                self._ended += 1
            del future, call    # An idle thread keeps nothing of its last job alive.

    def _wait(self, event: threading.Event) -> None:
        """Wait in one of our threads, and let another one work meanwhile."""
        with self._changed:
            self._waiting += 1
            with suppress(RuntimeError):    # The system has no more threads.
                self._use_room()
            self._look_soon()
        try:
            if for_request.get() and _depth.get() == 1:
                self._waits.wait(event)
            else:
                event.wait()
        finally:
            with self._changed:
                self._waiting -= 1
                self._ended += 1

    def _look_soon(self) -> None:
        """Look in a while, if all threads wait and there are jobs."""
        if not self._active and self._jobs and not self._looking and not self._closed:
            self._looking = True
            self._reactor.call_soon_threadsafe(
                self._reactor.call_later, LONG, self._look, self._ended)

    def _look(self, ended: int) -> None:
        """Tell that all threads wait, and no job can begin; for the loop's thread."""
        now = self._reactor.time()
        with self._changed:
            self._looking = False
            stuck = not self._active and self._next() is None and self._ended == ended
            count = sum(map(len, self._jobs.values()))
            if not stuck or not count or now - self._told < QUIET:
                return
            self._told = now
            threads = len(self._busy)
            places = Counter(job.where() for job in self._busy).most_common(3)
        _log.warning(
            'all %d threads wait, and %d jobs wait for a thread: raise the option `threads`, or '
            'wait in a generator or an `async def`, where no thread is needed. They wait at %s',
            threads, count, ', '.join(place for place, _ in places))

    def left(self, early: bool = False) -> list[Work]:
        """Return the jobs that are done now or wait for a thread.

        Those of the application's start are left out, unless `early` is said.
        """
        with self._changed:
            waiting = [Work(job, f'the job {job.name} in a thread', job.where, job.cancel)
                       for jobs in self._jobs.values() for job in jobs if early or not job.early]
            return waiting + [Work(job, f'the job {job.name} in a thread', job.where, None)
                              for job in self._busy | self._begun if early or not job.early]

    def close(self) -> None:
        """Cancel the waiting jobs, end the idle threads; a busy thread ends after its job."""
        with self._changed:
            self._closed = True
            for future in [job for jobs in self._jobs.values() for job in jobs]:
                future.cancel()
            idle = list(self._idle)
            self._changed.notify_all()
        for thread in idle:
            thread.join()


def _run(future: Job, job: Callable[[], Any], told: Callable[[Job], None]) -> None:
    """Do the job on this thread, and bring the outcome to the loop; call `told` there before."""
    future.thread = threading.get_ident()
    try:
        try:
            bring = partial(future.set_result, job())
        except StopIteration as exc:
            # Raised in a generator, it would end that generator as if by `return`.
            raise RuntimeError('a job raised StopIteration') from exc
    except BaseException as exc:
        exc = readable(exc)
        bring = partial(future.set_exception, exc)
        # The first frame of the traceback is this one, and it refers to the error: a cycle.
        # (To set the attribute fails in a frozen dataclass, and would end the thread.)
        exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next)
        end_if_forked(exc)
    end_if_forked()
    future.thread = 0
    future.reactor.call_soon_threadsafe(_bring, future, bring, told)
    del bring, future    # The frames of an error's traceback lead back here.


def _bring(future: Job, bring: Callable[[], None], told: Callable[[Job], None]) -> None:
    future.begun = False
    told(future)
    if future.done():    # It may have been cancelled meanwhile.
        future.left()
    else:
        bring()


def run_in_thread(func: Callable[..., Any], *args: Any) -> Future:
    """Call `func(*args)` on a worker thread; return a Future of its value.

    The job runs in a copy of the caller's context. A `StopIteration` arrives as a `RuntimeError`.
    When the Future is cancelled, a job that has not begun never runs; the result of a job that
    runs is dropped.
    """
    reactor = current_reactor()
    future = Job(reactor, func)
    pool_of(reactor).submit(future, func, args)
    return future


def pool_of(reactor: Reactor) -> ThreadPool:
    """Return the pool of a reactor, made for its first job."""
    if reactor.pool is None:
        # Two threads that call this first, together, may make two pools: both work, and the
        # reactor closes both.
        reactor.pool = ThreadPool(reactor)
    return reactor.pool


def call_on_loop(reactor: Reactor, function: Callable[..., T], *args: Any) -> T:
    """Call `function(*args)` on the reactor's thread; on another thread wait for its value."""
    if reactor.in_loop_thread():
        return function(*args)
    value: T = Task(_in_task(function, *args), reactor=reactor, later=True).result()
    return value


def _in_task(function: Callable[..., Any], *args: Any) -> Generator[None, None, Any]:
    return function(*args)
    yield    # So it is a generator.

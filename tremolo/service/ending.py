"""Ending: in which order a server ends, and how long each part may take.

    Server.drain    nothing more is accepted; the answers are          until `shutdown_timeout`
                    finished, or cut                                   is over
    Ending          what the answers left running is finished:         until `shutdown_timeout`
                    tasks, jobs in threads, applications that          is over
                    go on after their answer
                    what is left is named in the log and cancelled;    1 s
                    a `finally` runs
    shutdown        the application's shutdown, then the stop hooks    what remains, at least 4 s

All of it takes `shutdown_timeout` and 5 s at most. What the application began before the first
connection is not waited for and not cancelled: it is the application's to end, in its shutdown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..loop import Reactor
from ..loop.timers import NEVER
from ..loop.work import Work, of_startup
from ..server import Response, Server
from ..typed import Any
from .busy import busy_threads

_log = logging.getLogger('tremolo')

CLEANUP = 1.0     # Seconds for the `finally` of what is cancelled.
SHUTDOWN = 4.0    # Seconds for the application's shutdown and the stop hooks, at least.
_LOOK = 0.02      # Seconds between two looks at what is left.
_LONG = 1.0       # Seconds after which a request takes long.
_LEAST = 0.1      # Seconds for the end of the tasks that are left at the very end, at least.


@contextmanager
def starting(reactor: Reactor) -> Iterator[None]:
    """Count what begins in this block as work of the application's start."""
    token = of_startup.set(True)
    try:
        yield
    finally:
        of_startup.reset(token)
    if reactor.bridge is not None:
        reactor.bridge.begun()


class Ending:
    """The end of one server, from `Server.drain` on.

    It looks at the work of the whole reactor. For a server in a program of somebody else,
    whose reactor has other work, `others` returns the work to look at instead.
    """

    def __init__(self, server: Server, before: set[threading.Thread] | None = None,
                 others: Callable[[], Iterable[Work]] | None = None) -> None:
        """Begin when the server drains.

        `before` are the threads that there were before the application was started: with them all
        others of the process are looked at, too.
        """
        self._server = server
        self._reactor = server.reactor
        self._others = others
        self._before = before
        # The threads that there are before the first connection.
        self._early = set(threading.enumerate()) if before is not None else set()
        self.deadline = NEVER    # When `shutdown_timeout` is over; NEVER before the server drains.
        # What the server itself has cut: it is named already.
        self._cut: set[Any] = set()
        # What has had its time already, when the server began to drain (`finish_first`).
        self._spent: set[Any] = set()
        # What nothing waits for any longer.
        self._given_up: set[Any] = set()
        # What is called when all has ended.
        self._then: Callable[[], object] = lambda: None
        others_too = server.at_drain

        def begin() -> None:
            others_too()
            self._begin()

        server.at_drain = begin

    def then(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the answers are finished, and what they left running has ended."""
        self._then = callback
        self._server.stopped.add_done_callback(lambda _: self._look())

    def left(self) -> list[Work]:
        """Return what goes on beside the server and was not begun by the application's start."""
        jobs = self._server.jobs
        found = [Work(job, each.what, job.where, job.cancel) for job, each in jobs.items()]
        if self._others is not None:
            return found + list(self._others())
        # (A job is also known as a task; a coroutine's is one of asyncio.)
        known = {getattr(job, 'task', None) or job for job in jobs}
        found += [work for work in work_of(self._reactor) if work.source not in known]
        return found + self._threads(self._early)

    def _threads(self, but: set[threading.Thread]) -> list[Work]:
        """Return the busy threads of the process that do no known job, but for some."""
        if self._before is None:
            return []
        return busy_threads(but, jobs_of(self._reactor))

    def waits_for(self) -> str:
        """Tell in words what a stop would wait for now; '' for nothing."""
        connections = self._server.connections
        requests = sum(each.response is not None for each in connections)
        # (What runs a request is counted with the request.)
        running = sum(each.task is not None for each in connections)
        numbers = ((requests, 'request'), (len(connections), 'connection'),
                   (max(0, len(self.left()) - running), 'background job'))
        return ', '.join(f'{number} {what}{"s" * (number != 1)}'
                         for number, what in numbers if number)

    @property
    def for_shutdown(self) -> float:
        """The seconds that remain for the application's shutdown and the stop hooks."""
        return max(SHUTDOWN, self.rest)

    @property
    def rest(self) -> float:
        """The seconds until all of it has to be over; 0 for a server that never drained."""
        if self.deadline == NEVER:
            return 0.0
        return max(0.0, self.deadline + CLEANUP + SHUTDOWN - self._reactor.time())

    # -- the parts, in their order ----------------------------------------------------------------

    def finish_first(self, callback: Callable[[], object]) -> bool:
        """Call `callback` when what is left running now has ended; return whether it has to wait.

        The server goes on meanwhile. After `shutdown_timeout` it does not wait any longer; what
        is left then has had its time, and is cancelled as soon as the answers are finished.
        Requests that are in hand now, and those that take long, are waited for during half of that
        time: when the server has begun to drain, a client that connects waits for them.
        """
        began = self._reactor.time()
        until = self._reactor.time() + self._server.settings.shutdown_timeout
        jobs = self._server.jobs
        # (A job of the start may go on until `stopping`, which comes when the server drains. So
        # nothing is gained by waiting for it; and no job has had its time before that.)
        early = {job for job, each in jobs.items() if each.early}
        first = {work.source for work in self.left()} - early

        def look() -> None:
            if self._server.draining:
                return
            running = sum(each.task is not None for each in self._server.connections)
            left = first.intersection(work.source for work in self.left())
            ready = len(left) <= running and not self._long_requests(began)
            if ready or self._reactor.time() >= until:
                self._spent = left - set(jobs)
                callback()
            else:
                self._reactor.call_later(_LOOK, look)

        look()
        return not self._server.draining

    def _long_requests(self, began: float) -> bool:
        """Tell whether requests are in hand for which a renewal that began then is put off."""
        now = self._reactor.time()
        patience = self._server.settings.shutdown_timeout / 2
        # (Event streams and WebSockets end when they are told: when the server drains.)
        return now - began < patience and any(
            each.response is not None and each.since <= max(began, now - _LONG)
            and not _is_event_stream(each.response) for each in self._server.connections)

    def _begin(self) -> None:
        """Let the clock run: the server drains."""
        self.deadline = self._reactor.time() + self._server.settings.shutdown_timeout
        # (Before the server's own timer, which cuts them.)
        timer = self._reactor.call_at(self.deadline, self._note_requests)
        self._server.stopped.add_done_callback(lambda _: timer.cancel())

    def _note_requests(self) -> None:
        """Remember what runs the requests that the server is about to cut, and to name."""
        for connection in self._server.connections:
            if (task := connection.task) is not None:
                self._cut |= {task, getattr(getattr(task, 'on_cancel', None), '__self__', None)}

    def _look(self, again: bool = False) -> None:
        """Look whether anything is left, twice; at the deadline cancel it."""
        left = self.left()
        if not left and again:
            self._then()
        elif not left:
            # (What hears of the end of the last one has its turn before, and may begin more.)
            self._reactor.call_soon(self._look, True)
        elif self._reactor.time() < self.deadline \
                and any(work.source not in self._spent for work in left):
            self._reactor.call_later(_LOOK, self._look)
        else:
            self._cancel(left)

    def _cancel(self, left: list[Work]) -> None:
        for work in left:
            # (A request that a thread answers is named, but not what the thread does.)
            if work.source not in self._cut or work.cancel is None:
                _log.warning('shutdown_timeout is over: %s %s: %s', work.what,
                             'is left alone' if work.cancel is None else 'is cancelled',
                             work.where())
            if work.cancel is not None:
                work.cancel()
        self._wait_for_cleanup(self._reactor.time() + CLEANUP)

    def _wait_for_cleanup(self, until: float) -> None:
        """Wait a moment for what was cancelled."""
        left = self.left()
        cancelled = [work for work in left if work.cancel is not None]
        if cancelled and self._reactor.time() < until:
            self._reactor.call_later(_LOOK, self._wait_for_cleanup, until)
            return
        self._given_up = {work.source for work in left}
        for work in cancelled:
            _log.warning('%s was cancelled, and did not end within %g s: %s', work.what, CLEANUP,
                         work.where())
        self._then()

    def close(self, at_once: bool = False) -> None:
        """Prepare for the end of the reactor: give what is still there what remains of the time.

        Threads that the application's start has begun may end in this time, too. One that does
        not is named, and left alone.
        """
        reactor = self._reactor
        if not at_once and self._threads_of_start():
            reactor.call_later(_LOOK, self._look_at_threads)
            reactor.run()
        if reactor.bridge is not None:
            reactor.bridge.patience = _LEAST if at_once else max(_LEAST, self.rest)
            reactor.bridge.left_alone = self._given_up
        for work in (*self._threads(self._before or set()),
                     *_in_threads(reactor)):
            # (One that has ended just now has an outcome that nobody takes any more.)
            if work.cancel is None and (where := work.where()) != 'ended':
                _log.warning('%s is still busy, and nothing waits for it: %s', work.what, where)

    def _look_at_threads(self) -> None:
        """Stop the reactor when no thread of the application's start is busy any more."""
        if self._threads_of_start() and self.rest:
            self._reactor.call_later(_LOOK, self._look_at_threads)
        else:
            self._reactor.stop()

    def _threads_of_start(self) -> set[Any]:
        return {work.source for work in self._threads(self._before or set())} - self._given_up


def work_of(reactor: Reactor) -> list[Work]:
    """Return the tasks and jobs of a reactor that the application's start did not begin."""
    found = [Work(task, 'a task', task.where, task.cancel)
             for task in list(reactor.tasks) if not task.context.get(of_startup, False)]
    found += _in_threads(reactor)
    if reactor.bridge is not None:
        found += reactor.bridge.left()
    return found


def _is_event_stream(response: Response) -> bool:
    """Tell whether an answer is server-sent events: it says so, or it was asked for them.

    (What an application for ASGI or WSGI says is bytes by now. Each `EventSource` asks for them.)
    """
    asked_for = response.request.headers.get('accept') or ''
    return 'text/event-stream' in (response.content_type + asked_for).lower()


def _in_threads(reactor: Reactor) -> list[Work]:
    """Return what goes on in the threads of its pools, or waits for one."""
    pools = [*reactor.pools, *filter(None, (reactor.pool,))]
    return [work for pool in pools for work in pool.left()]


def jobs_of(reactor: Reactor) -> set[int]:
    """Return the numbers of the threads that do a known job of the reactor."""
    if reactor.bridge is None:
        return set()
    return {getattr(each.source, 'thread', 0) for each in reactor.bridge.left(early=True)}

"""Bridge: the asyncio loop of a reactor, in the same thread and with the same poll.

A reactor gets its bridge from the first call that needs asyncio; until then asyncio is not even
imported. From then on `Reactor.run` drives both (event_loop.py tells how):

    loop = bridge_to(reactor).loop      # the asyncio loop
    reply = yield future_of(awaitable)  # a Future of ours for anything that asyncio can await
    await sleep(1)                      # a coroutine of asyncio waits for a Future of ours
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Set
from functools import partial

from ..errors import readable
from ..frames import place_of
from ..loop import Reactor
from ..loop.task import CLEANUP_TIMEOUT
from ..loop.work import Work, name_of
from ..output import guard_asyncio, guarded
from ..typed import Any, Callable, cast
from .eager import Starter
from .event_loop import ReactorEventLoop
from .exits import end_if_lost, is_outcome
from .work import LoopWork

_log = logging.getLogger('tremolo.loop')
_LOOK = 0.02    # Seconds between two looks at the jobs of threads.


class Bridge:
    """The asyncio loop of a reactor. It fulfils `PartnerLoop`."""

    def __init__(self, reactor: Reactor, loop: asyncio.AbstractEventLoop | None = None,
                 own: bool = True) -> None:
        # A loop on the reactor's poll, unless the reactor is a guest of `loop` (guest.py).
        self.loop: Any = loop or ReactorEventLoop(reactor)
        self._reactor = reactor
        self.patience = CLEANUP_TIMEOUT    # Seconds that `close` waits, at most.
        self.left_alone: Set[Any] = set()    # Tasks and jobs that it does not wait for.
        self.kept: set[Any] = set()    # The spawned tasks: asyncio keeps none of them alive.
        if own:    # asyncio tells the errors of callbacks to its logger, which may raise.
            guard_asyncio()
            vars(self.loop)['call_exception_handler'] = guarded(
                partial(_tell, self.loop.call_exception_handler))
        # None for a loop of somebody else: its tasks are not ours.
        self._work = LoopWork(self.loop) if own else None
        self.is_own = own
        self.start = Starter(self.loop).start

    def run(self) -> None:
        """Drive the loop and the reactor until `stop`; may return before, at the end of a task."""
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            if not is_outcome(error):
                self._reactor.failed(error, 'a callback of asyncio failed')
            # What the loop had still to do in this turn is done in the next one.
            self.loop.call_soon(_nothing)

    def step(self, timeout: float | None = None) -> None:
        """Do one turn of both, for a host that drives us; wait at most `timeout` seconds."""
        loop = self.loop
        if 'call_at' not in vars(loop):
            _be_hosted(loop)
            timeout = 0.0    # The reactor does not know what the loop had to do before.
        loop.selector.longest, loop.selector.after = timeout, loop.stop
        try:
            self.run()
        finally:
            loop.selector.longest = loop.selector.after = None

    def stop(self) -> None:
        """End `run` after this turn."""
        self.loop.stop()

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end while the loop does not run, and return its value.

        After Ctrl-C `close` cancels it. How it takes that is no news, and is not logged.
        """
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            task.add_done_callback(lambda _: task.cancelled() or task.exception())
            raise

    def begun(self) -> None:
        """Count all tasks that there are now as work of the application's start."""
        if self._work is not None:
            self._work.begun()

    def left(self, early: bool = False) -> Iterable[Work]:
        """Return the tasks and jobs that have not ended.

        Those of the application's start are left out, unless `early` is said. What a loop of
        somebody else does is not told.
        """
        return self._work.left(early) if self._work is not None else ()

    def forget(self) -> None:
        """Let nothing run that asyncio has in hand: in a process that a handler has forked.

        (It has no public name for that. uvloop shows it to nobody.)
        """
        if self.is_own:
            for handle in list(vars(self.loop).get('_ready', ())):
                handle.cancel()

    def close(self) -> None:
        """Cancel the remaining tasks; wait for them, asynchronous generators and threads.

        All this takes `patience` at most. A thread that is still busy then is named, and left
        alone.
        """
        loop = self.loop
        if loop.is_closed():
            return
        try:
            until = loop.time() + self.patience
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                waited = tasks - self.left_alone
                self._outlast(asyncio.wait(
                    waited or tasks, timeout=self.patience if waited else 0))
            # (A generator's `finally` may wait for ever, too.)
            generators = loop.create_task(loop.shutdown_asyncgens())
            self._outlast(asyncio.wait({generators}, timeout=until - loop.time()))
            self._outlast(self._end_threads(until))
        finally:
            # (It tells the threads of the executor to end, and does not wait for them.)
            loop.close()

    def _outlast(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine to its end, also when tasks end with SystemExit meanwhile."""
        waiting = self.loop.create_task(coroutine)
        while not waiting.done():
            try:
                self.loop.run_until_complete(waiting)
            except (SystemExit, KeyboardInterrupt) as error:
                if not is_outcome(error):
                    self._reactor.failed(error, 'a callback of asyncio failed')

    async def _end_threads(self, until: float) -> None:
        """End the threads of the loop's executor, unless one is busy until then."""
        def busy(but: Set[Any] = frozenset()) -> list[Work]:
            return [work for work in self.left(early=True)
                    if not isinstance(work.source, asyncio.Task) and work.source not in but]

        while busy(self.left_alone) and self.loop.time() < until:
            await asyncio.sleep(_LOOK)
        for job in busy():
            _log.warning('%s is still busy, and nothing waits for it: %s', job.what, job.where())
        if not busy():
            await self.loop.shutdown_default_executor()


async def within(seconds: float, coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine; after so many seconds name it in the log, and cancel it."""
    task = asyncio.ensure_future(coroutine)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if done:
        task.result()
        return
    _log.error('%s took longer than %.3g seconds, and is cancelled: %s', name_of(coroutine),
               seconds, place_of(coroutine))
    task.cancel()
    await asyncio.wait({task}, timeout=_LOOK)


def _be_hosted(loop: ReactorEventLoop) -> None:
    """Schedule each callback of asyncio on the reactor too: its host asks only the reactor."""
    call_soon, call_at, reactor = loop.call_soon, loop.call_at, loop.reactor

    def noted_soon(callback: Any, *args: Any, context: Any = None) -> Any:
        reactor.call_soon(_nothing)
        return call_soon(callback, *args, context=context)

    def noted_at(when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        reactor.call_at(when, _nothing)
        return call_at(when, callback, *args, context=context)

    vars(loop).update(call_soon=noted_soon, call_at=noted_at)


def _tell(tell: Callable[[dict[str, Any]], object], context: dict[str, Any]) -> None:
    """Let asyncio tell of an error, as one that can be looked at."""
    error = context.get('exception')
    end_if_lost(error)
    tell(context if error is None else {**context, 'exception': readable(error)})


def _nothing() -> None:
    """Do nothing: its only purpose is that a turn happens in time."""


def bridge_to(reactor: Reactor) -> Bridge:
    """Return the bridge of a reactor; the first call makes it."""
    if reactor.bridge is None:
        reactor.bridge = Bridge(reactor)
    return cast(Bridge, reactor.bridge)

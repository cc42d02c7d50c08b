"""Bridge: asyncio on the reactor, in the same thread and with the same poll.

asyncio asks a selector which fds are ready. Here the reactor is that selector: `select` does one
turn of it, in which the reactor calls whom it has to call, and gives asyncio what is ready of
asyncio's own. So whatever is written for asyncio works unchanged, by the public parts of asyncio
alone. It begins with the first thing that needs it, and until then nobody has imported asyncio:

    loop = bridge_to(reactor).loop      # its loop; `Reactor.run` drives both then
    reply = yield future_of(awaitable)  # our Future of anything that asyncio can await
    await sleep(1)                      # and theirs of ours

A task that starts here starts at once, as ours do: a coroutine that never waits has ended when
`future_of` returns. The tasks that the application makes keep asyncio's order.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import signal
import sys
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Callable, Optional, cast

from .future import Future, await_by, current_reactor, set_current_reactor
from .reactor import Reactor
from .task import CLEANUP_TIMEOUT


class ReactorSelector(selectors.SelectSelector):
    """The selector that asyncio is given: it keeps its keys as any does, and the reactor polls."""

    def __init__(self, reactor: Reactor) -> None:
        super().__init__()
        self._reactor = reactor
        self._ready: dict[int, int] = {}    # What this turn found ready, by fd.
        self.longest: float | None = None    # The longest wait that a host allows.
        self.after: Callable[[], Any] | None = None    # What is called after each turn.

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file. Raises `KeyError` if it is watched, `ValueError` if it is closed."""
        key = super().register(fileobj, events, data)
        try:
            self._watch(key.fd, 0, events)
        except OSError:
            super().unregister(fileobj)
            raise
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch it for other events, or keep other data. Raises `KeyError`."""
        before = super().unregister(fileobj).events
        key = super().register(fileobj, events, data)
        self._watch(key.fd, before, events)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch it no longer. Raises `KeyError`."""
        key = super().unregister(fileobj)
        self._ready.pop(key.fd, None)
        self._reactor.remove_fd(key.fd)
        return key

    def _watch(self, fd: int, before: int, events: int) -> None:
        reactor = self._reactor
        for bit, add, remove in (
            (selectors.EVENT_READ, reactor.add_reader, reactor.remove_reader),
            (selectors.EVENT_WRITE, reactor.add_writer, reactor.remove_writer),
        ):
            if events & bit & ~before:
                add(fd, partial(self._note, fd, bit))
            elif before & bit & ~events:
                remove(fd)

    def _note(self, fd: int, bit: int) -> None:
        self._ready[fd] = self._ready.get(fd, 0) | bit

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Do one turn of the reactor; return what is ready of asyncio's own files."""
        if self.longest is not None and (timeout is None or timeout > self.longest):
            timeout = self.longest
        reactor = self._reactor
        reactor.end_turn()
        reactor.step(timeout)
        # What asyncio's callbacks do next is of this turn: they wake nobody, and write together.
        reactor.turning = True
        if self.after is not None:
            self.after()
        if not self._ready:
            return []
        ready, self._ready = self._ready, {}
        # A callback of this turn may have lost interest.
        keys = ((self.get_map().get(fd), bits) for fd, bits in ready.items())
        return [(key, bits & key.events) for key, bits in keys if key and bits & key.events]


class ReactorEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose poll, clock and signals are a reactor's."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self._handled: set[int] = set()
        self.selector = ReactorSelector(reactor)
        super().__init__(self.selector)

    def run_forever(self) -> None:
        """Run until `stop`; asyncio's callbacks have the current reactor too."""
        before = set_current_reactor(self.reactor)
        try:
            super().run_forever()
        finally:
            self.reactor.end_turn()
            set_current_reactor(before)

    def time(self) -> float:
        """Return the reactor's time."""
        return self.reactor.time()

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., Any], *args: Any
    ) -> None:
        """Call it on each signal, by the reactor's own way: asyncio never takes the wake-up fd.

        Raises `ValueError` for what is no signal, `RuntimeError` for one that cannot be caught and
        off the main thread.
        """
        if asyncio.iscoroutine(callback) or asyncio.iscoroutinefunction(callback):
            raise TypeError('a coroutine cannot be the handler of a signal')
        if not isinstance(sig, int):
            raise TypeError(f'{sig!r} is no signal')
        if self.is_closed():
            raise RuntimeError('the event loop is closed')
        context = contextvars.copy_context()
        number = signal.Signals(sig)
        try:
            self.reactor.add_signal(
                number, lambda: self.call_soon(callback, *args, context=context))
        except (ValueError, OSError) as error:
            raise RuntimeError(f'signal {number} cannot be caught: {error}') from error
        self._handled.add(number)

    def remove_signal_handler(self, sig: int) -> bool:
        """Put back what was there before; False if nothing was added."""
        if not isinstance(sig, int):
            raise TypeError(f'{sig!r} is no signal')
        if signal.Signals(sig) not in self._handled:
            return False
        self._handled.discard(sig)
        self.reactor.remove_signal(sig)
        return True

    def close(self) -> None:
        """Close it; the reactor can go on without it."""
        for sig in list(self._handled):
            self.remove_signal_handler(sig)
        super().close()

    def be_hosted(self) -> None:
        """Let the reactor know of all that asyncio has to do: its host asks only the reactor."""
        call_soon, call_at, reactor = super().call_soon, super().call_at, self.reactor

        def noted_soon(callback: Any, *args: Any, context: Any = None) -> Any:
            reactor.call_soon(_nothing)
            return call_soon(callback, *args, context=context)

        def noted_at(when: float, callback: Any, *args: Any, context: Any = None) -> Any:
            reactor.call_at(when, _nothing)
            return call_at(when, callback, *args, context=context)

        self.__dict__.update(call_soon=noted_soon, call_at=noted_at)


def _nothing() -> None:
    """Do nothing, but do it in time."""


class Starter:
    """Makes tasks of asyncio that have begun when `start` returns, in any loop.

    From Python 3.12 on asyncio can do that. Before, the first step that a new task asks the loop
    for is caught, and done here.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._own = vars(loop)
        self._step: Any = None
        self._before: Any = None
        self._catch = self._caught    # (Kept: making a bound method for each task costs.)

    def start(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context,
              name: str | None = None) -> Any:
        """Start a task in `context`; to make it a name would cost 0.2 us. Hot: once per request."""
        if _EAGER:
            return _Task(coroutine, loop=self._loop, name=name, context=context, eager_start=True)
        own = self._own
        before = self._before = own.get('call_soon')
        own['call_soon'] = self._catch
        try:
            if _CONTEXT:
                task = _Task(coroutine, loop=self._loop, name=name, context=context)
            else:
                # It takes a copy of the context that it is made in.
                task = context.run(_Task, coroutine, loop=self._loop, name=name)
        finally:
            if before is None:
                del own['call_soon']
            else:
                own['call_soon'] = before
        step, context = self._step
        self._step = None
        try:
            context.run(step)
        except RuntimeError:
            # Inside the step of another task none can begin; whatever the task itself raises stays
            # in it.
            self._loop.call_soon(step, context=context)
        return task

    def _caught(self, step: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        if args or context is None:
            # No step of a task: a finalizer's, if garbage is collected while one is made.
            call_soon = self._before or partial(type(self._loop).call_soon, self._loop)
            return call_soon(step, *args, context=context)
        self._step = step, context
        return None


# What a task can do by itself, by the version of Python.
_EAGER = sys.version_info >= (3, 12)
_CONTEXT = sys.version_info >= (3, 11)
_Task: Any = asyncio.Task


class Bridge:
    """What a reactor has of asyncio, once anybody needs it."""

    def __init__(self, reactor: Reactor, loop: asyncio.AbstractEventLoop | None = None) -> None:
        # A reactor's own, unless it is a guest in another (guest.py).
        self.loop: Any = loop or ReactorEventLoop(reactor)
        self.start = Starter(self.loop).start

    def run(self) -> None:
        """Drive both until `stop`."""
        self.loop.run_forever()

    def step(self, timeout: float | None = None) -> None:
        """Do one turn of both, waiting at most `timeout` seconds, for a host that drives us."""
        loop = self.loop
        if 'call_at' not in vars(loop):
            loop.be_hosted()
            timeout = 0.0    # What there was before nobody has noted.
        loop.selector.longest, loop.selector.after = timeout, loop.stop
        try:
            self.run()
        finally:
            loop.selector.longest = loop.selector.after = None

    def stop(self) -> None:
        """End `run` after this turn."""
        self.loop.stop()

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end while nobody drives the loop; give its value."""
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Cancel the tasks that are left and wait for them, asynchronous generators and threads."""
        loop = self.loop
        if loop.is_closed():
            return
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_TIMEOUT))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


def bridge_to(reactor: Reactor) -> Bridge:
    """Return the bridge of a reactor; the first call makes it."""
    if reactor.bridge is None:
        reactor.bridge = Bridge(reactor)
    return cast(Bridge, reactor.bridge)


def future_of(awaitable: Any, context: contextvars.Context | None = None) -> Future:
    """Run a coroutine, or whatever can be awaited, as a task of asyncio; give our Future of it.

    It runs in `context`, or else in a copy of the caller's. Cancelling the Future cancels the task.
    """
    reactor = current_reactor()
    bridge = bridge_to(reactor)
    loop = bridge.loop
    future = Future(reactor)
    context = context if context is not None else contextvars.copy_context()
    coroutine = awaitable if asyncio.iscoroutine(awaitable) else awaiting(awaitable)
    if loop.is_running():
        task = bridge.start(coroutine, context)
    else:
        task = context.run(loop.create_task, coroutine)
    if task.done():
        _settle(future, task)
    else:
        future.on_cancel = task.cancel
        task.add_done_callback(partial(_settle, future))
    return future


async def awaiting(awaitable: Any) -> Any:
    """Make a coroutine of what can be awaited."""
    return await awaitable


def _settle(future: Future, task: asyncio.Task[Any]) -> None:
    """Bring a task's outcome to our Future."""
    if task.cancelled():
        future.cancel()
    elif (error := task.exception()) is not None:
        if not future.done():
            future.set_exception(error)
    elif not future.done():
        future.set_result(task.result())


def _wait(future: Future) -> Generator[Any, Any, None]:
    """Wait for our Future in a coroutine, whoever runs that: our Task or asyncio's."""
    if future.done() and not future.cancelled():
        return
    bridge = cast(Optional[Bridge], future.reactor.bridge)
    # (With the loop given, asyncio need not look for it: that is a system call before 3.12.)
    if bridge is None or asyncio.current_task(bridge.loop) is None:
        if not future.done():
            yield future
        return
    if not future.done():
        waiter = bridge.loop.create_future()

        def wake(_: Any) -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(wake)
        try:
            yield from waiter
        except asyncio.CancelledError:
            future.withdraw(wake)
            raise
    if future.cancelled():
        raise asyncio.CancelledError


await_by(_wait)    # From now on a Future may be awaited by asyncio too.

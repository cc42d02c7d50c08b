"""Wakeup: a task of asyncio goes on inside the callback that wakes it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import platform
from collections.abc import Callable
from typing import Any

import pytest

from tremolo.bridge import Bridge
from tremolo.bridge.wakeup import Wakeup
from tremolo.loop import Reactor

name: contextvars.ContextVar[str] = contextvars.ContextVar('name', default='')


def run(work: Callable[[Reactor, Wakeup, list[Any]], Any]) -> list[Any]:
    """Run a coroutine on a reactor's loop; it gets a wake-up and a list of what happened."""
    seen: list[Any] = []
    with Reactor() as reactor:
        reactor.bridge = bridge = Bridge(reactor)
        wakeup = Wakeup(bridge.loop, lambda value: seen.append(('back', value)))
        bridge.complete(asyncio.wait_for(work(reactor, wakeup, seen), 20))
    return seen


async def turn(reactor: Reactor, callback: Callable[[], Any]) -> None:
    """Call something from the reactor, outside of all tasks, and wait until it was called."""
    called = asyncio.get_running_loop().create_future()

    def call() -> None:
        callback()
        called.set_result(None)

    reactor.call_soon(call)
    await called


def test_a_task_goes_on_before_wake_returns() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            name.set('waiter')
            for number in range(3):
                value = await wakeup
                seen.insert(2 * number, (value, name.get(), asyncio.current_task() is task))

        def wake() -> None:
            wakeup.wake(len(seen))
            seen.append('woken')

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        for _ in range(3):
            await turn(reactor, wake)
        assert task.done()
        wakeup.wake()

    assert run(work) == [(0, 'waiter', True), 'woken', (2, 'waiter', True), 'woken',
                         (4, 'waiter', True), 'woken']


def test_inside_the_step_of_another_task_it_goes_on_soon() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            seen.append(await wakeup)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        wakeup.wake('went on')
        seen.append('woken')
        await task

    assert run(work) == ['woken', 'went on']


@pytest.mark.parametrize('woken', ['not', 'before', 'after'])
def test_a_waiting_task_can_be_cancelled_and_the_value_goes_back(woken: str) -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            try:
                await wakeup
            except asyncio.CancelledError:
                seen.append('cancelled')
                raise
            seen.append('went on')
            await asyncio.sleep(20)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        if woken == 'before':
            wakeup.wake('value')
        task.cancel()
        task.cancel()
        if woken == 'after':
            wakeup.wake('value')
        with pytest.raises(asyncio.CancelledError):
            await task

    seen = run(work)
    back = [] if woken == 'not' else [('back', 'value')]
    assert sorted(map(str, seen)) == sorted(map(str, [*back, 'cancelled']))


def test_a_wait_has_a_timeout_and_the_next_one_is_woken() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> Any:
            return await wakeup

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.001)
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        await turn(reactor, lambda: wakeup.wake('went on'))
        seen.append(await task)

    assert run(work) == ['went on']


@pytest.mark.parametrize('error', [ValueError, SystemExit])
def test_an_error_stays_in_the_task(error: type[BaseException]) -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            await wakeup
            raise error('on purpose')

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        await turn(reactor, wakeup.wake)
        assert task.done()
        seen.append(repr(task.exception()))

    assert run(work) == [f"{error.__name__}('on purpose')"]


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='no reference counts')
def test_nothing_stays_behind() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            await wakeup

        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                task = asyncio.ensure_future(wait())
                await asyncio.sleep(0)
                await turn(reactor, wakeup.wake)
                del task
            seen.append(gc.collect())
        finally:
            gc.enable()

    assert run(work) == [0]

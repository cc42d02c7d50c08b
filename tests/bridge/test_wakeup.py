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
        bridge.complete(asyncio.wait_for(work(reactor, Wakeup(bridge.loop), seen), 20))
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
                await wakeup
                seen.append((number, name.get(), asyncio.current_task() is task))

        def wake() -> None:
            wakeup.wake()
            seen.append('woken')

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        for _ in range(3):
            assert wakeup.waited_for
            await turn(reactor, wake)
        assert task.done()
        assert not wakeup.waited_for
        wakeup.wake()

    assert run(work) == [(0, 'waiter', True), 'woken', (1, 'waiter', True), 'woken',
                         (2, 'waiter', True), 'woken']


def test_inside_the_step_of_another_task_it_goes_on_soon() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            await wakeup
            seen.append('went on')

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        wakeup.wake()
        seen.append('woken')
        await task

    assert run(work) == ['woken', 'went on']


def test_woken_soon_it_goes_on_from_the_ready_queue() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            await wakeup
            seen.append('went on')

        def wake() -> None:
            wakeup.wake_soon()
            wakeup.wake()
            seen.append('woken')

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        await turn(reactor, wake)
        await task

    assert run(work) == ['woken', 'went on']


@pytest.mark.parametrize('woken', ['not', 'before', 'after'])
def test_a_waiting_task_can_be_cancelled(woken: str) -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> None:
            try:
                await wakeup
            except asyncio.CancelledError as error:
                seen.append(error.args)
                raise
            seen.append('went on')
            await asyncio.sleep(20)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        if woken == 'before':
            wakeup.wake_soon()
        task.cancel('enough')
        task.cancel('enough')
        if woken == 'after':
            wakeup.wake()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not wakeup.waited_for

    seen = run(work)
    assert seen in ([('enough',)], [()])    # (Some versions of asyncio drop the message here.)


def test_a_wait_has_a_timeout_and_the_next_one_is_woken() -> None:
    async def work(reactor: Reactor, wakeup: Wakeup, seen: list[Any]) -> None:
        async def wait() -> str:
            await wakeup
            return 'went on'

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.001)
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        await turn(reactor, wakeup.wake)
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

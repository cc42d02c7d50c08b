"""SystemExit and KeyboardInterrupt on the bridge: a task keeps them, a callback ends the loop."""

from __future__ import annotations

import asyncio
import gc
import select
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tremolo.bridge import bridge_to, future_of
from tremolo.loop import Future, Reactor, sleep


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with Reactor() as reactor:
        yield reactor


async def leave(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)
    raise SystemExit(3)


@pytest.mark.parametrize('seconds', [0.0, 0.001])
def test_what_waits_for_a_task_gets_its_exit(reactor: Reactor, seconds: float) -> None:
    ended: list[Future] = []
    reactor.call_soon(lambda: future_of(leave(seconds)).add_done_callback(ended.append))
    bridge_to(reactor)
    reactor.call_later(20, reactor.stop)
    reactor.call_soon(lambda: future_of(asyncio.sleep(0.05)).add_done_callback(
        lambda _: reactor.stop()))
    reactor.run()
    with pytest.raises(SystemExit):
        ended[0].result()


def test_other_callbacks_of_the_turn_are_called_after_an_exit(reactor: Reactor) -> None:
    loop = bridge_to(reactor).loop
    called: list[int] = []
    tasks = [loop.create_task(leave(0)) for _ in range(3)]
    for number in range(3):
        loop.call_soon(called.append, number)
    loop.call_soon(reactor.stop)
    reactor.call_later(20, reactor.stop)
    reactor.run()
    assert called == [0, 1, 2]
    assert [type(task.exception()) for task in tasks] == [SystemExit] * 3


def test_a_stop_of_the_same_turn_is_not_forgotten(reactor: Reactor) -> None:
    loop = bridge_to(reactor).loop
    loop.call_soon(reactor.stop)
    task = loop.create_task(leave(0))
    begun = reactor.time()
    reactor.call_later(20, reactor.stop)
    reactor.run()
    assert reactor.time() - begun < 10
    with pytest.raises(SystemExit):
        task.result()


def test_a_host_is_told_that_something_is_left_after_an_exit(reactor: Reactor) -> None:
    bridge = bridge_to(reactor)
    bridge.step(0)
    called: list[int] = []
    tasks = [bridge.loop.create_task(leave(0)) for _ in range(3)]
    bridge.loop.call_soon(called.append, 1)
    while not called:
        ready, _, _ = select.select([reactor.fileno()], [], [], 10)
        assert ready or reactor.next_deadline() is not None
        bridge.step(0)
    assert [type(task.exception()) for task in tasks] == [SystemExit] * 3


def test_an_exit_while_the_reactor_closes_is_no_end_of_the_closing() -> None:
    async def wait(number: int) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(number)
            raise SystemExit(3)

    ended: list[int] = []
    reactor = Reactor()
    loop = bridge_to(reactor).loop
    tasks = [loop.create_task(wait(number)) for number in range(3)]
    loop.call_soon(reactor.stop)
    reactor.run()
    reactor.close()
    assert sorted(ended) == [0, 1, 2]
    assert [type(task.exception()) for task in tasks] == [SystemExit] * 3
    assert loop.is_closed()


@pytest.mark.parametrize('schedule', ['call_soon', 'call_later', 'reactor'])
def test_the_exit_of_a_callback_ends_the_loop(reactor: Reactor, schedule: str) -> None:
    # Such is the way of asyncio; and what a signal handler raises arrives there too.
    def leave() -> None:
        raise SystemExit(3)

    loop = bridge_to(reactor).loop
    if schedule == 'call_soon':
        loop.call_soon(leave)
    elif schedule == 'call_later':
        loop.call_later(0.001, leave)
    else:
        reactor.call_soon(leave)
    reactor.call_later(20, reactor.stop)
    with pytest.raises(SystemExit):
        reactor.run()


def test_an_exit_leaves_no_cycle(reactor: Reactor) -> None:
    class Marked:
        pass

    async def job(marked: Any) -> None:
        await sleep(0.001)
        raise SystemExit(3)

    loop = bridge_to(reactor).loop
    marked = Marked()
    seen = weakref.ref(marked)
    task = loop.create_task(job(marked))
    del marked
    reactor.call_later(20, reactor.stop)
    task.add_done_callback(lambda _: reactor.stop())
    gc.collect()
    gc.disable()
    try:
        reactor.run()
        assert isinstance(task.exception(), SystemExit)
        del task
        loop.call_soon(reactor.stop)
        reactor.run()
        # (PyPy frees nothing at once. From Python 3.12 on the last frame of a coroutine refers to
        # the frames that resumed it, as long as its error is kept.)
        if sys.version_info >= (3, 12) or sys.implementation.name != 'cpython':
            gc.collect()
        assert seen() is None
    finally:
        gc.enable()

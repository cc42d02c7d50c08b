"""Futures: one value, later."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
from loop_support import run

from tremolo.loop import Cancelled, Future, InvalidState, Reactor, current_reactor, sleep, spawn


def test_a_value_is_given_once(reactor: Reactor) -> None:
    future = Future(reactor)
    assert not future.done()
    with pytest.raises(InvalidState):
        future.result()
    with pytest.raises(InvalidState):
        future.exception()
    future.set_result(5)
    assert future.done()
    assert not future.cancelled()
    assert future.result() == 5
    assert future.exception() is None
    with pytest.raises(InvalidState):
        future.set_result(6)
    with pytest.raises(InvalidState):
        future.set_exception(ValueError())


def test_an_error_is_raised(reactor: Reactor) -> None:
    future = Future(reactor)
    future.set_exception(ValueError('x'))
    with pytest.raises(ValueError, match='x'):
        future.result()
    assert isinstance(future.exception(), ValueError)


def test_cancelling_ends_it_once_and_stops_the_work_behind_it(reactor: Reactor) -> None:
    future, stopped = Future(reactor), []
    future.on_cancel = lambda: stopped.append(1)
    assert future.cancel()
    assert not future.cancel()
    assert future.cancelled()
    assert stopped == [1]
    with pytest.raises(Cancelled):
        future.result()


def test_callbacks_run_from_the_ready_queue_and_never_inside_set_result(
        virtual: Reactor) -> None:
    future, called = Future(virtual), []
    future.add_done_callback(called.append)
    future.set_result(1)
    assert called == []
    virtual.step(0)
    assert called == [future]
    future.add_done_callback(called.append)
    assert called == [future]
    virtual.step(0)
    assert called == [future, future]


def test_a_callback_can_be_taken_back(virtual: Reactor) -> None:
    future, called, told = Future(virtual), [], []
    future.add_done_callback(called.append)
    future.add_done_callback(told.append)
    future.withdraw(called.append)
    future.withdraw(print)
    assert not future.done()
    future.set_result()
    virtual.step(0)
    assert (called, told) == ([], [future])


def test_who_takes_back_the_last_callback_cancels_it(virtual: Reactor) -> None:
    future, called = Future(virtual), []
    future.add_done_callback(called.append)
    future.withdraw(called.append)
    virtual.step(0)
    assert future.cancelled()
    assert called == []


def test_it_is_yielded_and_awaited_alike(virtual: Reactor) -> None:
    def generator() -> Any:
        return (yield sleep(1, 'a'))

    def delegating() -> Any:
        return (yield from sleep(1, 'b'))

    async def coroutine() -> Any:
        done = Future()
        done.set_result('d')
        return await sleep(1, 'c'), await done

    assert run(virtual, generator()) == 'a'
    assert run(virtual, delegating()) == 'b'
    assert run(virtual, coroutine()) == ('c', 'd')


def test_without_a_reactor_there_is_no_future() -> None:
    with pytest.raises(RuntimeError, match='no reactor runs'):
        Future()
    with pytest.raises(RuntimeError, match='no reactor runs'):
        current_reactor()


def test_the_current_reactor_is_that_of_the_turn_also_nested() -> None:
    with Reactor() as outer, Reactor() as inner:
        seen = []

        def host() -> None:
            seen.append(current_reactor())
            inner.call_soon(lambda: seen.append(current_reactor()))
            inner.step(0)
            seen.append(current_reactor())

        outer.call_soon(host)
        outer.step(0)
        assert seen == [outer, inner, outer]
        with pytest.raises(RuntimeError):
            current_reactor()


def test_an_error_nobody_looks_at_is_logged(reactor: Reactor, logged: Any) -> None:
    future = Future(reactor)
    future.set_exception(ValueError('lost'))
    del future
    gc.collect()
    assert logged.count('an error was never looked at') == 1
    assert 'ValueError: lost' in logged.text


def test_an_error_that_was_looked_at_or_a_cancellation_is_not_logged(reactor: Reactor) -> None:
    future = Future(reactor)
    future.set_exception(ValueError('seen'))
    future.exception()
    Future(reactor).cancel()
    del future
    gc.collect()


def test_a_failed_background_task_is_logged(virtual: Reactor, logged: Any) -> None:
    def failing() -> Any:
        yield sleep(1)
        raise ValueError('in the background')

    def main() -> Any:
        spawn(failing())
        yield sleep(2)
        gc.collect()

    run(virtual, main())
    assert 'in the background' in logged.text


def test_in_debug_mode_a_future_dropped_without_waiting_warns_with_its_place(
        logged: Any) -> None:
    with Reactor(debug=True) as reactor:
        Future(reactor)
        line = sys._getframe().f_lineno - 1
        gc.collect()
        assert logged.count(f'{__file__}:{line}: a Future was dropped') == 1


def test_a_future_alone_knows_no_place(virtual: Reactor) -> None:
    assert Future(virtual).where() == 'unknown'


def test_in_debug_mode_a_forgotten_yield_of_sleep_warns_with_its_place(
        world: Any, logged: Any) -> None:
    def forgetful() -> Any:
        sleep(1)
        yield sleep(2)

    with world.reactor(debug=True) as reactor:
        run(reactor, forgetful())
    gc.collect()
    line = forgetful.__code__.co_firstlineno + 1
    assert logged.count(f'{__file__}:{line}: a Future was dropped') == 1
    assert len(logged.records) == 1


def test_without_debug_mode_nobody_is_warned(virtual: Reactor, logged: Any) -> None:
    def forgetful() -> Any:
        sleep(1)
        yield sleep(2)

    run(virtual, forgetful())
    gc.collect()
    assert logged.records == []


def test_a_future_of_a_failed_constructor_is_freed_in_peace() -> None:
    with pytest.raises(RuntimeError):
        Future()
    gc.collect()

"""SharedFuture: all who wait go on together, and none of them ends it for the others."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from typing import Any

import pytest
from loop_support import run

from tremolo.bridge import bridge_to
from tremolo.loop import (
    Cancelled,
    InvalidState,
    Reactor,
    gather,
    run_in_thread,
    sleep,
    spawn,
    timeout,
)
from tremolo.loop.shared_future import SharedFuture


def waits(shared: Any, said: list[Any], name: str) -> Any:
    try:
        said.append((name, (yield shared)))
    except Cancelled:
        said.append((name, 'cancelled'))
        raise


def test_all_who_wait_go_on_in_their_order(virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        shared = SharedFuture(virtual)
        tasks = [spawn(waits(shared, said, name)) for name in 'abc']
        yield sleep(1)
        assert said == [] and not shared.done()
        shared.set_result('now')
        yield gather(*tasks)
        assert (yield shared) == shared.result() == 'now'
        assert (yield timeout(0, shared)) == 'now'
        assert (yield gather(shared, shared)) == ['now', 'now']

    run(virtual, main())
    assert said == [(name, 'now') for name in 'abc']


def test_a_cancelled_task_does_not_cancel_it(virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        shared = SharedFuture(virtual)
        first, last = (spawn(waits(shared, said, name)) for name in 'ab')
        for each in (first, last):
            each.cancel()
            yield sleep(1)
            assert not shared.done()
        task = spawn(waits(shared, said, 'c'))
        shared.set_result(1)
        yield task

    run(virtual, main())
    assert said == [('a', 'cancelled'), ('b', 'cancelled'), ('c', 1)]


def test_cancel_has_no_effect(virtual: Reactor) -> None:
    shared = SharedFuture(virtual)
    assert not shared.cancel() and not shared.done()
    shared.set_result()
    assert not shared.cancel() and not shared.cancelled()


def test_a_timeout_gives_up_alone_and_may_be_repeated(virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        shared = SharedFuture(virtual)
        other = spawn(waits(shared, said, 'other'))
        # Also as the last one that waits, and with the same object.
        for _ in range(3):
            with pytest.raises(TimeoutError):
                yield timeout(15, shared)
            assert not shared.done()
        other.cancel()
        with pytest.raises(TimeoutError):
            yield timeout(15, shared)
        virtual.call_later(1, shared.set_result, 'x')
        assert (yield timeout(15, shared)) == 'x'
        assert virtual.now == 61

    run(virtual, main())
    assert said == [('other', 'cancelled')]


def test_a_gather_that_fails_or_is_cancelled_leaves_it(virtual: Reactor) -> None:
    def fails() -> Any:
        yield sleep(1)
        raise ValueError

    def main() -> Any:
        shared = SharedFuture(virtual)
        with pytest.raises(ValueError):
            yield gather(shared, fails(), shared)
        joint = gather(shared, sleep(100))
        yield sleep(1)
        joint.cancel()
        with pytest.raises(Cancelled):
            yield joint
        assert not shared.done()
        joint = gather(shared, sleep(1, 'slept'))
        shared.set_result('x')
        assert (yield joint) == ['x', 'slept']

    run(virtual, main())


def test_an_error_reaches_all(virtual: Reactor) -> None:
    def main() -> Any:
        shared = SharedFuture(virtual)
        tasks = [timeout(5, shared), gather(shared)]
        shared.set_exception(KeyError('x'))
        for each in (*tasks, shared):
            with pytest.raises(KeyError):
                yield each

    run(virtual, main())


def test_who_gave_up_leaves_nothing_behind(virtual: Reactor) -> None:
    """A stream that waits with a timeout, again and again, and clients that come and go."""
    def stream(shared: Any) -> Any:
        while True:
            with contextlib.suppress(TimeoutError):
                yield timeout(15, shared)

    def main() -> Any:
        shared = SharedFuture(virtual)
        tasks = [spawn(stream(shared)) for _ in range(10)]
        callbacks = shared._waiting                                 # type: ignore[attr-defined]
        yield sleep(10_000)
        assert len(callbacks) == 10
        for each in tasks:
            each.cancel()
        yield sleep(1)
        assert not callbacks and not virtual.tasks - {main_task[0]}
        work = waits(shared, [], 'x')
        task, gone = spawn(work), weakref.ref(work)
        del work
        assert len(callbacks) == 1
        task.cancel()
        yield sleep(1)
        del task
        gc.collect()
        assert not callbacks and gone() is None

    main_task: list[Any] = []

    def begin() -> None:
        main_task.append(spawn(main()))
        main_task[0].add_done_callback(lambda _: virtual.stop())

    virtual.call_soon(begin)
    virtual.run()
    main_task[0].result()


def test_thousands_leave_in_no_time(virtual: Reactor) -> None:
    """In a list each of them would have to be looked for among all the others."""
    class Counted:
        compared = 0

        def __call__(self, _: Any) -> None: ...

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return self is other

        __hash__ = object.__hash__

    shared = SharedFuture(virtual)
    callbacks = [Counted() for _ in range(3000)]
    for each in callbacks:
        shared.add_done_callback(each)
    for each in callbacks:
        shared.withdraw(each)
    assert Counted.compared < 3000 and not shared.done()


def test_coroutines_of_asyncio_wait_for_it(reactor: Reactor) -> None:
    import asyncio
    shared = SharedFuture(reactor)

    async def waiter() -> Any:
        return await shared

    async def main() -> Any:
        tasks = [asyncio.ensure_future(waiter()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waiter(), 0.001)
        with pytest.raises(TimeoutError):
            await timeout(0.001, shared)
        assert not shared.done()
        reactor.call_soon(shared.set_result, 'x')
        assert await asyncio.gather(*tasks[1:], waiter()) == ['x'] * 3
        assert await shared == 'x'

    bridge_to(reactor).complete(main())


def test_threads_wait_for_it(reactor: Reactor) -> None:
    shared = SharedFuture(reactor)
    waiting = threading.Semaphore(0)

    def job() -> Any:
        with pytest.raises(TimeoutError):
            timeout(0.001, shared).result()
        assert not shared.done() and not shared.cancel()
        waiting.release()
        return shared.result()

    def main() -> Any:
        jobs = [run_in_thread(job) for _ in range(3)]
        yield run_in_thread(lambda: [waiting.acquire() for _ in range(3)])
        shared.set_result('x')
        assert (yield gather(*jobs)) == ['x'] * 3
        assert (yield run_in_thread(shared.result)) == 'x'

    run(reactor, main())


def test_on_the_loop_a_result_that_is_not_there_is_a_mistake(virtual: Reactor) -> None:
    def main() -> Any:
        with pytest.raises(InvalidState):
            SharedFuture(virtual).result()
        yield

    run(virtual, main())


def test_in_debug_mode_nobody_has_to_wait_for_it(world: Any, logged: Any) -> None:
    with world.reactor(debug=True) as reactor:
        shared = SharedFuture(reactor)
        assert not shared.done()
        del shared
        gc.collect()
    assert logged.messages == []

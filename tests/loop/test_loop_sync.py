"""sleep, gather, timeout, Event, Lock, Semaphore, Queue: in time, in order, nothing lost."""

from __future__ import annotations

import gc
import queue
from typing import Any

import pytest
from loop_support import run

from tremolo.loop import (
    Cancelled,
    Event,
    Future,
    InvalidState,
    Lock,
    Queue,
    Reactor,
    Semaphore,
    current_reactor,
    gather,
    sleep,
    spawn,
    timeout,
)


def now() -> float:
    return current_reactor().time()


def after(seconds: float, value: Any = None) -> Any:
    yield sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


def ends_late(seconds: float, said: list[Any]) -> Any:
    try:
        yield sleep(1000)
    finally:
        yield sleep(seconds)
        said.append(now())


# -- sleep ----------------------------------------------------------------------------------------


def test_sleep_gives_its_result_in_time(virtual: Reactor) -> None:
    def main() -> Any:
        assert (yield sleep(2.5, 'x')) == 'x'
        assert now() == 2.5
        assert (yield sleep(0)) is None
        assert (yield sleep(-5, 'past')) == 'past'
        assert now() == 2.5

    run(virtual, main())


def test_a_cancelled_sleep_cancels_its_timer(virtual: Reactor) -> None:
    def main() -> Any:
        future = sleep(100)
        assert virtual.timers.next_deadline() == 100
        future.cancel()
        with pytest.raises(Cancelled):
            yield future

    run(virtual, main())
    virtual.timers.pop_due(1000)
    assert len(virtual.timers) == 0


# -- gather ---------------------------------------------------------------------------------------


def test_gather_runs_futures_generators_and_coroutines_side_by_side(virtual: Reactor) -> None:
    async def question() -> str:
        await sleep(3)
        return 'c'

    def main() -> Any:
        assert (yield gather(sleep(1, 'a'), after(2, 'b'), question())) == ['a', 'b', 'c']
        assert now() == 3
        assert (yield gather()) == []
        done = Future()
        done.set_result(1)
        assert (yield gather(done, done)) == [1, 1]

    run(virtual, main())


def test_gather_can_be_awaited(virtual: Reactor) -> None:
    async def main() -> Any:
        return await gather(after(1, 'a'), timeout(5, after(2, 'b')))

    assert run(virtual, main()) == ['a', 'b']


def test_the_first_error_cancels_the_others_and_is_raised_when_they_have_ended(
        virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        with pytest.raises(ValueError, match='first'):
            yield gather(after(1, ValueError('first')), ends_late(5, said),
                         after(1, ValueError('second')))
        assert now() == 6

    run(virtual, main())
    assert said == [6]


def test_an_error_at_once_cancels_what_began_beside_it(virtual: Reactor) -> None:
    def fails() -> Any:
        raise ValueError('at once')
        yield

    def main() -> Any:
        with pytest.raises(ValueError, match='at once'):
            yield gather(fails(), sleep(10))
        assert now() == 0

    run(virtual, main())


def test_cancelling_gather_cancels_all_and_waits_for_their_end(virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        future = gather(ends_late(2, said), ends_late(3, said), sleep(10))
        yield sleep(1)
        assert future.cancel()
        assert not future.done()
        with pytest.raises(Cancelled):
            yield future
        assert now() == 4
        assert not future.cancel()

    run(virtual, main())
    assert said == [3, 4]


def test_a_cancelled_task_takes_the_parts_of_its_gather_along(virtual: Reactor) -> None:
    said: list[Any] = []

    def work() -> Any:
        yield gather(ends_late(1, said), ends_late(1, said))

    def main() -> Any:
        task = spawn(work())
        yield sleep(1)
        task.cancel()
        yield sleep(5)

    run(virtual, main())
    assert said == [2, 2]


@pytest.mark.parametrize('wrong', [5, None, [1]])
def test_gather_and_timeout_refuse_what_cannot_be_waited_for(virtual: Reactor, wrong: Any) -> None:
    def main() -> Any:
        with pytest.raises(TypeError, match='is no Future, generator or coroutine'):
            gather(sleep(1), wrong)
        with pytest.raises(TypeError):
            timeout(1, wrong)
        yield

    run(virtual, main())


# -- timeout --------------------------------------------------------------------------------------


def test_what_is_in_time_has_its_value_or_its_error(virtual: Reactor) -> None:
    def main() -> Any:
        assert (yield timeout(5, after(1, 'x'))) == 'x'
        with pytest.raises(ValueError, match='mine'):
            yield timeout(5, after(1, ValueError('mine')))
        assert now() == 2
        yield sleep(100)

    run(virtual, main())


def test_what_is_late_is_cancelled_and_waited_for(virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        with pytest.raises(TimeoutError, match='not done in 2 seconds'):
            yield timeout(2, ends_late(3, said))
        assert now() == 5

    run(virtual, main())
    assert said == [5]


def test_work_that_ends_well_although_it_was_told_to_stop_gives_its_value(
        virtual: Reactor) -> None:
    def work() -> Any:
        try:
            yield sleep(10)
        except Cancelled:
            return 'what I have'

    def main() -> Any:
        return (yield timeout(2, work()))

    assert run(virtual, main()) == 'what I have'


def test_cancelling_a_timeout_cancels_the_work(virtual: Reactor) -> None:
    said: list[Any] = []

    def main() -> Any:
        future = timeout(100, ends_late(1, said))
        future.cancel()
        with pytest.raises(Cancelled):
            yield future
        assert now() == 1

    run(virtual, main())
    assert said == [1]
    assert virtual.timers.pop_due(1000) is None


def test_the_error_of_timeouts_of_the_work_itself_is_its_own(virtual: Reactor) -> None:
    def main() -> Any:
        with pytest.raises(TimeoutError, match='in 1 seconds'):
            yield timeout(5, timeout(1, sleep(10)))

    run(virtual, main())


# -- Event ----------------------------------------------------------------------------------------


def test_an_event_lets_all_go_on(virtual: Reactor) -> None:
    event, order = Event(), []

    def waiter(name: str) -> Any:
        yield event.wait()
        order.append(name)

    def main() -> Any:
        tasks = [spawn(waiter(name)) for name in 'abc']
        yield sleep(1)
        assert order == []
        assert not event.is_set()
        event.set()
        assert event.is_set()
        yield gather(*tasks)
        yield event.wait()
        event.clear()
        with pytest.raises(TimeoutError):
            yield timeout(1, event.wait())
        event.set()

    run(virtual, main())
    assert order == ['a', 'b', 'c']


def test_an_event_can_be_set_where_no_reactor_runs(virtual: Reactor) -> None:
    event = Event()
    event.set()

    def main() -> Any:
        yield event.wait()

    run(virtual, main())


# -- Lock and Semaphore ---------------------------------------------------------------------------


def test_a_lock_lets_one_in_at_a_time_in_order(virtual: Reactor) -> None:
    lock, inside, order = Lock(), [], []

    def work(name: str) -> Any:
        with (yield lock.acquire()):
            inside.append(name)
            assert inside == [name]
            yield sleep(1)
            inside.remove(name)
            order.append((name, now()))

    async def awaits() -> None:
        with await lock.acquire():
            assert inside == []
            order.append(('await', now()))

    def main() -> Any:
        yield gather(work('a'), work('b'), awaits(), work('c'))
        assert not lock.locked()

    run(virtual, main())
    assert order == [('a', 1), ('b', 2), ('await', 2), ('c', 3)]


def test_an_error_inside_releases_the_lock(virtual: Reactor) -> None:
    lock = Lock()

    def main() -> Any:
        def fails() -> Any:
            with (yield lock.acquire()):
                raise ValueError('x')

        with pytest.raises(ValueError, match='x'):
            yield from fails()
        assert not lock.locked()
        with pytest.raises(InvalidState, match='not held'):
            lock.release()

    run(virtual, main())


def test_a_lock_given_to_a_task_that_is_cancelled_before_it_went_on_goes_to_the_next(
        virtual: Reactor) -> None:
    lock, got = Lock(), []

    def work(name: str) -> Any:
        with (yield lock.acquire()):
            got.append(name)

    def main() -> Any:
        yield lock.acquire()
        one, two = spawn(work('one')), spawn(work('two'))
        # Handed to `one`, which has not gone on yet.
        lock.release()
        one.cancel()
        yield two
        assert one.cancelled()
        assert not lock.locked()

    run(virtual, main())
    assert got == ['two']


@pytest.mark.parametrize('wrapped', [timeout, lambda seconds, future: gather(future)])
def test_a_lock_is_not_lost_inside_a_timeout_or_gather_either(
        virtual: Reactor, wrapped: Any) -> None:
    """Whatever the turn in which the waiter is cancelled."""
    for turns in range(6):
        lock = Lock()

        def work(lock: Lock) -> Any:
            yield wrapped(100, lock.acquire())
            lock.release()

        def main(lock: Lock = lock, turns: int = turns) -> Any:
            yield lock.acquire()
            task = spawn(work(lock))
            lock.release()
            for _ in range(turns):
                yield
            task.cancel()
            yield sleep(1)
            assert not lock.locked(), turns
            assert task.done()

        run(virtual, main())


def test_a_lock_that_comes_in_the_moment_of_the_timeout_is_had_or_free(virtual: Reactor) -> None:
    lock, seen = Lock(), []

    def work() -> Any:
        try:
            with (yield timeout(2, lock.acquire())):
                seen.append('had')
        except TimeoutError:
            seen.append('late')

    def main() -> Any:
        yield lock.acquire()
        virtual.call_later(2, lock.release)
        task = spawn(work())
        yield task
        assert not lock.locked()
        with (yield lock.acquire()):
            seen.append('free')

    run(virtual, main())
    assert seen in (['had', 'free'], ['late', 'free'])


def test_a_waiter_that_is_cancelled_leaves_the_line(virtual: Reactor) -> None:
    lock, got = Lock(), []

    def work(name: str) -> Any:
        with (yield lock.acquire()):
            got.append(name)

    def main() -> Any:
        place = yield lock.acquire()
        tasks = [spawn(work(name)) for name in 'abcd']
        tasks[1].cancel()
        yield
        with place:
            pass
        yield gather(tasks[0], tasks[2], tasks[3])

    run(virtual, main())
    assert got == ['a', 'c', 'd']


def test_nobody_snatches_a_lock_that_was_handed_on(virtual: Reactor) -> None:
    lock, order = Lock(), []

    def work(name: str) -> Any:
        with (yield lock.acquire()):
            order.append(name)

    def main() -> Any:
        place = yield lock.acquire()
        first = spawn(work('first'))
        place.__exit__(None, None, None)
        late = spawn(work('late'))
        yield gather(first, late)

    run(virtual, main())
    assert order == ['first', 'late']


def test_a_place_that_nobody_took_cannot_be_released(virtual: Reactor) -> None:
    semaphore = Semaphore(2)

    def main() -> Any:
        yield semaphore.acquire()
        semaphore.release()
        with pytest.raises(InvalidState, match='not held'):
            semaphore.release()

    run(virtual, main())


def test_what_somebody_received_is_not_given_back_by_a_gather_that_fails(
        virtual: Reactor) -> None:
    items = Queue()

    def main() -> Any:
        for n in range(3):
            items.put_nowait(n)
        taken, given = items.get(), items.get()
        assert (yield taken) == 0
        with pytest.raises(ValueError, match='x'):
            yield gather(taken, given, given, after(1, ValueError('x')))
        assert (yield items.get()) == 1
        assert (yield items.get()) == 2
        assert items.qsize() == 0

    run(virtual, main())


def test_what_came_out_of_a_timeout_can_be_cancelled_in_a_finally(virtual: Reactor) -> None:
    items = Queue()

    def main() -> Any:
        items.put_nowait('x')
        getter = items.get()
        assert (yield timeout(1, getter)) == 'x'
        getter.cancel()
        assert items.qsize() == 0

    run(virtual, main())


def test_a_semaphore_lets_so_many_in(virtual: Reactor) -> None:
    semaphore, inside, most = Semaphore(3), [], []

    def work() -> Any:
        with (yield semaphore.acquire()):
            inside.append(1)
            most.append(len(inside))
            yield sleep(1)
            inside.pop()

    def main() -> Any:
        yield gather(*[work() for _ in range(10)])
        assert now() == 4

    run(virtual, main())
    assert max(most) == 3
    assert not semaphore.locked()


def test_in_debug_mode_a_lock_taken_without_waiting_warns(world: Any, logged: Any) -> None:
    def main() -> Any:
        Lock().acquire()
        yield

    with world.reactor(debug=True) as reactor:
        run(reactor, main())
    gc.collect()
    assert logged.count('is a `yield` missing?') == 1


# -- Queue ----------------------------------------------------------------------------------------


def test_items_come_in_order_and_a_full_queue_makes_producers_wait(virtual: Reactor) -> None:
    items, got = Queue(2), []

    def produce() -> Any:
        for n in range(10):
            yield items.put(n)
            assert items.qsize() <= 2

    def consume() -> Any:
        for _ in range(10):
            got.append((yield items.get()))
            yield sleep(1)

    def main() -> Any:
        yield gather(produce(), consume())

    run(virtual, main())
    assert got == list(range(10))


def test_getters_and_putters_are_served_in_order(virtual: Reactor) -> None:
    items, got = Queue(1), []

    def get(name: str) -> Any:
        got.append((name, (yield items.get())))

    def main() -> Any:
        tasks = [spawn(get(name)) for name in 'abc']
        for n in range(3):
            yield items.put(n)
        yield gather(*tasks)
        puts = [items.put(n) for n in range(4)]
        assert [future.done() for future in puts] == [True, False, False, False]
        assert items.full()
        for n in range(4):
            assert (yield items.get()) == n
        yield gather(*puts)

    run(virtual, main())
    assert got == [('a', 0), ('b', 1), ('c', 2)]


def test_no_item_is_lost_when_getters_are_cancelled(virtual: Reactor) -> None:
    items, got = Queue(), []

    def get() -> Any:
        got.append((yield items.get()))

    def main() -> Any:
        tasks = [spawn(get()) for _ in range(3)]
        for n in range(5):
            items.put_nowait(n)
        # 0, 1 and 2 are handed out, but nobody has gone on yet.
        tasks[0].cancel()
        tasks[1].cancel()
        yield
        yield
        assert got == [2]
        assert items.qsize() == 4
        # What came back is served first.
        assert {(yield items.get()), (yield items.get())} == {0, 1}
        assert (yield items.get()) == 3
        assert (yield items.get()) == 4

    run(virtual, main())


def test_an_item_that_comes_back_goes_to_the_next_in_line(virtual: Reactor) -> None:
    items, got = Queue(), []

    def get(name: str) -> Any:
        got.append((name, (yield items.get())))

    def main() -> Any:
        one, two = spawn(get('one')), spawn(get('two'))
        items.put_nowait('x')
        one.cancel()
        yield two
        getter = items.get()
        getter.cancel()
        items.put_nowait('y')
        assert items.get_nowait() == 'y'

    run(virtual, main())
    assert got == [('two', 'x')]


def test_a_get_that_was_received_can_be_cancelled_in_a_finally(virtual: Reactor) -> None:
    items = Queue()

    def main() -> Any:
        items.put_nowait('x')
        getter = items.get()
        assert (yield getter) == 'x'
        getter.cancel()
        assert items.qsize() == 0

    run(virtual, main())


def test_a_cancelled_put_never_happened(virtual: Reactor) -> None:
    items = Queue(1)

    def main() -> Any:
        yield items.put('a')
        putter = items.put('b')
        putter.cancel()
        assert (yield items.get()) == 'a'
        assert items.qsize() == 0

    run(virtual, main())


def test_without_waiting_a_full_or_empty_queue_says_so(virtual: Reactor) -> None:
    items = Queue(1)
    with pytest.raises(queue.Empty):
        items.get_nowait()
    items.put_nowait(1)
    with pytest.raises(queue.Full):
        items.put_nowait(2)
    assert items.get_nowait() == 1


def test_producers_and_consumers_cancelled_at_random_lose_nothing(world: Any) -> None:
    rng, reactor = world.random, world.reactor()
    items, put, got = Queue(3), [], []

    def produce(n: int) -> Any:
        yield sleep(rng.random())
        yield items.put(n)
        put.append(n)

    def consume() -> Any:
        yield sleep(rng.random())
        got.append((yield timeout(rng.random(), items.get())))

    def main() -> Any:
        tasks = [spawn(work) for n in range(500) for work in (produce(n), consume())]
        for task in tasks:
            if rng.random() < 0.3:
                reactor.call_later(rng.random(), task.cancel)
        yield sleep(10)
        for task in tasks:
            task.cancel()
        yield sleep(1)
        while items.qsize():
            got.append((yield items.get()))
        for task in tasks:
            assert task.done()
            task.exception()

    run(reactor, main())
    # What a cancelled `put` left behind is there at most once; nothing else is gone or double.
    assert len(set(got)) == len(got)
    assert set(put) <= set(got)
    reactor.close()

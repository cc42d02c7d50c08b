"""Tasks: what a yield means, time slices, cancelling, contexts, tracebacks, no cycles."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import platform
import sys
import time
import traceback
from typing import Any

import pytest
from loop_support import run

from tremolo.loop import Cancelled, Event, Future, Reactor, Task, sleep, spawn
from tremolo.loop.task import CLEANUP_TIMEOUT

variable: contextvars.ContextVar[str] = contextvars.ContextVar('variable', default='none')


def test_a_task_starts_at_once_and_one_that_never_waits_ends_at_once(virtual: Reactor) -> None:
    def work() -> Any:
        return 5
        yield

    def main() -> Any:
        task = spawn(work())
        assert task.done()
        assert task.result() == 5
        yield

    run(virtual, main())


def test_none_lets_others_run(virtual: Reactor) -> None:
    order = []

    def work(name: str) -> Any:
        for n in range(3):
            order.append(f'{name}{n}')
            yield

    def main() -> Any:
        yield from (spawn(work('a')), spawn(work('b')))

    run(virtual, main())
    assert order == ['a0', 'b0', 'a1', 'b1', 'a2', 'b2']


def test_errors_are_thrown_at_the_yield_and_can_be_handled_there(virtual: Reactor) -> None:
    def failing() -> Any:
        yield sleep(1)
        raise ValueError('x')

    def main() -> Any:
        try:
            yield spawn(failing())
        except ValueError as error:
            return str(error)

    assert run(virtual, main()) == 'x'


@pytest.mark.parametrize('kind', ['generator', 'int'])
def test_a_yield_of_the_wrong_thing_is_explained_at_the_yield(virtual: Reactor, kind: str) -> None:
    def helper() -> Any:
        yield sleep(1)

    wrong: dict[str, Any] = {'generator': helper, 'int': lambda: 5}
    explained = {'generator': r'write `yield from helper\(\)`',
                 'int': 'yielded int, which is not a Future'}

    def main() -> Any:
        with pytest.raises(TypeError, match=explained[kind]) as caught:
            yield wrong[kind]()
        assert caught.tb.tb_frame.f_code is main.__code__
        # The task goes on after its mistake.
        return (yield sleep(1, 'fine'))

    assert run(virtual, main()) == 'fine'


def test_two_million_done_futures_do_not_starve_a_timer(reactor: Reactor) -> None:
    done = Future(reactor)
    done.set_result()
    late = []
    count = 0

    def greedy() -> Any:
        nonlocal count
        while count < 2_000_000 and len(late) < 5:
            count += 1
            yield done

    def tick(due: float) -> None:
        late.append(time.monotonic() - due)
        if len(late) < 5:
            reactor.call_later(0.01, tick, time.monotonic() + 0.01)

    def main() -> Any:
        reactor.call_later(0.01, tick, time.monotonic() + 0.01)
        yield spawn(greedy())

    run(reactor, main())
    assert len(late) == 5
    assert min(late) < 0.05


def test_a_yield_of_none_that_never_ends_lets_timers_and_others_run(reactor: Reactor) -> None:
    def endless() -> Any:
        while True:
            yield

    def main() -> Any:
        task = spawn(endless())
        yield sleep(0.005)
        task.cancel()
        with pytest.raises(Cancelled):
            yield task

    run(reactor, main())


def test_cancelling_throws_at_the_yield_and_a_finally_may_still_wait(virtual: Reactor) -> None:
    said = []

    def work() -> Any:
        try:
            yield sleep(100)
        except Exception:
            said.append('an except clause for Exception must not catch it')
        finally:
            yield sleep(3)
            said.append(virtual.time())

    def main() -> Any:
        task = spawn(work())
        yield sleep(1)
        assert task.cancel()
        assert not task.done()
        with pytest.raises(Cancelled):
            yield task
        assert task.cancelled()
        assert not task.cancel()

    run(virtual, main())
    assert said == [4]
    assert len(virtual.timers) < 3


def test_a_task_may_catch_its_cancellation_and_return_a_value(virtual: Reactor) -> None:
    def work() -> Any:
        try:
            yield sleep(100)
        except Cancelled:
            return 'rather not'

    def main() -> Any:
        task = spawn(work())
        task.cancel()
        return (yield task)

    assert run(virtual, main()) == 'rather not'


def test_a_cleanup_that_takes_too_long_is_closed(virtual: Reactor, logged: Any) -> None:
    ended = []

    def work() -> Any:
        try:
            try:
                yield sleep(100)
            finally:
                yield sleep(1000)
        finally:
            ended.append(virtual.time())

    def main() -> Any:
        task = spawn(work())
        task.cancel()
        with pytest.raises(Cancelled):
            yield task

    run(virtual, main())
    assert ended == [CLEANUP_TIMEOUT]
    assert logged.count('a cancelled task did not end in 10 seconds and is closed') == 1
    assert __file__ in logged.text


def test_a_generator_that_ignores_even_its_close_is_reported(virtual: Reactor, logged: Any) -> None:
    def stubborn() -> Any:
        for _ in range(3):
            with contextlib.suppress(BaseException):
                yield sleep(1000)

    def main() -> Any:
        task = spawn(stubborn())
        task.cancel()
        with pytest.raises(Cancelled):
            yield task

    run(virtual, main())
    assert logged.count('closing a task failed') == 1


def test_a_task_cancelled_while_it_runs_meets_it_at_its_next_yield(virtual: Reactor) -> None:
    seen = []

    def work() -> Any:
        me = tasks[0]
        me.cancel()
        seen.append('still running')
        try:
            yield sleep(5)
        except Cancelled:
            seen.append(virtual.time())
            raise

    tasks: list[Any] = []

    def main() -> Any:
        def starter() -> Any:
            yield
            yield from work()

        tasks.append(spawn(starter()))
        with pytest.raises(Cancelled):
            yield tasks[0]

    run(virtual, main())
    assert seen == ['still running', 0]
    tasks.clear()


def test_a_task_cancelled_in_the_ready_queue_is_cancelled_once(virtual: Reactor) -> None:
    seen = []

    def work() -> Any:
        try:
            yield
            seen.append('resumed')
        except Cancelled:
            seen.append('cancelled')

    def main() -> Any:
        task = spawn(work())
        task.cancel()
        task.cancel()
        yield task

    run(virtual, main())
    assert seen == ['cancelled']


def test_a_task_cancelled_after_its_future_ended_but_before_it_went_on(virtual: Reactor) -> None:
    seen = []

    def work(future: Future) -> Any:
        try:
            seen.append((yield future))
        except Cancelled:
            seen.append('cancelled')

    def main() -> Any:
        future = Future()
        task = spawn(work(future))
        future.set_result('value')
        task.cancel()
        yield task
        yield

    run(virtual, main())
    assert seen == ['cancelled']


def test_what_a_cancelled_task_waited_for_is_cancelled_if_nobody_else_waits(
        virtual: Reactor) -> None:
    def waiter(future: Future) -> Any:
        return (yield future)

    def main() -> Any:
        shared, own = Future(), Future()
        one, two, three = spawn(waiter(shared)), spawn(waiter(shared)), spawn(waiter(own))
        one.cancel()
        three.cancel()
        yield sleep(1)
        assert one.cancelled()
        assert three.cancelled()
        assert own.cancelled()
        assert not shared.done()
        shared.set_result(7)
        assert (yield two) == 7

    run(virtual, main())


def test_a_task_that_only_the_cancelled_one_waited_for_ends_too(virtual: Reactor) -> None:
    ended = []

    def inner() -> Any:
        try:
            yield sleep(100)
        finally:
            ended.append('inner')

    def outer() -> Any:
        try:
            yield spawn(inner())
        finally:
            ended.append('outer')

    def main() -> Any:
        task = spawn(outer())
        yield sleep(1)
        task.cancel()
        yield sleep(0)

    run(virtual, main())
    assert sorted(ended) == ['inner', 'outer']


def test_contexts_are_isolated(virtual: Reactor) -> None:
    def work(name: str) -> Any:
        assert variable.get() == 'main'
        variable.set(name)
        yield sleep(1)
        assert variable.get() == name
        yield
        return variable.get()

    def main() -> Any:
        variable.set('main')
        one, two = spawn(work('one')), spawn(work('two'))
        assert (yield one) == 'one'
        assert (yield two) == 'two'
        assert variable.get() == 'main'

    run(virtual, main())
    assert variable.get() == 'none'


def test_an_empty_context_may_be_given(virtual: Reactor) -> None:
    def work() -> Any:
        yield
        return variable.get()

    def main() -> Any:
        variable.set('main')
        return (yield Task(work(), context=contextvars.Context()))

    assert run(virtual, main()) == 'none'


def test_a_traceback_begins_in_the_users_frame(virtual: Reactor) -> None:
    def deep() -> None:
        raise ValueError('x')

    def work() -> Any:
        yield sleep(1)
        deep()

    def main() -> Any:
        task = spawn(work())
        task.add_done_callback(lambda _: None)    # (Who waits for it gets the traceback itself.)
        yield sleep(2)
        return task.exception()

    names = [frame.name for frame in traceback.extract_tb(run(virtual, main()).__traceback__)]
    assert names == ['work', 'deep']


class Owner:
    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.pauses = 0
        self.room: Future | None = None

    def emit(self, value: Any) -> Future | None:
        if value == 'bad':
            raise ValueError('not this')
        self.taken.append(value)
        return self.room

    def pausing(self) -> None:
        self.pauses += 1


def test_an_owner_takes_what_is_yielded_and_may_let_the_task_wait(virtual: Reactor) -> None:
    owner = Owner()

    def work() -> Any:
        yield 'a'
        yield 'b'
        try:
            yield 'bad'
        except ValueError:
            yield 'c'
        owner.room = Future()
        yield 'd'
        return 'end'

    def main() -> Any:
        task = Task(work(), owner=owner)
        assert owner.taken == ['a', 'b', 'c', 'd']
        assert not task.done()
        assert owner.pauses == 1
        assert owner.room is not None
        owner.room.set_result()
        return (yield task)

    assert run(virtual, main()) == 'end'


def test_where_tells_the_line_it_waits_at(virtual: Reactor) -> None:
    def work() -> Any:
        yield sleep(1)

    def main() -> Any:
        task = spawn(work())
        line = work.__code__.co_firstlineno + 1
        assert task.where() == f'{__file__}:{line}'
        yield task
        assert task.where() == 'ended'

    run(virtual, main())


def test_where_tells_the_line_of_the_innermost_generator(virtual: Reactor) -> None:
    def inner() -> Any:
        yield sleep(1)

    def middle() -> Any:
        yield from inner()

    def work() -> Any:
        yield from middle()

    async def coroutine() -> Any:
        await sleep(1)

    async def outer() -> Any:
        await coroutine()

    def main() -> Any:
        tasks = [spawn(work()), spawn(outer())]
        for task, function in zip(tasks, (inner, coroutine)):
            assert task.where() == f'{__file__}:{function.__code__.co_firstlineno + 1}'
        for task in tasks:
            yield task

    run(virtual, main())


def test_while_a_task_runs_where_tells_the_line_of_its_own_generator(virtual: Reactor) -> None:
    def inner() -> Any:
        told.append(tasks[0].where())
        yield

    def work() -> Any:
        yield
        yield from inner()

    def main() -> Any:
        tasks.append(spawn(work()))
        yield tasks[0]

    tasks: list[Any] = []
    told: list[str] = []
    run(virtual, main())
    assert told == [f'{__file__}:{work.__code__.co_firstlineno + 2}']


def test_a_suspended_task_is_held_by_the_reactor_alone(virtual: Reactor) -> None:
    ended = []

    def work() -> Any:
        event = Event()
        virtual.call_later(1, event.set)
        yield event.wait()
        ended.append(1)

    def main() -> Any:
        spawn(work())
        gc.collect()
        yield sleep(2)

    run(virtual, main())
    assert ended == [1]


def test_a_reactor_that_closes_ends_its_tasks(world: Any) -> None:
    ended = []

    def work() -> Any:
        try:
            yield sleep(100)
        finally:
            ended.append(1)

    with world.reactor() as reactor:
        task = Task(work(), reactor=reactor, later=True)
        reactor.step(0)
    assert ended == [1]
    assert task.cancelled()


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='no reference counts')
def test_tasks_that_ended_failed_or_were_cancelled_leave_no_cycles(virtual: Reactor) -> None:
    # The last frame of a generator that failed refers to who resumed it, so to its task; then only
    # the collector frees the two, if the task outlives the handling of its error.
    keeps_frames = sys.version_info >= (3, 12)

    def ends() -> Any:
        yield sleep(1)
        return [1]

    def fails() -> Any:
        yield sleep(1)
        raise ValueError('x')

    def fails_deep() -> Any:
        yield from fails()

    async def awaits() -> Any:
        await sleep(1)

    def nested() -> Any:
        yield spawn(fails())

    def failing() -> Future:
        future = Future()
        future.on_cancel = virtual.call_later(1, future.set_exception, ValueError('x')).cancel
        return future

    def handles() -> Any:
        # Ends in the very resume that brought the error.
        with contextlib.suppress(ValueError):
            yield failing()

    def main() -> Any:
        # The first round fills caches.
        for rounds in (1, 50):
            gc.collect()
            gc.disable()
            for _ in range(rounds):
                for work in (ends, fails, fails_deep, awaits, nested, handles):
                    for cancelled in (False, True):
                        if work in (fails, fails_deep, nested) and not cancelled and keeps_frames:
                            continue
                        task = spawn(work())
                        if cancelled:
                            task.cancel()
                        yield sleep(3)
                        if not cancelled:
                            task.exception()
                        del task
            yield
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                found = gc.collect()
                what = [type(thing) for thing in gc.garbage]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
        assert (found, what) == (0, [])

    run(virtual, main())

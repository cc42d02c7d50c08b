"""Worker threads: results back on the loop, waiting on a thread, cancelling, the end."""

from __future__ import annotations

import contextvars
import gc
import threading
import time
import traceback
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
    Task,
    current_reactor,
    gather,
    run_in_thread,
    sleep,
    spawn,
    timeout,
)

variable: contextvars.ContextVar[str] = contextvars.ContextVar('variable', default='none')


# Seconds after which a thread is not coming any more.
PATIENCE = 10.0


def workers() -> int:
    return sum(thread.name == 'tremolo-worker' for thread in threading.enumerate())


def test_a_job_is_left_until_its_result_is_on_the_loop(reactor: Reactor) -> None:
    """(A stop that did not wait for it lost the error that it brought.)"""
    jobs: list[Future] = []
    reactor.call_soon(lambda: jobs.append(run_in_thread(int)))
    reactor.step(0)
    pool: Any = reactor.pool
    deadline = time.monotonic() + PATIENCE
    while pool.busy:    # (No turn: the loop does something else.)
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert [work.source for work in pool.left()] == jobs
    reactor.step(0)
    assert not pool.left() and jobs[0].result() == 0


def test_the_result_comes_back_on_the_loop(reactor: Reactor) -> None:
    def main() -> Any:
        here = threading.get_ident()
        there = yield run_in_thread(threading.get_ident)
        assert there != here == threading.get_ident()
        return (yield run_in_thread(divmod, 7, 3))

    assert run(reactor, main()) == (2, 1)
    reactor.close()
    # One that has just delivered is not idle yet, and ends by itself.
    for thread in threading.enumerate():
        if thread.name == 'tremolo-worker':
            thread.join(PATIENCE)
    assert workers() == 0


def test_an_error_comes_back_with_a_traceback_that_begins_in_the_function(
        reactor: Reactor) -> None:
    def fails() -> None:
        raise ValueError('there')

    def main() -> Any:
        future = run_in_thread(fails)
        with pytest.raises(ValueError, match='there'):
            yield future
        return future

    error = run(reactor, main()).exception()
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == 'fails'
    assert 'run' not in names[names.index('fails'):]


def test_a_stop_iteration_ends_nothing_but_its_job(reactor: Reactor) -> None:
    def main() -> Any:
        with pytest.raises(RuntimeError, match='raised StopIteration') as caught:
            yield run_in_thread(next, iter(()))
        assert isinstance(caught.value.__cause__, StopIteration)
        with pytest.raises(SystemExit):
            yield run_in_thread(exit_now)
        return (yield run_in_thread(int, '5'))

    def exit_now() -> None:
        raise SystemExit(1)

    assert run(reactor, main()) == 5


def test_the_context_of_the_caller_is_copied(reactor: Reactor) -> None:
    def job() -> str:
        before = variable.get()
        variable.set('thread')
        return before

    def main() -> Any:
        variable.set('caller')
        assert (yield run_in_thread(job)) == 'caller'
        assert variable.get() == 'caller'
        assert (yield run_in_thread(job)) == 'caller'

    run(reactor, main())


def test_a_job_tells_where_its_thread_stands(reactor: Reactor) -> None:
    reactor.threads = 1
    begun, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        deep()
        reactor.call_soon_threadsafe(asked.set_result)
        waiting.result()

    def deep() -> None:
        while not go_on.is_set():
            pass

    def main() -> Any:
        job, in_line = run_in_thread(busy), run_in_thread(int)
        assert in_line.where() == 'waiting for a thread'
        begun.wait()
        line = deep.__code__.co_firstlineno
        while job.where() not in (f'{__file__}:{line + 1}', f'{__file__}:{line + 2}'):
            pass
        go_on.set()
        yield asked
        # It waits in our own code: the line that called is told.
        while job.where() != f'{__file__}:{busy.__code__.co_firstlineno + 4}':
            yield
        waiting.set_result()
        yield job
        assert job.where() == 'ended'
        yield in_line

    asked, waiting = Future(reactor), Future(reactor)
    run(reactor, main())


def test_idle_threads_are_used_again(reactor: Reactor) -> None:
    def main() -> Any:
        idents = set()
        for _ in range(20):
            idents.add((yield run_in_thread(threading.get_ident)))
            # The thread needs a moment to become idle after it has called back.
            for _ in range(10_000):
                if reactor.pool._idle:
                    break
                yield sleep(0.001)
        assert len(idents) == 1

    run(reactor, main())


def test_threads_are_bounded_and_jobs_run_side_by_side(reactor: Reactor) -> None:
    reactor.threads = 4
    gate = threading.Event()
    inside: list[int] = []
    # (One of a test before may not have ended yet.)
    before = set(threading.enumerate())

    def job(n: int) -> int:
        inside.append(n)
        gate.wait(10)
        return n

    def main() -> Any:
        futures = [run_in_thread(job, n) for n in range(10)]
        while len(inside) < 4:
            yield sleep(0.001)
        assert sum(thread.name == 'tremolo-worker'
                   for thread in set(threading.enumerate()) - before) == 4
        gate.set()
        assert (yield gather(*futures)) == list(range(10))
        assert sorted(inside) == list(range(10))

    run(reactor, main())


def test_a_job_cancelled_in_the_line_never_runs_and_a_running_one_is_dropped(
        reactor: Reactor) -> None:
    reactor.threads = 1
    gate, began, ran = threading.Event(), threading.Event(), []

    def job(n: int) -> int:
        ran.append(n)
        began.set()
        gate.wait(10)
        return n

    def main() -> Any:
        first, second, third = (run_in_thread(job, n) for n in range(3))
        began.wait(10)
        first.cancel()
        second.cancel()
        gate.set()
        assert (yield third) == 2
        assert first.cancelled()
        assert second.cancelled()

    run(reactor, main())
    assert ran == [0, 2]


def test_an_idle_thread_holds_nothing_of_its_last_job(reactor: Reactor) -> None:
    class Thing:
        alive = 0

        def __init__(self) -> None:
            Thing.alive += 1

        def __del__(self) -> None:
            Thing.alive -= 1

    def main() -> Any:
        yield run_in_thread(lambda thing: None, Thing())
        with pytest.raises(ZeroDivisionError):
            yield run_in_thread(lambda thing: 1 // 0, Thing())
        for _ in range(2000):
            gc.collect()
            if Thing.alive == 0:
                break
            yield sleep(0.005)
        assert Thing.alive == 0

    run(reactor, main())


# -- waiting on a thread --------------------------------------------------------------------------


def test_any_future_can_be_waited_for_on_a_worker_thread(reactor: Reactor) -> None:
    event = Event()

    def helper() -> Any:
        assert reactor.in_loop_thread()
        yield sleep(0.001)
        return 'spawned'

    def fails() -> Any:
        yield sleep(0.001)
        raise ValueError('x')

    def job() -> list[Any]:
        assert current_reactor() is reactor
        assert not reactor.in_loop_thread()
        said = [sleep(0.002, 'slept').result()]
        said.append(spawn(helper()).result())
        said.append(gather(sleep(0.001, 1), helper()).result())
        assert gather().result() == []
        with pytest.raises(TimeoutError):
            timeout(0.001, sleep(100)).result()
        with pytest.raises(ValueError, match='x'):
            spawn(fails()).result()
        reactor.call_soon_threadsafe(event.set)
        said.append(run_in_thread(lambda: sleep(0, 'deeper').result()).result())
        return said

    def main() -> Any:
        said = yield run_in_thread(job)
        yield event.wait()
        return said

    assert run(reactor, main()) == ['slept', 'spawned', [1, 'spawned'], 'deeper']


def test_on_the_loops_own_thread_waiting_is_refused(reactor: Reactor) -> None:
    def main() -> Any:
        with pytest.raises(InvalidState, match='yield it or await it'):
            sleep(1).result()
        yield

    run(reactor, main())


def test_many_threads_share_a_lock_and_a_queue_by_tasks_on_the_loop(reactor: Reactor) -> None:
    lock, items, count = Lock(), Queue(2), [0]

    def work(n: int) -> Any:
        with (yield lock.acquire()):
            before = count[0]
            yield
            count[0] = before + 1
        yield items.put(n)
        return (yield items.get())

    def job(n: int) -> Any:
        return spawn(work(n)).result()

    def main() -> Any:
        return (yield gather(*[run_in_thread(job, n) for n in range(40)]))

    assert sorted(run(reactor, main())) == list(range(40))
    assert count == [40]


# -- the end --------------------------------------------------------------------------------------


def test_a_thread_that_waits_when_the_reactor_closes_gets_cancelled() -> None:
    reactor = Reactor()
    waiting, ended = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def job() -> None:
        future = Future()
        reactor.call_soon_threadsafe(waiting.set)
        try:
            future.result()
        except BaseException as error:
            raised.append(error)
        ended.set()

    def main() -> Any:
        run_in_thread(job)
        while not waiting.is_set():
            yield sleep(0.001)

    run(reactor, main())
    # Whether it waits already or is on its way there, it must come back.
    reactor.close()
    assert ended.wait(10)
    assert isinstance(raised[0], Cancelled)
    # And who comes too late does not even begin to wait.
    with pytest.raises(InvalidState, match='closed'):
        run_in_closed(reactor)
    late: list[BaseException] = []

    def too_late() -> None:
        try:
            Future(reactor).result()
        except BaseException as error:
            late.append(error)

    thread = threading.Thread(target=too_late)
    thread.start()
    thread.join(10)
    assert isinstance(late[0], Cancelled)


def run_in_closed(reactor: Reactor) -> None:
    assert reactor.pool is not None
    reactor.pool.submit(Future(reactor), int, ())


def test_closing_cancels_the_jobs_in_line_and_joins_the_idle_threads() -> None:
    reactor = Reactor()
    reactor.threads = 1
    gate, ran = threading.Event(), []

    def main() -> Any:
        yield run_in_thread(int)
        run_in_thread(gate.wait, 10)
        return run_in_thread(ran.append, 1)

    queued = run(reactor, main())
    reactor.close()
    assert queued.cancelled()
    gate.set()
    for thread in threading.enumerate():
        if thread.name == 'tremolo-worker':
            thread.join(10)
    assert workers() == 0
    assert ran == []


def test_a_task_that_waits_for_a_job_when_the_reactor_closes_is_closed() -> None:
    gate, ended = threading.Event(), []
    reactor = Reactor()

    def work() -> Any:
        try:
            yield run_in_thread(gate.wait, 10)
        finally:
            ended.append(1)

    Task(work(), reactor=reactor, later=True)
    reactor.step(0)
    reactor.close()
    gate.set()
    assert ended == [1]


def test_a_reactor_without_jobs_has_no_threads(reactor: Reactor) -> None:
    def main() -> Any:
        yield sleep(0)

    run(reactor, main())
    assert reactor.pool is None


def test_when_the_system_has_no_thread_left_the_caller_is_told(
        reactor: Reactor, monkeypatch: Any) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    def main() -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, 'start', refuse)
            with pytest.raises(RuntimeError, match='start new thread'):
                run_in_thread(int)
        assert (yield run_in_thread(int, '1')) == 1

    run(reactor, main())

"""A forgotten `yield` locks nothing: what a dropped Future holds goes back, and one is told."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import pytest
from loop_support import run
from server_support import request, virtual

from tremolo import Tremolo
from tremolo.loop import (
    Lock,
    Queue,
    Reactor,
    Semaphore,
    Task,
    run_in_thread,
    sleep,
    spawn,
    timeout,
)
from tremolo.workers.lock import Lock as WorkersLock
from tremolo.workers.lock import open_locks

ADVICE = r'write `with \(yield lock\.acquire\(\)\):` in a generator, `with \(await'


def kinds(reactor: Reactor) -> list[Any]:
    """Return each thing that can be acquired, free."""
    return [Lock(), Semaphore(1), WorkersLock(reactor, None), WorkersLock(reactor, open_locks(), 3)]


def freed() -> Any:
    """Let what was dropped be freed, and what it gives back be received."""
    for _ in range(5):    # (A task in a line has to end first.)
        gc.collect()    # (PyPy frees nothing at once.)
        yield sleep(0)


@pytest.fixture(params=range(4), ids=('Lock', 'Semaphore', 'server lock', 'server lock on a file'))
def lock(request: Any, reactor: Reactor) -> Any:
    made: list[Any] = []

    def make() -> Any:
        made.extend(kinds(reactor))
        yield

    run(reactor, make())
    yield made[request.param]
    os.close(made[3]._file)


def test_with_without_yield_raises_and_holds_nothing(lock: Any, reactor: Reactor) -> None:
    def main() -> Any:
        for _ in range(3):
            with pytest.raises(TypeError, match=ADVICE), lock.acquire():
                raise AssertionError('the block was entered')
            # At once: nothing has to be freed or collected before.
            with (yield timeout(10, lock.acquire())):
                pass

    run(reactor, main())


def test_in_a_line_too(lock: Any, reactor: Reactor) -> None:
    def main() -> Any:
        with (yield lock.acquire()):
            with pytest.raises(TypeError, match=ADVICE), lock.acquire():
                pass
            with pytest.raises(TypeError, match=ADVICE), timeout(10, lock.acquire()):
                pass
            yield
        with (yield timeout(10, lock.acquire())):
            pass

    run(reactor, main())


def test_in_a_coroutine_and_in_a_thread(lock: Any, reactor: Reactor) -> None:
    async def coroutine() -> None:
        await asyncio.sleep(0)
        with pytest.raises(TypeError, match=ADVICE), lock.acquire():
            pass
        with pytest.raises(TypeError, match=ADVICE):
            async with lock.acquire():
                pass
        async with lock:
            pass
        with (await lock.acquire()):
            pass

    def in_thread() -> None:
        with pytest.raises(TypeError, match='in a thread'), lock.acquire():
            pass
        with lock.acquire().result():
            pass

    def main() -> Any:
        yield timeout(10, coroutine())
        if isinstance(lock, WorkersLock):    # The others are for the loop's thread only.
            yield timeout(10, run_in_thread(in_thread))

    run(reactor, main())


def test_a_future_that_is_only_dropped_gives_the_lock_back(
        lock: Any, reactor: Reactor, logged: Any) -> None:
    def main() -> Any:
        lock.acquire()
        yield from freed()
        with (yield timeout(10, lock.acquire())):
            lock.acquire()    # In the line.
        yield from freed()
        with (yield timeout(10, lock.acquire())):
            pass

    run(reactor, main())
    assert logged.count('a Future was dropped, and its value is given back: is a `yield`') == 2


def test_a_dropped_item_is_the_oldest_again(reactor: Reactor, logged: Any) -> None:
    def main() -> Any:
        queue = Queue()
        for item in (1, 2):
            queue.put_nowait(item)
        queue.get()
        yield from freed()
        return [(yield queue.get()), (yield queue.get())]

    assert run(reactor, main()) == [1, 2]
    assert logged.count('is given back') == 1


def test_a_task_that_is_cancelled_between_the_lock_and_its_use_gives_it_back(
        lock: Any, reactor: Reactor) -> None:
    def waits() -> Any:
        with (yield lock.acquire()):
            raise AssertionError('it was cancelled')

    def main() -> Any:
        with (yield lock.acquire()):
            task = spawn(waits())
            yield sleep(0.05)
        while not task._waiting.done():
            yield
        task.cancel()
        yield from freed()
        with (yield timeout(10, lock.acquire())):
            pass

    run(reactor, main())


def test_a_task_that_is_done_gives_its_value_back_when_it_is_cancelled(reactor: Reactor) -> None:
    def work() -> Any:
        return 'value'
        yield

    def main() -> Any:
        backs: list[str] = []
        task = Task(work())
        task.give_back = backs.append
        assert not task.cancel()
        yield
        return backs

    assert run(reactor, main()) == ['value']


def test_with_on_a_lock_itself_says_what_to_write(reactor: Reactor) -> None:
    def main() -> Any:
        for each in (Lock(), Semaphore(2)):
            with pytest.raises(TypeError, match=r'write `with \(yield lock.acquire\(\)\):`'), each:
                pass
            assert not each.locked()
        yield

    run(reactor, main())


def test_what_was_dropped_when_the_reactor_is_closed_says_nothing() -> None:
    reactor = Reactor()

    def main() -> Any:
        lock = Lock()
        yield
        return lock.acquire()

    future = [run(reactor, main())]
    reactor.close()
    future.clear()
    gc.collect()


def test_a_dropped_sleep_is_told_in_debug_mode_alone(reactor: Reactor) -> None:
    def main() -> Any:
        sleep(0.001)
        yield sleep(0.01)
        gc.collect()

    run(reactor, main())


def test_a_handler_that_forgets_it_is_answered_with_500_and_the_next_one_gets_the_lock(
        logged: Any) -> None:
    app = Tremolo()

    @app.route('/plain')
    def plain(lock: Any) -> Any:
        with lock.acquire():
            return b'never'

    @app.route('/generator')
    def generator(lock: Any) -> Any:
        with lock.acquire():
            yield b'never'

    @app.route('/good')
    def good(lock: Any) -> Any:
        with (yield lock.acquire(timeout=5)):
            yield b'good'

    with virtual(app) as host:
        for path, status in (('/plain', 500), ('/generator', 500), ('/good', 200)) * 2:
            answer, = host.ask(request(path, 'GET', 'Connection: close'))
            assert answer.status == status
    assert logged.text.count('write `with (yield lock.acquire()):` in a generator') == 4

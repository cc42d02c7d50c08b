"""`spawn`, `gather` and `timeout` take coroutines that await asyncio, wherever they are called."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from typing import Any

import pytest
from server_support import PATIENCE, request, serving

from tremolo import Tremolo, gather, run_in_thread, sleep, spawn, timeout
from tremolo.exceptions import Cancelled
from tremolo.loop import Queue, Reactor

variable: contextvars.ContextVar[str] = contextvars.ContextVar('variable', default='none')


def run(reactor: Reactor, work: Any) -> Any:
    """Run a generator to its end; give its value or raise its error."""
    tasks = []

    def begin() -> None:
        tasks.append(spawn(work))
        tasks[0].add_done_callback(lambda _: reactor.stop())

    reactor.call_soon(begin)
    reactor.run()
    return tasks.pop().result()


async def double(number: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    await asyncio.sleep(0.001)
    await sleep(0.001)
    return 2 * number


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError('in asyncio')


def test_all_three_take_coroutines_that_await_asyncio(reactor: Reactor) -> None:
    def main() -> Any:
        assert (yield spawn(double(1))) == 2
        assert (yield gather(double(2), sleep(0, 'ours'), double(3))) == [4, 'ours', 6]
        assert (yield timeout(PATIENCE, double(4))) == 8
        return (yield gather(asyncio.get_running_loop().create_task(double(5))))

    assert run(reactor, main()) == [10]


def test_a_coroutine_that_never_waits_has_ended_when_spawn_returns(reactor: Reactor) -> None:
    async def at_once() -> str:
        return variable.get()

    def main() -> Any:
        yield spawn(double(1))    # From here on there is a bridge that runs.
        variable.set('caller')
        task = spawn(at_once())
        assert task.done()
        return task.result()

    assert run(reactor, main()) == 'caller'


def test_an_error_of_a_coroutine_is_raised_and_cancels_the_other_parts(reactor: Reactor) -> None:
    ended = []

    async def other() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.001)
            ended.append('other')

    def main() -> Any:
        with pytest.raises(ValueError, match='in asyncio'):
            yield gather(fails(), other())
        # It has ended, its `finally` too: nothing is left running.
        assert ended == ['other']
        with pytest.raises(TimeoutError):
            yield timeout(0.001, other())
        assert ended == ['other', 'other']

    run(reactor, main())


def test_a_spawned_coroutine_is_cancelled_and_tells_where_it_stands(reactor: Reactor) -> None:
    heard = []

    async def waits() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as error:
            heard.extend(error.args)
            raise

    def main() -> Any:
        task = spawn(waits())
        yield sleep(0)
        yield
        line = waits.__code__.co_firstlineno
        assert task.where() == f'{__file__}:{line + 2}'
        task.cancel('enough')
        with pytest.raises(Cancelled, match='enough'):
            yield task
        assert task.cancelled() and task.where() == 'ended'
        assert not task.cancel()

    run(reactor, main())
    assert heard == ['enough']


def test_a_forgotten_coroutine_is_kept_alive(reactor: Reactor) -> None:
    queue, got = [], []

    async def waits() -> None:
        own = Queue()    # Only the coroutine knows it, so that all of it is a cycle.
        queue.append(own.put_nowait)
        got.append(await own.get())

    def main() -> Any:
        spawn(waits())
        while not queue:
            yield
        put = queue.pop()
        gc.collect()
        put('item')
        del put
        while not got:
            yield

    run(reactor, main())


def test_the_error_of_a_forgotten_coroutine_is_told(reactor: Reactor, logged: Any) -> None:
    def main() -> Any:
        spawn(fails())
        while not logged.records:
            yield sleep(0.001)
            gc.collect()

    run(reactor, main())
    assert 'an error was never looked at' in logged.text
    assert 'ValueError: in asyncio' in logged.text


def test_a_worker_thread_spawns_and_gathers_coroutines(reactor: Reactor) -> None:
    loop_thread = threading.get_ident()

    async def where() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    def job() -> list[int]:
        never = spawn(double(0))
        reactor.call_soon_threadsafe(never.cancel)
        return [spawn(where()).result(), *gather(where(), where()).result(),
                timeout(PATIENCE, where()).result()]

    def main() -> Any:
        return (yield run_in_thread(job))

    assert run(reactor, main()) == [loop_thread] * 4


def test_what_cannot_be_run_is_refused_with_what_to_write(reactor: Reactor) -> None:
    def job() -> Any:
        yield

    def main() -> Any:
        for call in (spawn, gather, lambda it: timeout(1, it)):
            with pytest.raises(TypeError, match=r'job is a function: call it, .*job\(\)'):
                call(job)
            with pytest.raises(TypeError, match='5 is no Future, generator or coroutine'):
                call(5)
        with pytest.raises(TypeError, match='runs already: yield it'):
            spawn(sleep(0))
        yield

    run(reactor, main())


def test_a_generator_handler_and_a_stepped_host_run_them() -> None:
    app = Tremolo()

    @app.route('/')
    def index() -> Any:
        task = spawn(double(4))
        values = yield gather(double(1), double(2))
        late = yield timeout(PATIENCE, double(3))
        return f'{values} {late} {yield task}'

    with serving(app) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert answer.body == b'[2, 4] 6 8'

    server = app.start(port=0, thread=False)
    try:
        reactor = server.reactor
        got: list[Any] = []
        reactor.call_soon(lambda: spawn(double(5)).add_done_callback(got.append))
        while not got:
            # As a host does that watches `fileno` and `next_deadline`.
            due = server.next_deadline()
            assert due is not None
            server.step(max(0.0, due - reactor.time()))
        assert got.pop().result() == 10
    finally:
        server.stop()

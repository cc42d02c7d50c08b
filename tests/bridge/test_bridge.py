"""The bridge: asyncio on the reactor, on real sockets and the real clock."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import select
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tremolo.bridge import ReactorEventLoop, ReactorSelector, bridge_to, eager, future_of
from tremolo.loop import Event, Future, Reactor, run_in_thread, sleep, spawn


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with Reactor() as reactor:
        yield reactor


def run(reactor: Reactor, work: Any) -> Any:
    """Run a coroutine on the bridge, driven by the reactor; give its value."""
    done: list[Future] = []

    def begin() -> None:
        future = future_of(work)
        future.add_done_callback(done.append)
        future.add_done_callback(lambda _: reactor.stop())

    reactor.call_soon(begin)
    limit = reactor.call_later(20, reactor.stop)
    reactor.run()
    limit.cancel()
    return done[0].result()


@pytest.mark.skipif(not hasattr(select, 'epoll'), reason='epoll alone refuses ordinary files')
def test_a_file_that_cannot_be_watched_leaves_nothing(reactor: Reactor, tmp_path: Path) -> None:
    selector = ReactorSelector(reactor)
    with (tmp_path / 'file').open('w') as file:
        for _ in range(2):
            with pytest.raises(PermissionError):
                selector.register(file, selectors.EVENT_READ)
    assert not selector.get_map()


def test_a_socket_that_is_closed_too_early_is_found_again(reactor: Reactor) -> None:
    selector = ReactorSelector(reactor)
    sock, other = socket.socketpair()
    with sock, other:
        fd = selector.register(sock, selectors.EVENT_READ).fd
        with pytest.raises(KeyError):
            selector.register(fd, selectors.EVENT_READ)
        assert selector.modify(sock, selectors.EVENT_WRITE, 'kept').data == 'kept'
        assert selector.select(1) == [(selector.get_key(sock), selectors.EVENT_WRITE)]
        reactor.end_turn()
    assert selector.unregister(sock).fd == fd
    assert fd not in reactor.watchers
    assert not selector.get_map()
    with pytest.raises(ValueError):
        selector.register(sock, selectors.EVENT_READ)


def test_what_is_written_for_asyncio_works(reactor: Reactor) -> None:
    async def talk(reader: Any, writer: Any) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(talk, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b'hello\n')
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.close()
        process = await asyncio.create_subprocess_exec(
            sys.executable, '-c', 'print(6 * 7)', stdout=asyncio.subprocess.PIPE)
        printed, _ = await process.communicate()
        threaded = await loop.run_in_executor(None, os.getpid)
        values = await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3)))
        return answer, printed.strip(), threaded == os.getpid(), values

    assert run(reactor, work()) == (b'HELLO\n', b'42', True, [0, 1, 2])


def test_both_sides_wait_for_each_other(reactor: Reactor) -> None:
    def ours() -> Any:
        first = yield theirs('a')
        second = yield asyncio.ensure_future(theirs('b'))
        return first + second

    async def theirs(text: str) -> str:
        await asyncio.sleep(0.001)
        return text

    async def work() -> Any:
        task = spawn(ours())
        slept = await asyncio.wait_for(sleep(0.001, 'slept'), 5)
        return slept, await task, await run_in_thread(lambda: 'threaded')

    assert run(reactor, work()) == ('slept', 'ab', 'threaded')


def test_a_future_tells_where_its_task_stands(reactor: Reactor) -> None:
    async def sleeping() -> None:
        await asyncio.sleep(100)

    async def waiting_for_ours() -> None:
        await sleep(100)

    async def nested() -> None:
        await sleeping()

    async def generator() -> Any:
        yield 1
        await sleeping()
        yield 2

    async def iterating() -> None:
        async for _ in generator():
            pass

    async def closing() -> None:
        async with contextlib.aclosing(slow_to_close()) as items:
            await items.__anext__()

    async def slow_to_close() -> Any:
        try:
            yield
        finally:
            await sleep(100)

    class Awaitable:
        def __await__(self) -> Any:
            return sleeping().__await__()

    async def awaitable() -> None:
        await Awaitable()

    async def for_seconds() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 100)

    def line(function: Any, offset: int) -> str:
        return f'{__file__}:{function.__code__.co_firstlineno + offset}'

    async def main() -> None:
        bridge_to(reactor)
        futures = {
            future_of(sleeping()): line(sleeping, 1),
            future_of(waiting_for_ours()): line(waiting_for_ours, 1),
            future_of(nested()): line(sleeping, 1),
            future_of(iterating()): line(sleeping, 1),
            future_of(awaitable()): line(sleeping, 1),
            future_of(for_seconds()): line(for_seconds, 1),
        }
        if sys.version_info >= (3, 10):
            futures[future_of(closing())] = line(slow_to_close, 4)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for future, place in futures.items():
            assert future.where() == place
        for future in futures:
            future.cancel()
        while any(future.where() != 'ended' for future in futures):
            await asyncio.sleep(0)

    run(reactor, main())


def test_a_task_begins_at_once_and_in_a_context_of_its_own(reactor: Reactor) -> None:
    seen: list[Any] = []
    name = contextvars.ContextVar('name', default='nobody')

    async def visit(who: str) -> None:
        seen.append((who, name.get(), asyncio.current_task() is not None))
        name.set(who)
        await asyncio.sleep(0.001)
        seen.append((who, name.get()))

    async def never_waits() -> str:
        return 'done'

    def begin() -> None:
        first, second = future_of(visit('ann')), future_of(visit('bob'))
        seen.append('both began')
        assert future_of(never_waits()).result() == 'done'
        first.add_done_callback(lambda _: second.add_done_callback(lambda _: reactor.stop()))

    bridge_to(reactor)
    reactor.call_soon(begin)
    reactor.run()
    assert seen == [('ann', 'nobody', True), ('bob', 'nobody', True), 'both began',
                    ('ann', 'ann'), ('bob', 'bob')]
    assert name.get() == 'nobody'


def test_the_application_s_own_tasks_keep_asyncio_s_order(reactor: Reactor) -> None:
    order: list[str] = []

    async def child() -> None:
        order.append('child')

    async def work() -> None:
        task = asyncio.ensure_future(child())
        order.append('parent')
        await task

    run(reactor, work())
    assert order == ['parent', 'child']


def test_cancelling_goes_both_ways(reactor: Reactor) -> None:
    ended: list[str] = []

    async def theirs() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append('theirs')

    def ours() -> Any:
        try:
            yield sleep(100)
        finally:
            ended.append('ours')

    async def work() -> None:
        future = future_of(theirs())
        await asyncio.sleep(0.001)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        task = spawn(ours())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(task, 0.001)
        while len(ended) < 2:
            await asyncio.sleep(0)

    run(reactor, work())
    assert ended == ['theirs', 'ours']


def test_an_error_arrives_with_its_traceback(reactor: Reactor) -> None:
    async def wrong() -> None:
        await asyncio.sleep(0)
        raise ValueError('wrong')

    def ours() -> Any:
        with pytest.raises(ValueError, match='wrong') as caught:
            yield wrong()
        return caught.traceback[-1].name

    async def work() -> Any:
        return await spawn(ours())

    assert run(reactor, work()) == 'wrong'


def test_signals_reach_asyncio_and_go_back(reactor: Reactor) -> None:
    before = signal.getsignal(signal.SIGUSR1)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(came.wait(), 5)
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)
        with pytest.raises(ValueError):
            loop.add_signal_handler(1000, came.set)
        if sys.implementation.name == 'cpython':
            # (PyPy raises nothing for it.)
            with pytest.raises(RuntimeError):
                loop.add_signal_handler(signal.SIGKILL, came.set)
        with pytest.raises(TypeError):
            loop.add_signal_handler('SIGUSR1', came.set)    # type: ignore[arg-type]

    run(reactor, work())
    assert signal.getsignal(signal.SIGUSR1) is before


def test_readers_and_writers_of_a_file(reactor: Reactor) -> None:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        writable, readable = loop.create_future(), loop.create_future()
        loop.add_writer(ours, lambda: writable.done() or writable.set_result(None))
        await asyncio.wait_for(writable, 5)
        loop.add_reader(ours, lambda: readable.done() or readable.set_result(ours.recv(10)))
        peer.send(b'hello')
        data = await asyncio.wait_for(readable, 5)
        assert loop.remove_writer(ours)
        assert loop.remove_reader(ours)
        assert not loop.remove_reader(ours)
        await loop.sock_sendall(ours, b'back')
        return data, await loop.sock_recv(peer, 10)

    with ours, peer:
        assert run(reactor, work()) == (b'hello', b'back')


def test_the_loop_sleeps_while_nothing_is_due(reactor: Reactor) -> None:
    async def work() -> int:
        turns = reactor.turns
        await asyncio.sleep(0.2)
        return reactor.turns - turns

    assert run(reactor, work()) < 10


def test_a_reactor_that_closes_ends_asyncio_s_tasks_too() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0)
            ended.append('task')

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            ended.append('generator')

    async def begin() -> None:
        kept.append(asyncio.ensure_future(work()))
        kept.append(numbers())
        await kept[1].__anext__()

    kept: list[Any] = []
    with Reactor() as reactor:
        run(reactor, begin())
        loop = bridge_to(reactor).loop
    assert ended == ['task', 'generator']
    assert loop.is_closed()


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='frees nothing at once')
def test_nothing_is_left_after_many_tasks(reactor: Reactor) -> None:
    async def small() -> None:
        await asyncio.sleep(0)

    async def work() -> Any:
        await asyncio.gather(*(future_of(small()) for _ in range(10)))
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(100):
            await asyncio.gather(*(future_of(small()) for _ in range(10)))
        gc.collect()
        return len(gc.get_objects()) - before, len(asyncio.all_tasks())

    grown, tasks = run(reactor, work())
    assert grown < 200
    assert tasks == 1


def test_what_is_called_soon_while_a_task_is_made_is_not_lost(monkeypatch: Any) -> None:
    """The collector may run then, and call finalizers that call the loop."""
    called: list[str] = []
    make = eager._Task

    def make_and_collect(*how: Any, **more: Any) -> Any:
        loop = asyncio.get_running_loop()
        loop.call_soon(called.append, 'before')
        task = make(*how, **more)
        loop.call_soon(called.append, 'after')
        return task

    async def work() -> str:
        return 'done'

    monkeypatch.setattr(eager, '_Task', make_and_collect)
    with Reactor() as reactor:
        bridge_to(reactor)
        assert run(reactor, work()) == 'done'
    assert called == ['before', 'after']


@pytest.mark.parametrize('early', [True, False])
@pytest.mark.parametrize('ours', [True, False])
def test_a_finalizer_may_make_a_task_while_a_task_is_made(
        monkeypatch: Any, early: bool, ours: bool) -> None:
    """The collector may run then, and the finalizer may begin a task of ours or of asyncio."""
    called: list[str] = []
    made: list[Any] = []
    make = eager._Task

    async def note(what: str) -> None:
        called.append(what)

    def finalize() -> None:
        monkeypatch.setattr(eager, '_Task', make)
        loop = asyncio.get_running_loop()
        made.append((future_of if ours else loop.create_task)(note('finalizer')))
        loop.call_soon(called.append, 'soon')

    def make_and_collect(*how: Any, **more: Any) -> Any:
        if early:
            finalize()
        task = make(*how, **more)
        if not early:
            finalize()
        return task

    with Reactor() as reactor:
        bridge_to(reactor)

        def begin() -> None:
            monkeypatch.setattr(eager, '_Task', make_and_collect)
            future_of(note('request'))
            future_of(note('next request'))

        reactor.call_soon(begin)
        reactor.call_later(0.01, reactor.stop)
        reactor.run()
    if ours:
        # (Which of them is first depends on `early`, and on the version of Python.)
        assert sorted(called[:3]) == ['finalizer', 'next request', 'request']
        assert called[3:] == ['soon']
    else:
        assert called[:2] == ['request', 'next request']
        assert sorted(called[2:]) == ['finalizer', 'soon']


def test_asyncio_learns_of_its_debug_mode(monkeypatch: Any) -> None:
    with Reactor() as reactor:
        loop = bridge_to(reactor).loop
        assert loop.get_debug() is sys.flags.dev_mode
        for wanted in True, False, True:
            loop.set_debug(wanted)
            assert loop.get_debug() is wanted
        # In debug mode asyncio notes where a future was made.
        assert loop.create_future()._source_traceback is not None
        loop.set_debug(False)
        assert loop.create_future()._source_traceback is None
    monkeypatch.setenv('PYTHONASYNCIODEBUG', '1')
    with Reactor() as reactor:
        assert bridge_to(reactor).loop.get_debug() is True


def test_a_closed_file_whose_number_is_another_s_is_forgotten() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        loop.add_reader(one.fileno(), print)
        number = one.fileno()
        one.close()
        # The lowest number is taken that is free.
        assert os.open(os.devnull, os.O_RDONLY) == number
        try:
            assert loop.remove_reader(number)
        finally:
            os.close(number)
            other.close()

    with Reactor() as reactor:
        bridge_to(reactor).complete(main())


def test_an_event_loop_alone_drives_the_reactor() -> None:
    with Reactor() as reactor:
        loop = ReactorEventLoop(reactor)
        event: list[Any] = []
        reactor.call_later(0.001, lambda: event.append(Event()))
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
    assert len(event) == 1

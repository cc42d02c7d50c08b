"""A server as the guest of an asyncio loop: one that runs already, or one of its own (`--loop`).

That all of HTTP works there is shown by tests/interop/test_hosts.py, which runs the other tests so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tremolo import SettingError, Tremolo, sleep
from tremolo.asgi import LifespanFailed
from tremolo.asgi_app import AsgiApplication
from tremolo.exceptions import ListenError
from tremolo.loop.future import current_reactor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        yield b'hello '
        yield sleep(0.01)
        yield b'world'

    @app.route('/async')
    async def both():
        await asyncio.sleep(0.01)
        # Ours, from a callback of theirs: nothing of ours is going on then.
        await sleep(0.01)
        return 'both'

    @app.route('/never')
    async def never():
        await asyncio.sleep(3600)

    return app


async def get(url: str) -> bytes:
    def ask() -> bytes:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()

    return await asyncio.get_running_loop().run_in_executor(None, ask)


def test_it_serves_as_long_as_the_block_lasts(app):
    async def main():
        async with app.serve() as server:
            assert server.url == f'http://127.0.0.1:{server.port}'
            assert await get(server.url) == b'hello world'
            assert await get(f'{server.url}/async') == b'both'
        assert server.server.reactor.closed
        with pytest.raises(OSError):
            await get(server.url)

    asyncio.run(main())


def test_it_serves_until_it_is_cancelled_or_stopped(app):
    async def main(end):
        serving = asyncio.create_task(app.serve(port=0))
        while not app.context.options:
            await asyncio.sleep(0)
        asked = asyncio.create_task(get(app_url(app)))
        assert await asked == b'hello world'
        end(serving)
        await serving

    asyncio.run(main(lambda serving: app.stop()))
    app.context.options = {}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main(lambda serving: serving.cancel()))


def app_url(app):
    return app._server.urls[0]


def test_what_is_in_flight_is_finished_first(app):
    async def main():
        async with app.serve() as server:
            asked = asyncio.create_task(get(f'{server.url}/async'))
            while not server.server.connections:
                await asyncio.sleep(0)
        return await asked

    assert asyncio.run(main()) == b'both'


def test_two_servers_share_a_guest_and_the_last_closes_it(app):
    other = Tremolo()

    @other.route('/')
    async def index():
        await sleep(0)
        return 'other'

    async def main():
        first = app.serve()
        async with other.serve() as second:
            async with first:
                assert first.server.reactor is second.server.reactor is current_reactor()
                assert await get(first.url) == b'hello world'
                assert await get(second.url) == b'other'
            assert await get(second.url) == b'other'
        assert second.server.reactor.closed
        with pytest.raises(RuntimeError, match='no reactor'):
            current_reactor()

    asyncio.run(main())


def test_a_guest_that_has_nothing_to_do_does_nothing(app):
    async def main():
        async with app.serve() as server:
            await get(server.url)
            reactor = server.server.reactor
            before = reactor.turns
            await asyncio.sleep(0.1)
            assert reactor.turns - before < 5

    asyncio.run(main())


def test_deadlines_and_other_threads_are_heard_in_time(app, logged):
    async def main():
        async with app.serve(handler_timeout=0.05) as server:
            reactor = server.server.reactor
            with pytest.raises(urllib.error.HTTPError, match='503') as caught:
                await get(f'{server.url}/never')
            caught.value.close()
            called = asyncio.get_running_loop().create_future()
            reactor.call_later(3600, print)
            threading.Thread(target=reactor.call_soon_threadsafe,
                             args=(called.set_result, None)).start()
            await asyncio.wait_for(called, 10)
            # An earlier deadline than any, from a callback that is not ours.
            due = asyncio.get_running_loop().create_future()
            reactor.call_later(0.01, due.set_result, None)
            await asyncio.wait_for(due, 10)

    asyncio.run(main())


def test_what_cannot_be_served_leaves_nothing(app):
    async def failing(scope, receive, send):
        await receive()
        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})

    async def main():
        with pytest.raises(LifespanFailed, match='no database'):
            await AsgiApplication(failing).serve()
        async with app.serve() as server:
            with pytest.raises(ListenError):
                await AsgiApplication(failing).serve(port=server.port)
            assert await get(server.url) == b'hello world'

    asyncio.run(main())
    with pytest.raises(SettingError, match='prot: no such option'):
        app.serve(prot=1)


def test_a_loop_of_its_own(app):
    with app.start(loop='asyncio') as server:
        for path, body in (('/', b'hello world'), ('/async', b'both')):
            with urllib.request.urlopen(server.url + path, timeout=10) as answer:
                assert answer.read() == body
    assert server.reactor.closed


def test_a_loop_that_cannot_be(app, monkeypatch):
    with pytest.raises(SettingError, match="'trio' is not reactor, asyncio, uvloop"):
        app.start(loop='trio')
    with pytest.raises(SettingError, match='asyncio needs a thread'):
        app.start(loop='asyncio', thread=False)
    monkeypatch.setitem(sys.modules, 'uvloop', None)
    with pytest.raises(SettingError, match='uvloop is not installed'):
        app.start(loop='uvloop')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it(tmp_path, number):
    (tmp_path / 'example.py').write_text(
        'import tremolo\n'
        'app = tremolo.Tremolo()\n'
        "@app.route('/')\n"
        'async def index():\n'
        "    return 'hello'\n")
    served = subprocess.Popen(
        [sys.executable, '-m', 'tremolo', 'example:app', '--port', '0', '--loop', 'asyncio'],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        url = served.stdout.readline().split()[2]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read() == b'hello'
    finally:
        served.send_signal(number)
        served.communicate(timeout=20)
    assert served.returncode == 0


def test_a_server_that_is_cancelled_finishes_what_is_in_flight(app):
    async def main():
        serving = asyncio.create_task(app.serve(port=0))
        while not app.context.options:
            await asyncio.sleep(0)
        asked = asyncio.create_task(get(f'{app_url(app)}/async'))
        while not app._server.connections:
            await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        return await asked

    assert asyncio.run(main()) == b'both'


def test_a_loop_of_its_own_may_be_stopped_before_its_first_turn():
    async def patient(scope, receive, send):
        await receive()
        await sleep(0.01)
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        await send({'type': 'lifespan.shutdown.complete'})

    for _ in range(5):
        AsgiApplication(patient).start(loop='asyncio').stop()


def test_what_is_cleaned_up_may_wait_with_our_futures(app, logged):
    begun = threading.Event()
    cleaned = []

    @app.route('/clean')
    async def clean():
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await sleep(0.01)
            cleaned.append(True)

    server = app.start(loop='asyncio', shutdown_timeout=0.05)
    with socket.create_connection(server.address, timeout=10) as sock:
        sock.sendall(b'GET /clean HTTP/1.1\r\nHost: x\r\n\r\n')
        assert begun.wait(10)
        stopped = time.monotonic()
        server.stop()
    assert time.monotonic() - stopped < 20
    assert cleaned
    assert logged.messages == ["shutdown_timeout is over: cut GET '/clean'"]


def test_a_server_inside_an_async_handler_leaves_the_outer_one_its_reactor(app):
    other = Tremolo()

    @other.route('/')
    async def outer():
        async with app.serve() as inner:
            body = await get(inner.url)
        await sleep(0.01)
        return body

    with other.start() as server, urllib.request.urlopen(server.url, timeout=10) as answer:
        assert answer.read() == b'hello world'


def test_a_startup_that_fails_leaves_no_task():
    async def failing(scope, receive, send):
        await receive()
        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
        await asyncio.sleep(3600)

    async def main():
        with pytest.raises(LifespanFailed, match='no database'):
            await AsgiApplication(failing).serve()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(main()) == set()


@pytest.mark.parametrize('loop', ['reactor', 'asyncio'])
def test_a_second_interrupt_ends_it_at_once_whatever_waits(tmp_path, loop):
    (tmp_path / 'example.py').write_text(
        'import asyncio, tremolo\n'
        'app = tremolo.Tremolo()\n'
        "@app.route('/')\n"
        'async def index():\n'
        '    asyncio.ensure_future(asyncio.sleep(3600))\n'
        '    yield b"begun"\n'
        '    await asyncio.sleep(3600)\n')
    served = subprocess.Popen(
        [sys.executable, '-m', 'tremolo', 'example:app', '--port', '0', '--loop', loop],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        port = int(served.stdout.readline().split()[2].rpartition(':')[2])
        with socket.create_connection(('127.0.0.1', port), timeout=10) as sock:
            sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            sock.recv(1000)
            served.send_signal(signal.SIGINT)
            assert 'stopping' in served.stderr.readline()
            served.send_signal(signal.SIGINT)
            assert served.wait(20) == 130
            assert 'Error' not in served.stderr.read()
    finally:
        served.kill()
        served.communicate()

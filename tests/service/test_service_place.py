"""Where a service may be run, started and stopped; what is refused is refused before it binds."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_support import PATIENCE, Client, request, serving

import tremolo
from tremolo import Tremolo, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.bridge import hosted
from tremolo.exceptions import HookFailed, InvalidState, ListenError
from tremolo.loop import Reactor

ROOT = Path(__file__).resolve().parents[2]


def native() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index() -> Any:
        yield sleep(0)
        yield b'hello'

    @app.route('/coroutine')
    async def coroutine() -> bytes:
        await asyncio.sleep(0)
        return b'hello'

    return app


def with_hooks() -> Tremolo:
    """Return one whose start and end have to wait."""
    app = native()

    @app.on_worker_start
    async def begin(context: Any) -> None:
        await asyncio.sleep(0)
        context.begun = True

    @app.on_worker_stop
    async def end(context: Any) -> None:
        await asyncio.sleep(0)
        context.ended = True

    return app


def asgi() -> AsgiApplication:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] == 'lifespan':
            assert (await receive())['type'] == 'lifespan.startup'
            await asyncio.sleep(0)
            await send({'type': 'lifespan.startup.complete'})
            assert (await receive())['type'] == 'lifespan.shutdown'
            await send({'type': 'lifespan.shutdown.complete'})
            service.context.ended = True
            return
        await asyncio.sleep(0)
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'hello'})

    service = AsgiApplication(app)
    return service


ALL = pytest.mark.parametrize('make', [native, with_hooks, asgi])


@pytest.fixture
def port(monkeypatch: Any) -> Iterator[int]:
    """Give a port at which nothing may ever have listened."""
    sock = socket.create_server(('127.0.0.1', 0))
    port = sock.getsockname()[1]
    sock.close()

    def bind(*args: Any) -> None:
        raise AssertionError('it was bound')

    monkeypatch.setattr('tremolo.server.server.bind', bind)
    yield port


def says(port: int, path: str = '/') -> bytes:
    client = Client(('127.0.0.1', port))
    try:
        client.send(request(path, 'GET', 'Connection: close'))
        return client.read_all()
    finally:
        client.close()


def in_thread(call: Any) -> BaseException:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    return errors.pop()


# -- run ------------------------------------------------------------------------------------------


@ALL
def test_run_off_the_main_thread_is_refused(make: Any, port: int) -> None:
    for call in (lambda: make().run('127.0.0.1', port),
                 lambda: make().run('127.0.0.1', port, workers=2),
                 lambda: tremolo.run(make(), '127.0.0.1', port),
                 lambda: tremolo.run('nothing:app', '127.0.0.1', port, workers=2)):
        error = in_thread(call)
        assert isinstance(error, InvalidState)
        assert 'in another thread write `app.start(...)`' in str(error)


@ALL
def test_run_inside_an_asyncio_loop_is_refused(make: Any, port: int) -> None:
    async def main() -> None:
        for call in (lambda: make().run('127.0.0.1', port),
                     lambda: make().run('127.0.0.1', port, workers=2),
                     lambda: tremolo.run('nothing:app', '127.0.0.1', port)):
            with pytest.raises(InvalidState, match=r'write `await app.serve\(...\)` here'):
                call()

    asyncio.run(main())


def test_run_inside_a_handler_or_a_hook_is_refused(port: int) -> None:
    refused = []

    def begin() -> None:
        with pytest.raises(InvalidState, match='a handler or a hook of a server runs here'):
            native().run('127.0.0.1', port)
        refused.append('yes')

    with Reactor() as reactor:
        reactor.call_soon(begin)
        reactor.step(0)
    assert refused == ['yes']


# -- start ----------------------------------------------------------------------------------------


@ALL
def test_start_works_inside_an_asyncio_loop(make: Any) -> None:
    async def main() -> None:
        app = make()
        with app.start() as server:
            for path in ('/', '/coroutine'):
                answer = await asyncio.get_running_loop().run_in_executor(
                    None, says, server.port, path)
                assert answer.endswith(b'hello')
            assert make is not with_hooks or app.context.begun
        assert make is native or app.context.ended

    asyncio.run(main())


def test_an_error_of_the_start_arrives_there(logged: Any) -> None:
    async def main() -> None:
        app = native()

        @app.on_worker_start
        async def begin() -> None:
            raise ValueError('no')

        with pytest.raises(HookFailed):
            app.start()
        with pytest.raises(ListenError):
            app.start('127.0.0.1', taken.getsockname()[1])

    with socket.create_server(('127.0.0.1', 0)) as taken:
        asyncio.run(main())


@ALL
def test_a_stepped_server_inside_an_asyncio_loop_is_refused(make: Any, port: int) -> None:
    async def main() -> None:
        with pytest.raises(InvalidState, match=r'write `await app.serve\(...\)`, or start it with'):
            make().start('127.0.0.1', port, thread=False)

    asyncio.run(main())


@pytest.mark.parametrize('make', [with_hooks, asgi])
def test_on_a_guest_of_that_loop_a_start_that_waits_is_refused(make: Any, port: int) -> None:
    async def main() -> None:
        with hosted() as reactor, pytest.raises(InvalidState, match='cannot be waited for'):
            make().start('127.0.0.1', port, reactor=reactor, thread=False)

    asyncio.run(main())


@ALL
def test_start_works_in_any_thread_and_inside_a_handler(make: Any) -> None:
    def inner() -> bytes:
        with make().start() as server:
            return says(server.port)[-5:]

    outer = Tremolo()

    @outer.route('/generator')
    def generator() -> Any:
        yield inner()

    @outer.route('/thread')
    def threaded(thread: bool = True) -> bytes:
        return inner()

    @outer.route('/job')
    def job() -> Any:
        yield (yield run_in_thread(inner))

    @outer.route('/coroutine')
    async def coroutine() -> bytes:
        return inner()

    with serving(outer) as host:
        for path in ('/generator', '/thread', '/job', '/coroutine'):
            answer, = host.ask(request(path, 'GET', 'Connection: close'))
            assert answer.body == b'hello', path


# -- the arguments --------------------------------------------------------------------------------


def test_run_start_and_serve_take_host_and_port_first(monkeypatch: Any) -> None:
    # The environment is for `run` alone: PORT would bind tests to one port.
    for name in ('PORT', 'TREMOLO_PORT', 'TREMOLO_BIND'):
        monkeypatch.setenv(name, 'nonsense')
    with native().start('127.0.0.1', 0) as server:
        assert says(server.port).endswith(b'hello')

    async def main() -> None:
        async with native().serve('127.0.0.1', 0) as server:
            assert server.port

    asyncio.run(main())
    # As it was before.
    with Reactor() as reactor:
        server = native().start(reactor, thread=False)
        assert server.reactor is reactor
        server.stop()


def test_run_reads_the_environment() -> None:
    program = ('from tremolo import Tremolo\napp = Tremolo()\n'
               'app.on_worker_start(lambda reactor: reactor.call_later(0, app.stop))\napp.run()')
    for variable in ('PORT', 'TREMOLO_PORT'):
        ended = subprocess.run(
            [sys.executable, '-c', program], cwd=ROOT, check=False, capture_output=True, text=True,
            env={**os.environ, variable: 'nonsense'}, timeout=PATIENCE)
        assert ended.returncode == 2
        assert f'{variable}: ' in ended.stderr


# -- twice ----------------------------------------------------------------------------------------


@ALL
def test_one_application_twice_at_once_is_refused_before_it_binds(
        make: Any, port: int, tmp_path: Path) -> None:
    app = make()
    # (On a UNIX socket: the fixture lets nothing else be bound.)
    path = str(tmp_path / 'socket')

    async def serve() -> None:
        async with app.serve('127.0.0.1', port):
            raise AssertionError('it was started')

    with app.start(bind=f'unix:{path}'):
        for call in (lambda: app.start('127.0.0.1', port), lambda: asyncio.run(serve()),
                     lambda: app.run('127.0.0.1', port),
                     lambda: app.run('127.0.0.1', port, workers=2)):
            with pytest.raises(InvalidState, match=f'is served already .unix:{path}.: stop that'):
                call()
        client = Client(path)
        client.send(request('/', 'GET', 'Connection: close'))
        assert client.read_all().endswith(b'hello')
        client.close()


@ALL
def test_one_after_the_other_works(make: Any, logged: Any) -> None:
    app = make()
    for _ in range(2):
        with app.start() as server:
            assert says(server.port).endswith(b'hello')
    # A start that failed does not count either.
    with socket.create_server(('127.0.0.1', 0)) as taken, pytest.raises(ListenError):
        app.start('127.0.0.1', taken.getsockname()[1])
    reactor = Reactor()
    forgotten = app.start(reactor=reactor, thread=False)
    reactor.close()    # Without a stop.
    with app.start() as server:
        assert says(server.port).endswith(b'hello')
    for listener in forgotten.server.listeners:
        listener.close()


def test_of_two_threads_that_start_it_one_is_refused() -> None:
    app = native()
    started: list[Any] = []
    refused: list[BaseException] = []
    together = threading.Barrier(4)

    def start() -> None:
        together.wait(PATIENCE)
        try:
            started.append(app.start())
        except InvalidState as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(started), len(refused)) == (1, 3)
    started[0].stop()


def test_what_fails_before_it_listens_can_be_started_again() -> None:
    class Failing(Tremolo):
        fails = True

        def prepare(self, server: Any) -> None:
            if self.fails:
                raise ValueError('no')

    app = Failing()
    with pytest.raises(ValueError, match='no'):
        app.start()
    app.fails = False
    app.start().stop()


# -- stop inside a handler ------------------------------------------------------------------------


@pytest.mark.parametrize('thread', [True, False], ids=('thread', 'stepped'))
@pytest.mark.parametrize('path', ['plain', 'generator', 'coroutine', 'thread', 'job'])
def test_stop_inside_a_handler_is_refused_and_app_stop_works(path: str, thread: bool) -> None:
    app = Tremolo()

    def refused() -> bytes:
        with pytest.raises(InvalidState, match=r'write `app.stop\(\)` here'):
            running[0].stop()
        app.stop()
        return b'stopping'

    @app.route('/plain')
    def plain() -> bytes:
        return refused()

    @app.route('/generator')
    def generator() -> Any:
        yield refused()

    @app.route('/coroutine')
    async def coroutine() -> bytes:
        await asyncio.sleep(0)
        return refused()

    @app.route('/thread')
    def threaded(thread: bool = True) -> bytes:
        return refused()

    @app.route('/job')
    def job() -> Any:
        yield (yield run_in_thread(refused))

    running = [app.start(thread=thread)]
    server, = running
    client = Client(server.address)
    client.send(request(f'/{path}', 'GET', 'Connection: close'))
    while not thread and not server.server.stopped.done():
        server.step(0.01)
    assert client.read_all().endswith(b'stopping')
    client.close()
    server.stop()
    server.stop()    # Harmless.


def test_one_server_is_stopped_in_the_handler_of_another() -> None:
    inner, outer = native().start(), Tremolo()

    @outer.route('/')
    def index() -> str:
        inner.stop()
        return 'stopped'

    with serving(outer) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert answer.body == b'stopped'
    with pytest.raises(OSError):
        Client(inner.address)

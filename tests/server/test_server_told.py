"""What a handler learns when its connection is ended: the reason, by its name and its option."""

from __future__ import annotations

import asyncio
import copy
import threading
from typing import Any

import pytest
from server_support import request, serving, virtual
from simulated import World

from tremolo import Cancelled, StreamClosed, Tremolo, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.server.notices import why

SLOW = why('min_download_rate')
HALF = why('half_closed')
LATE = why('handler_timeout')


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()
    app.context.seen = []

    def note(error: BaseException) -> None:
        app.context.seen.append((type(error).__name__, str(error)))

    app.context.note = note
    return app


def small() -> World:
    return World(seed=1, buffer_size=20_000)


def takes_nothing(host: Any, path: str, method: str = 'GET') -> None:
    client = host.connect(request(path, method, *(['Content-Length: 9'] * (method == 'POST'))))
    client.reading = False
    host.until(lambda: host.server.closed)
    host.settle()


def test_a_generator_that_sends_is_told_of_the_slow_reader(app):
    @app.route('/')
    def index():
        try:
            while True:
                yield b'x' * 10_000
        except Cancelled as error:
            app.context.note(error)
            raise

    with virtual(app, small(), connections=1) as host:
        takes_nothing(host, '/')
    assert app.context.seen == [('Cancelled', SLOW)]
    assert SLOW.startswith('min_download_rate: ')


def test_a_generator_that_waits_is_told_of_the_half_closed_client_as_is_what_it_waits_for(app):
    def inner():
        try:
            yield sleep(1000)
        except Cancelled as error:
            app.context.note(error)
            raise

    @app.route('/')
    def index(request):
        try:
            yield app.context.spawn(inner())
        except Cancelled as error:
            app.context.note(error)
            raise

    from tremolo import spawn
    app.context.spawn = spawn
    with virtual(app) as host:
        client = host.connect(request())
        host.settle()
        client.fin()
        client.until_ended()
    assert app.context.seen == [('Cancelled', HALF)] * 2


def test_a_handler_that_takes_too_long_is_told_so_and_so_are_its_reads_and_writes(app, logged):
    @app.route('/', methods=['POST'])
    def index(request, response):
        try:
            yield sleep(1000)
        except Cancelled as error:
            app.context.note(error)
        for call in request.read, lambda: response.send(b'late'):
            try:
                yield call()
            except StreamClosed as error:
                app.context.note(error)

    with virtual(app, handler_timeout=4) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 9'))
        client.until_ended()
        host.advance(1)
    assert app.context.seen == [('Cancelled', LATE), ('StreamClosed', LATE), ('StreamClosed', LATE)]


def test_reads_and_writes_after_a_cut_raise_the_reason(app):
    @app.route('/', methods=['POST'])
    def index(request, response):
        reading = request.read()
        try:
            while True:
                yield response.write(b'x' * 10_000)
        except (Cancelled, StreamClosed) as error:
            app.context.note(error)
        for call in (lambda: reading, request.read, lambda: response.write(b'more')):
            try:
                yield call()
            except StreamClosed as error:
                assert isinstance(error.cause, OSError)
                assert str(copy.copy(error)) == str(error)
                app.context.note(error)

    with virtual(app, small(), connections=1, min_upload_rate=0) as host:
        takes_nothing(host, '/', 'POST')
        host.advance(1)
    assert app.context.seen == [('Cancelled', SLOW)] + [('StreamClosed', SLOW)] * 3


def test_a_client_that_leaves_is_a_reason_too(app):
    @app.route('/')
    def index():
        try:
            yield sleep(1000)
        except Cancelled as error:
            app.context.note(error)
            raise

    with virtual(app) as host:
        client = host.connect(request())
        host.settle()
        client.reset()
        host.settle()
    assert app.context.seen == [('Cancelled', 'reset: the connection broke')]


def test_the_end_of_the_server_is_a_reason_too(app, logged):
    @app.route('/')
    def index():
        try:
            yield sleep(1000)
        except Cancelled as error:
            app.context.note(error)
            raise

    with virtual(app, shutdown_timeout=3) as host:
        host.connect(request())
        host.settle()
        host.server.drain()
        host.advance(4)
    assert app.context.seen == [
        ('Cancelled', 'shutdown: the server stopped (shutdown_timeout)')]


def test_an_upgraded_stream_is_told_why_it_is_cut(app, logged):
    @app.route('/')
    def index(response):
        stream = response.upgrade('echo')
        reading = stream.read()
        try:
            yield reading
        except (Cancelled, StreamClosed) as error:
            app.context.note(error)
        try:
            yield stream.read()
        except StreamClosed as error:
            app.context.note(error)

    with virtual(app, shutdown_timeout=3) as host:
        host.connect(request('/', 'GET', 'Connection: upgrade', 'Upgrade: echo'))
        host.settle()
        host.server.drain()
        host.advance(4)
    text = 'shutdown: the server stopped (shutdown_timeout)'
    assert app.context.seen == [('Cancelled', text), ('StreamClosed', text)]


def test_an_answer_to_head_that_is_complete_is_said_to_be(app):
    @app.route('/')
    def index():
        try:
            yield b'begun'
            yield sleep(1000)
        except Cancelled as error:
            app.context.note(error)
            raise

    with virtual(app) as host:
        host.connect(request('/', 'HEAD')).take('HEAD')
    assert app.context.seen == [('Cancelled', 'the answer is complete')]


def test_an_async_handler_is_told_the_reason(app):
    @app.route('/', methods=['POST'])
    async def index(request, response):
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as error:
            app.context.note(error)
        try:
            await request.read()
        except StreamClosed as error:
            app.context.note(error)
        raise asyncio.CancelledError

    with serving(app, half_close_timeout=0.05) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 9'))
        host.wait_for(lambda: [each for each in host.server.connections if each.task])
        client.fin()
        host.wait_for(lambda: len(app.context.seen) == 2)
    assert app.context.seen == [('CancelledError', HALF), ('StreamClosed', HALF)]


def test_a_handler_in_a_thread_is_told_by_what_it_calls(app):
    begun, ended = threading.Event(), threading.Event()

    @app.route('/', methods=['POST'])
    def index(request, thread=True):
        reading = request.read()
        begun.set()
        try:
            reading.result()
        except StreamClosed as error:
            app.context.note(error)
        app.context.seen.append(request.connection.reason)
        ended.set()

    with serving(app, half_close_timeout=0.05, min_upload_rate=0) as host:
        # (A thread is taken before the body is here if the client asks whether it shall send it.)
        client = host.connect(request('/', 'POST', 'Content-Length: 9', 'Expect: 100-continue'))
        assert begun.wait(30)
        connection, = host.on_loop(lambda: list(host.server.connections))
        host.on_loop(lambda: connection.abort('half_closed'))
        assert ended.wait(30)
        client.close()
    assert app.context.seen == [('StreamClosed', HALF), 'half_closed']


def test_send_of_asgi_raises_the_reason():
    seen: list[Any] = []
    ended = threading.Event()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        for _ in range(2):
            try:
                while True:
                    await send({'type': 'http.response.body', 'body': b'x' * 100_000,
                                'more_body': True})
            except OSError as error:
                seen.append(str(error))
        seen.append((await receive())['type'])
        seen.append((await receive())['type'])
        ended.set()

    with serving(AsgiApplication(asgi), lifespan='off') as host:
        client = host.connect(request(), receive_buffer=4096)
        host.wait_for(lambda: [each for each in host.server.connections
                               if each.stream.buffered > each.stream.high])
        connection, = host.on_loop(lambda: list(host.server.connections))
        host.on_loop(lambda: connection.abort('min_download_rate'))
        assert ended.wait(30)
        client.close()
    assert seen[:2] == [f'the client is gone: {SLOW}'] * 2
    assert seen[-1] == 'http.disconnect'


def test_an_asgi_application_that_takes_too_long_is_told_so(logged):
    seen: list[str] = []
    ended = threading.Event()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as error:
            seen.append(str(error))
            ended.set()
            raise

    with serving(AsgiApplication(asgi), lifespan='off', handler_timeout=0.05) as host:
        assert host.ask(request())[0].status == 503
        assert ended.wait(30)
    assert seen == [LATE]


def test_a_job_in_a_thread_that_is_cancelled_is_cancelled_with_the_message(reactor):
    def work():
        job = run_in_thread(threading.Event().wait, 0.01)
        job.cancel('not wanted')
        with pytest.raises(Cancelled, match='not wanted'):
            yield job
        reactor.stop()

    from tremolo.loop import Task
    task = Task(work(), reactor=reactor, later=True)
    reactor.run()
    assert task.done() and task.exception() is None

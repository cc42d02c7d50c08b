"""limit_concurrency counts what runs: a handler whose client has gone, or has its answer already.

Each kind of handler is held at a gate: in what it does when its client has gone, or after its
answer. As long as it is there it has its place, and a further request gets 503.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from server_support import PATIENCE, request, serving

from tremolo import HTTPError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.wsgi_app import WsgiApplication

HANDSHAKE = ('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
             'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==')


class Gate:
    """Where handlers are held: they tell that they began, and go on when it is opened."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def block(self) -> None:
        """For a thread."""
        self.begun.release()
        assert self.opened.wait(PATIENCE)

    def hold(self):
        """For a generator: it goes on when its client has gone, until the gate opens."""
        self.begun.release()
        try:
            yield sleep(PATIENCE)
        finally:
            while not self.opened.is_set():
                yield sleep(0.001)

    async def wait(self) -> None:
        """For a coroutine: likewise."""
        self.begun.release()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            while not self.opened.is_set():
                await asyncio.sleep(0.001)

    def after(self):
        """For a generator that has answered."""
        self.begun.release()
        while not self.opened.is_set():
            yield sleep(0.001)

    async def after_async(self) -> None:
        """For a coroutine that has answered."""
        self.begun.release()
        while not self.opened.is_set():
            await asyncio.sleep(0.001)


def asgi_of(gate: Gate) -> AsgiApplication:
    async def app(scope, receive, send):
        path = scope['path'].rpartition('/')[2]
        if scope['type'] == 'websocket':
            await gate.after_async()    # (It is told that its client has gone, and not cancelled.)
            return
        if path == 'asgi':
            gate.begun.release()
            while (await receive())['type'] != 'http.disconnect':
                pass
            while not gate.opened.is_set():
                await asyncio.sleep(0.001)
            return
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'answered'})
        if path == 'asgi-after':
            await gate.after_async()    # As a background task of Starlette.

    return AsgiApplication(app)


def wsgi_of(gate: Gate) -> WsgiApplication:
    class Body(list):
        def close(self) -> None:
            gate.block()

    def app(environ, start_response):
        path = environ['PATH_INFO'].rpartition('/')[2]
        if path == 'wsgi':
            gate.block()
        start_response('200 OK', [])
        if path == 'wsgi-piece':
            return (b'x' for _ in iter(gate.block, False))
        return Body([b'answered']) if path == 'wsgi-after' else [b'answered']

    return WsgiApplication(app)


def native_of(gate: Gate) -> Tremolo:
    app = Tremolo()
    app.route('/')(lambda: 'answered')

    @app.route('/generator')
    def generator():
        yield from gate.hold()

    @app.route('/stream')
    def stream():
        yield b'begun'
        yield from gate.hold()

    @app.route('/thread', methods=['GET', 'POST'])
    def thread(thread=True):
        gate.block()

    @app.route('/async')
    async def coroutine():
        await gate.wait()

    @app.route('/async-generator')
    async def async_generator():
        yield b'begun'
        await gate.wait()

    @app.route('/sse')
    def events(sse):
        yield sse.send('begun')
        yield from gate.hold()

    @app.route('/sse-thread')
    def events_thread(sse, thread=True):
        gate.block()

    @app.route('/sse-async')
    async def events_async(sse):
        await gate.wait()

    @app.route('/ws')
    def socket(websocket):
        yield from gate.hold()

    @app.route('/ws-thread')
    def socket_thread(websocket, thread=True):
        gate.block()

    @app.route('/ws-async')
    async def socket_async(websocket):
        await gate.wait()

    @app.route('/generator-after')
    def generator_after(response):
        response.send('answered')
        yield from gate.after()

    @app.route('/thread-after')
    def thread_after(response, thread=True):
        response.send('answered')
        gate.block()

    @app.route('/async-after')
    async def async_after(response):
        response.send('answered')
        await gate.after_async()

    return app


def wrapped_of(gate: Gate) -> Tremolo:
    app = Tremolo()
    app.route('/')(lambda: 'answered')

    @app.middleware
    def around(request, response):
        if request.path == '/middleware':
            yield from gate.hold()
        yield

    @app.error(404)
    def missing(request, error):
        if request.path == '/error':
            yield from gate.hold()
        yield b'missing'

    @app.error(418)
    def teapot(error, thread=True):
        gate.block()

    @app.route('/error-thread')
    def fails():
        raise HTTPError(418)

    @app.route('/wrapped-thread')
    def thread(thread=True):
        gate.block()

    app.mount('/native', native_of(gate))
    app.mount('/asgi', asgi_of(gate))
    app.mount('/wsgi', wsgi_of(gate))
    return app


KINDS = {
    native_of: ('generator', 'stream', 'thread', 'async', 'async-generator', 'sse', 'sse-thread',
                'sse-async', 'ws', 'ws-thread', 'ws-async'),
    asgi_of: ('asgi', 'ws'),
    wsgi_of: ('wsgi', 'wsgi-piece'),
    wrapped_of: ('middleware', 'error', 'error-thread', 'wrapped-thread', 'native/generator',
                 'native/thread', 'asgi/asgi', 'wsgi/wsgi')}
AFTER = {native_of: ('generator-after', 'thread-after', 'async-after'),
         asgi_of: ('asgi-after',), wsgi_of: ('wsgi-after',),
         wrapped_of: ('native/thread-after', 'asgi/asgi-after', 'wsgi/wsgi-after')}


def each(kinds):
    return [pytest.param(make, f'/{path}', id=f'{make.__name__[:-3]}-{path}')
            for make, paths in kinds.items() for path in paths]


@contextmanager
def limited(make, **options) -> Iterator[tuple]:
    gate = Gate()
    app = make(gate)
    more = {} if isinstance(app, (Tremolo, WsgiApplication)) else {'lifespan': 'off'}
    try:
        with serving(app, limit_concurrency=1, **more, **options) as host:
            yield gate, host
            gate.opened.set()
    finally:
        gate.opened.set()


def asked(path: str) -> bytes:
    return request(path, 'GET', *(HANDSHAKE if '/ws' in path and 'wsgi' not in path else ()))


def status(host) -> int:
    client = host.connect(request('/'))
    answer = client.take()
    assert 'retry-after' in answer.headers or answer.status == 200
    return answer.status


def is_free(host) -> bool:
    return host.on_loop(lambda: not host.server.places._busy)


@pytest.mark.parametrize('make, path', each(KINDS))
def test_a_handler_counts_until_it_has_ended_whatever_became_of_its_client(make, path):
    with limited(make) as (gate, host):
        client = host.connect(asked(path))
        assert gate.begun.acquire(timeout=PATIENCE)
        client.reset()
        host.wait_for(lambda: not host.server.connections)
        assert [status(host) for _ in range(3)] == [503] * 3
        assert not gate.begun.acquire(blocking=False)
        gate.opened.set()
        host.wait_for(lambda: not host.server.places._busy)
        assert status(host) == 200


@pytest.mark.parametrize('make, path', each(AFTER))
def test_what_is_done_after_an_answer_counts(make, path):
    with limited(make) as (gate, host):
        client = host.connect(request(path))
        assert client.take().body == b'answered'
        assert gate.begun.acquire(timeout=PATIENCE)
        assert [status(host) for _ in range(2)] == [503] * 2
        gate.opened.set()
        host.wait_for(lambda: not host.server.places._busy)
        # The connection has gone on, and its next request is another one.
        client.send(request('/'))
        assert client.take().status == 200


@pytest.mark.parametrize('make, path', [
    (native_of, '/thread'), (native_of, '/async'), (wsgi_of, '/wsgi')])
def test_a_handler_that_is_answered_for_by_503_counts_as_long_as_it_runs(make, path, logged):
    with limited(make, handler_timeout=0.05) as (gate, host):
        client = host.connect(request(path))
        assert gate.begun.acquire(timeout=PATIENCE)
        answer = client.take()
        assert answer.status == 503 and 'retry-after' not in answer.headers
        assert status(host) == 503
        gate.opened.set()
        host.wait_for(lambda: not host.server.places._busy)
        assert status(host) == 200
    logged.messages.clear()


@pytest.mark.parametrize('make, path', [(native_of, '/thread'), (wsgi_of, '/wsgi')])
def test_a_job_that_never_began_gives_its_place_back(make, path):
    with limited(make, threads=1) as (gate, host):
        host.server.places._most = 2
        host.connect(request(path))
        assert gate.begun.acquire(timeout=PATIENCE)
        waits = host.connect(request(path))
        host.wait_for(lambda: len(host.server.places._busy) == 2)
        waits.reset()
        host.wait_for(lambda: len(host.server.places._busy) == 1)
        gate.opened.set()
        assert status(host) == 200


@pytest.mark.parametrize('make, path', [(native_of, '/thread'), (wsgi_of, '/wsgi')])
def test_a_body_that_no_thread_waits_for_has_a_place_as_long_as_its_client_is_there(make, path):
    with limited(make) as (_, host):
        client = host.connect(request(path, 'POST', 'Content-Length: 10') + b'x')
        host.wait_for(lambda: host.server.places._busy)
        assert status(host) == 503
        client.reset()
        host.wait_for(lambda: not host.server.places._busy)
        assert status(host) == 200


def test_a_websocket_that_is_open_has_no_place():
    """Its handshake had one; open sockets are bounded by `connections`."""
    app = Tremolo()

    @app.route('/')
    def index():
        return 'answered'

    @app.route('/ws')
    def echo(websocket):
        yield sleep(0.001)
        yield websocket.accept()
        while True:
            yield websocket.send((yield websocket.receive()))

    async def asgi(scope, receive, send):
        if scope['type'] == 'websocket':
            await asyncio.sleep(0.001)
            await send({'type': 'websocket.accept'})
            while (await receive())['type'] != 'websocket.disconnect':
                pass
            return
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'answered'})

    for served in (app, AsgiApplication(asgi)):
        more = {} if served is app else {'lifespan': 'off'}
        with serving(served, limit_concurrency=1, **more) as host:
            for _ in range(3):
                host.connect(asked('/ws')).until(b'101')
            assert is_free(host)
            assert status(host) == 200
            for client in host.clients:
                client.close()
            host.wait_for(lambda: not host.server.connections)
            assert status(host) == 200


def test_ten_run_whatever_500_resetters_do():
    """Each reset freed a place before: 500 applications for ASGI ran at a limit of ten."""
    running, most = 0, 0
    gate = Gate()

    async def app(scope, receive, send):
        nonlocal running, most
        running += 1
        most = max(most, running)
        while not gate.opened.is_set():
            await asyncio.sleep(0.001)
        running -= 1
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'answered'})

    with serving(AsgiApplication(app), lifespan='off', limit_concurrency=10) as host:
        for _ in range(10):
            clients = [host.connect(request('/')) for _ in range(20)]
            for client in clients:
                client.reset()
        host.wait_for(lambda: not host.server.connections)
        assert most == running == 10
        gate.opened.set()
        host.wait_for(lambda: not running)
        assert status(host) == 200

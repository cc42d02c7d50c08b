"""What is left after much work: nothing; and what a stalled client costs: little."""

from __future__ import annotations

import gc
import os
import sys

import pytest
from server_support import answers, request, serving

from tremolo import HTTPError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication

linux = pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='counts in /proc')
counted = pytest.mark.skipif(sys.implementation.name != 'cpython', reason='counts references')


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/generator')
    def generator(**server):
        yield b'hello'

    @app.route('/plain')
    def plain():
        return 'hello'

    @app.route('/wait')
    def wait():
        yield None
        yield sleep(0)
        yield b'hello'

    @app.route('/read', methods=['POST'])
    def read(request):
        data = yield request.body()
        yield data

    @app.route('/error')
    def error():
        raise HTTPError(404, 'hello')

    @app.route('/late')
    def late():
        yield None
        raise HTTPError(404, 'hello')

    @app.route('/fail')
    def fail():
        yield None
        raise ValueError('hello')

    @app.route('/left')
    def left():
        try:
            yield b'hello'
            yield sleep(1000)
        finally:
            yield None

    return app


ROUND = (request('/generator') * 10 + request('/plain') * 4 + request('/wait') * 2
         + request('/read', 'POST', body=b'hello') * 2 + request('/error') + request('/late'))


@linux
@counted
def test_after_10_000_requests_on_100_connections_nothing_is_left(app, logged):
    with serving(app) as host:
        _work(host, 5, 1)
        gc.collect()
        watchers = host.reactor.watchers
        before = host.on_loop(lambda: (len(os.listdir('/proc/self/fd')), len(watchers)))
        gc.disable()
        try:
            _work(host, 100, 5)
            after = host.on_loop(
                lambda: (len(os.listdir('/proc/self/fd')), len(host.reactor.watchers)))
            assert after == before
            assert host.on_loop(lambda: len(host.reactor.tasks)) == 0
            assert host.on_loop(lambda: len(host.reactor.timers)) < 200
            assert _garbage() == []
        finally:
            gc.enable()


@linux
@counted
def test_failing_handlers_and_leaving_clients_leave_nothing(app, logged):
    with serving(app) as host:
        def work() -> None:
            for _ in range(20):
                client = host.connect(request('/fail') + request('/left'))
                client.until(b'hello')
                client.reset()
                client = host.connect(b'BAD\r\n\r\n')
                client.read_all()
                client.close()
                host.clients.clear()
            host.wait_for(lambda: not host.server.connections and not host.reactor.tasks)

        work()
        gc.collect()
        gc.disable()
        try:
            work()
            logged.records.clear()
            assert _garbage() == []
        finally:
            gc.enable()


def _work(host, connections: int, rounds: int) -> None:
    for _ in range(connections):
        client = host.connect()
        for _ in range(rounds):
            client.send(ROUND)
            for _ in range(20):
                assert client.take().body == b'hello'
        client.close()
    host.clients.clear()
    host.wait_for(lambda: not host.server.connections)


def _garbage() -> list[str]:
    """Collect, and name what only the collector could free of ours."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return sorted({
            f'{type(each).__module__}.{type(each).__qualname__} {each!r:.80}'
            for each in gc.garbage
            if type(each).__module__.startswith('tremolo') or type(each).__name__ in (
                'generator', 'Context', 'traceback', 'frame')})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()


def _resident() -> int:
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


@linux
def test_100_mb_to_a_client_that_stops_reading_cost_little_and_nobody_else(app):
    state = {'yielded': 0, 'ended': False}

    @app.route('/flood')
    def flood():
        try:
            for _ in range(100_000):
                state['yielded'] += 1
                yield b'x' * 1024
        finally:
            state['ended'] = True

    with serving(app) as host:
        before = _resident()
        client = host.connect(request('/flood'))
        host.wait_for(lambda: [each for each in host.server.connections
                               if each.stream.buffered > each.stream.high])
        assert state['yielded'] < 20_000
        assert _resident() - before < 8 << 20
        other = host.connect(request('/plain'))
        assert other.take().body == b'hello'
        assert not state['ended']
        client.reset()
        host.wait_for(lambda: state['ended'])
        assert state['yielded'] < 20_000


@linux
@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='frees nothing at once')
def test_100_mb_to_a_client_that_reads_cost_little(app):
    @app.route('/flood')
    def flood():
        for _ in range(100_000):
            yield b'x' * 1024

    with serving(app) as host:
        client = host.connect(request('/flood', 'GET', 'Connection: close'))
        client.until(b'\r\n\r\n')
        before = _resident()
        size = 0
        while True:
            data = client.sock.recv(1 << 16)
            if not data:
                break
            size += len(data)
        assert size > 100_000 * 1024 - 70_000
        assert _resident() - before < 8 << 20


LONG = bytes(range(256)) * 32768


def _long_answers() -> Tremolo:
    app = Tremolo()

    @app.route('/plain')
    def plain():
        return LONG

    @app.route('/generator')
    def generator():
        yield LONG

    @app.route('/begun')
    def begun():
        yield b'begun '
        yield LONG
        yield b' ended'

    @app.route('/sized')
    def sized(response):
        response.headers['Content-Length'] = str(6 + len(LONG))
        yield b'begun '
        yield LONG

    @app.route('/coroutine')
    async def coroutine():
        return LONG

    @app.route('/asynchronous')
    async def asynchronous():
        yield b'begun '
        yield LONG

    return app


async def _long_application(scope, receive, send):
    headers = []
    if scope['path'] == '/sized':
        headers = [(b'content-length', b'%d' % len(LONG))]
    await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
    if scope['path'] == '/pieces':
        for piece in (b'begun ', LONG, LONG):
            await send({'type': 'http.response.body', 'body': piece, 'more_body': True})
    await send({'type': 'http.response.body', 'body': b'' if scope['path'] == '/pieces' else LONG})


@counted
@pytest.mark.parametrize('kind, path, pieces', [
    ('native', 'plain', [LONG]),
    ('native', 'generator', [LONG]),
    ('native', 'begun', [b'begun ', LONG, b' ended']),
    ('native', 'sized', [b'begun ', LONG]),
    ('native', 'coroutine', [LONG]),
    ('native', 'asynchronous', [b'begun ', LONG]),
    ('asgi', 'whole', [LONG]),
    ('asgi', 'sized', [LONG]),
    ('asgi', 'pieces', [b'begun ', LONG, LONG]),
])
def test_8_mib_to_ten_clients_that_do_not_read_are_not_copied(kind, path, pieces):
    import tracemalloc
    app = _long_answers() if kind == 'native' else AsgiApplication(_long_application)
    with serving(app) as host:
        # The first one fills caches, and imports what is needed.
        host.connect(request(f'/{path}', 'HEAD', 'Connection: close')).read_all()
        tracemalloc.start()
        try:
            for _ in range(10):
                host.connect(request(f'/{path}', 'GET', 'Connection: close'))
            host.wait_for(lambda: sum(
                each.stream.buffered > 1 << 20 for each in host.server.connections) == 10)
            # (At its peak, a copy that was soon freed counts as well.)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        answer, = answers(host.clients[-1].read_all())
        assert answer.body == b''.join(pieces)


def test_a_long_piece_is_one_chunk_and_is_not_more_than_was_announced(logged):
    app = Tremolo()

    @app.route('/chunked')
    def chunked():
        yield b'begun '
        yield LONG[:200_000]

    @app.route('/short')
    def short(response):
        response.headers['Content-Length'] = '200000'
        yield b'begun '
        yield LONG[:200_000]

    with serving(app) as host:
        client = host.connect(request('/chunked', 'GET', 'Connection: close'))
        body = client.read_all().partition(b'\r\n\r\n')[2]
        assert body == b'%x\r\nbegun %s\r\n0\r\n\r\n' % (200_006, LONG[:200_000])
        # Nothing of it was sent, so it is an answer.
        assert host.ask(request('/short', 'GET', 'Connection: close'))[0].status == 500
    assert logged.count('/short') == 1
    assert 'the body is 6 bytes longer than its Content-Length' in logged.text

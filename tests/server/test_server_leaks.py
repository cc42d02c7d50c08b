"""What is left after much work: nothing; and what a stalled client costs: little."""

from __future__ import annotations

import gc
import os
import sys

import pytest
from server_support import request, serving

from tremolo import HTTPError, Tremolo, sleep

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

"""`async def` handlers, and asyncio inside generator handlers, on real sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from server_support import answers, chunked, request

from tremolo import HTTPError, Tremolo, sleep


def ask(server, *wires, ends=True):
    """Send the requests, the last of which closes, and read the answers to the end."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(b''.join(wires))
        received = b''
        while data := sock.recv(65536):
            received += data
    return answers(received)


def get(path, *lines, method='GET', body=b''):
    return request(path, method, 'Connection: close', *lines, body=body)


@pytest.fixture
def app():
    return Tremolo()


def test_a_coroutine_returns_what_a_plain_function_may(app):
    @app.route('/')
    async def index(request, response, loop, reactor, **server):
        assert loop is asyncio.get_running_loop()
        assert reactor is not loop
        response.headers['X-Path'] = request.path
        return {'names': sorted(server)}

    @app.route('/nothing')
    async def nothing():
        await asyncio.sleep(0.001)

    with app.start(port=0) as server:
        answer, = ask(server, get('/'))
        assert answer.body == b'{"names": ["app", "context", "globals", "lock", "logger"]}'
        assert answer.headers['x-path'] == '/'
        assert ask(server, get('/nothing'))[0].status == 204


def test_a_generator_that_never_waits_is_one_write(app):
    @app.route('/')
    async def index():
        yield b'Hello '
        yield 'world!'

    with app.start(port=0) as server:
        answer, = ask(server, get('/'))
        assert answer.body == b'Hello world!'
        assert answer.headers['content-length'] == '12'


def test_chunks_go_out_while_it_waits(app):
    taken = threading.Event()

    @app.route('/')
    async def index(loop):
        for number in range(3):
            yield b'%d' % number
            await asyncio.sleep(0)
            await loop.run_in_executor(None, taken.wait, 10)
            taken.clear()

    with app.start(port=0) as server, socket.create_connection(
            ('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(get('/'))
        received = b''
        for number in range(3):
            while not received.endswith(b'1\r\n%d\r\n' % number):
                received += sock.recv(1000)
            taken.set()
        while data := sock.recv(1000):
            received += data
    answer, = answers(received)
    assert answer.body == b'012'


def test_groups_and_named_parameters(app):
    @app.route('/item/<int:number>')
    async def item(number, request):
        return f'{number + 1} {request.method}'

    with app.start(port=0) as server:
        assert ask(server, get('/item/41'))[0].body == b'42 GET'


def test_bodies_are_read_and_answered_at_the_same_time(app):
    @app.route('/whole', methods=['POST'])
    async def whole(request):
        return await request.body()

    @app.route('/echo', methods=['POST'])
    async def echo(request):
        while data := await request.read(10):
            yield data

    with app.start(port=0) as server:
        body = b'x' * 100000
        assert ask(server, get('/whole', method='POST', body=body))[0].body == body
        wire = request('/echo', 'POST', 'Connection: close', 'Transfer-Encoding: chunked',
                       body=chunked(b'abc', b'def'))
        assert ask(server, wire)[0].body == b'abcdef'


def test_pipelined_requests_are_answered_in_order(app):
    @app.route('/<int:number>')
    async def index(number):
        if number % 2:
            await asyncio.sleep(0.002)
        return str(number)

    with app.start(port=0) as server:
        wires = [request(f'/{number}') for number in range(9)]
        found = ask(server, *wires, get('/9'))
        assert [answer.body for answer in found] == [b'%d' % number for number in range(10)]


def test_errors_are_answers(app, logged):
    @app.route('/taken')
    async def taken():
        await sleep(0)
        raise HTTPError(409, 'taken')

    @app.route('/wrong')
    async def wrong():
        raise ValueError('wrong')

    @app.route('/chunk')
    async def chunk():
        yield 7

    with app.start(port=0) as server:
        assert ask(server, get('/taken'))[0].status == 409
        assert ask(server, get('/wrong'))[0].status == 500
        assert ask(server, get('/chunk'))[0].status == 500
    assert 'ValueError: wrong' in logged.text
    assert 'HandlerError: yielded int' in logged.text


def test_a_client_that_leaves_ends_the_handler(app):
    ended = threading.Event()

    @app.route('/')
    async def index():
        try:
            yield b'x' * 100000
            await asyncio.sleep(100)
        finally:
            ended.set()

    with app.start(port=0, half_close_timeout=0.05) as server:
        with socket.create_connection(('127.0.0.1', server.port), timeout=10) as sock:
            sock.sendall(request('/'))
            sock.recv(1000)
        assert ended.wait(10)


def test_a_client_that_does_not_read_stops_the_handler(app):
    yielded = []

    @app.route('/')
    async def index():
        for _ in range(10000):
            yielded.append(1)
            yield b'x' * 10000

    with app.start(port=0) as server, socket.create_connection(
            ('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(get('/'))
        sock.recv(1000)
        # Another one is served meanwhile.
        assert ask(server, get('/missing'))[0].status == 404
        assert len(yielded) < 2000
        size = 0
        while data := sock.recv(1 << 20):
            size += len(data)
    assert size > 10000 * 10000


def test_a_handler_that_never_waits_lets_others_run(app):
    seen = threading.Event()

    @app.route('/endless')
    async def endless():
        while not seen.is_set():
            yield b''

    @app.route('/')
    def index():
        seen.set()
        return 'seen'

    with app.start(port=0) as server, socket.create_connection(
            ('127.0.0.1', server.port), timeout=10) as sock:
        sock.sendall(get('/endless'))
        assert ask(server, get('/'))[0].body == b'seen'
        assert sock.recv(100).startswith(b'HTTP/1.1 200')


def test_a_generator_may_yield_what_asyncio_can_await(app):
    async def fetch(text):
        await asyncio.sleep(0.001)
        return text

    @app.route('/')
    def index():
        first = yield fetch(b'a')
        yield first
        second = yield asyncio.gather(fetch(b'b'), fetch(b'c'))
        yield from second

    with app.start(port=0) as server:
        # The second time the bridge is there already.
        for _ in range(2):
            assert ask(server, get('/'))[0].body == b'abc'


def test_sync_handlers_leave_asyncio_alone_and_async_ones_import_it():
    program = (
        'import sys, tremolo\n'
        'app = tremolo.Tremolo()\n'
        'app.route("/")(lambda: "x")\n'
        'assert "asyncio" not in sys.modules\n'
        'async def index(): return "x"\n'
        'app.route("/a")(index)\n'
        'app.start(port=0).stop()\n'
        'assert "asyncio" in sys.modules\n')
    subprocess.run([sys.executable, '-c', program], check=True, timeout=60,
                   cwd=Path(__file__).resolve().parents[2])


@pytest.mark.parametrize('way', ['steps', 'fileno'])
def test_a_host_that_steps_the_server_drives_asyncio_too(app, way):
    @app.route('/')
    async def index():
        await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        yield b'a'
        yield await asyncio.wait_for(sleep(0.01, b'b'), 5)

    @app.route('/later')
    def later():
        yield asyncio.sleep(0.01)
        yield b'c'

    received = []
    with app.start(port=0, thread=False) as server:
        for path, body in (('/', b'ab'), ('/later', b'c')):
            client = threading.Thread(
                target=lambda path=path: received.extend(ask(server, get(path))))
            client.start()
            steps = 0
            while client.is_alive():
                steps += 1
                if way == 'steps':
                    server.step(0.05)
                else:
                    # As a host does that knows only when it is due.
                    deadline = server.next_deadline()
                    wait = 0.05 if deadline is None else deadline - server.reactor.time()
                    select.select([server.fileno()], [], [], min(max(wait, 0), 0.05))
                    server.step(0)
            assert received.pop().body == body
            assert steps < 100

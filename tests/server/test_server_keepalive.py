"""Keep-alive, pipelining, and answers without a body."""

from __future__ import annotations

import pytest
from server_support import answers, bodies, request, serving, virtual
from simulated import World

from tremolo import Tremolo, sleep


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        yield b'hello'

    @app.route('/plain')
    def plain():
        return 'plain'

    @app.route('/wait/<name>')
    def wait(name):
        yield sleep(0.5)
        yield name

    @app.route('/now/<name>')
    def now(name):
        return name

    @app.route('/stream', methods=['GET'])
    def stream():
        yield b'one'
        yield sleep(0.1)
        yield b'two'

    @app.route('/status/<int:code>')
    def status(code, response):
        response.status = code
        return ''

    return app


def test_http_1_1_keeps_the_connection(app):
    with virtual(app) as host:
        client = host.connect()
        for _ in range(3):
            client.send(request())
            answer = client.take()
            assert answer.status == 200
            assert answer.body == b'hello'
            assert 'connection' not in answer.headers
        assert not client.ended


def test_http_1_1_with_close_is_closed_after_the_answer(app):
    with virtual(app) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert answer.headers['connection'] == 'close'
        assert host.closed == {'done': 1}


def test_http_1_0_is_closed_after_the_answer(app):
    with virtual(app) as host:
        answer, = host.ask(request(version='1.0'))
        assert answer.headers['connection'] == 'close'
        assert answer.headers['content-length'] == '5'
        assert host.closed == {'done': 1}


def test_http_1_0_with_keep_alive_is_kept_and_told_so(app):
    with virtual(app) as host:
        client = host.connect()
        for _ in range(2):
            client.send(request('/', 'GET', 'Connection: keep-alive', version='1.0'))
            answer = client.take()
            assert answer.headers['connection'] == 'keep-alive'
            assert answer.body == b'hello'


def test_http_1_0_gets_a_stream_without_chunks_that_the_close_ends(app):
    with virtual(app) as host:
        answer, = host.ask(request('/stream', 'GET', 'Connection: keep-alive', version='1.0'))
        assert 'transfer-encoding' not in answer.headers
        assert answer.headers['connection'] == 'close'
        assert answer.body == b'onetwo'


def test_a_handler_may_close_the_connection(app):
    @app.route('/bye')
    def bye(response):
        response.headers['Connection'] = 'close'
        return 'bye'

    with virtual(app) as host:
        client = host.connect(request('/bye') + request('/'))
        client.until(b'bye')
        client.until_ended()
        assert client.ended == 'fin'
        answer, = answers(client.received)
        assert answer.headers['connection'] == 'close'


def test_pipelined_requests_are_answered_in_order(app):
    with virtual(app) as host:
        paths = ['/now/a', '/wait/b', '/now/c', '/wait/d', '/wait/e', '/now/f', '/now/g']
        client = host.connect(b''.join(request(path) for path in paths[:-1])
                              + request(paths[-1], 'GET', 'Connection: close'))
        client.until_ended()
        assert bodies(client.received) == [path[-1].encode() for path in paths]


@pytest.mark.parametrize('seed', range(5))
def test_pipelined_requests_in_any_pieces_are_answered_in_order(app, seed):
    world = World(seed=seed, latency=0.01, jitter=0.05, buffer_size=300, largest_piece=40)
    with virtual(app, world) as host:
        paths = [f'/{("now", "wait")[n % 3 == 0]}/{n}' for n in range(20)]
        client = host.connect(b''.join(map(request, paths)))
        client.fin()
        client.until_ended()
        assert bodies(client.received) == [b'%d' % n for n in range(20)]
        assert host.closed == {'client': 1}


def test_many_pipelined_requests_in_one_segment(app):
    with virtual(app) as host:
        client = host.connect(b''.join(request(f'/now/{n}') for n in range(100)))
        client.until(b'HTTP/1.1 200', 100)
        host.settle()
        assert bodies(client.received) == [b'%d' % n for n in range(100)]
        client.send(request('/now/last'))
        client.until(b'last')


def test_a_pipelining_client_leaves_turns_to_others(app):
    with virtual(app) as host:
        order = []

        @app.route('/count/<name>')
        def count(name):
            order.append(name)
            return ''

        host.connect(b''.join(request('/count/many') for _ in range(200)))
        host.connect(request('/count/one'))
        host.until(lambda: len(order) == 201)
        assert order.index('one') <= 64


def test_after_many_pipelined_requests_the_connection_still_goes_idle(app):
    with virtual(app, idle_timeout=7) as host:
        client = host.connect(b''.join(request(f'/now/{n}') for n in range(70)))
        client.until_ended()
        assert client.ended_at == pytest.approx(7, abs=0.1)
        assert host.closed == {'idle_timeout': 1}


def test_reading_pauses_while_too_much_is_pipelined_and_goes_on_later(app):
    world = World(buffer_size=4096)
    with virtual(app, world, pipeline_size=1000) as host:
        count = 1000
        client = host.connect(request('/wait/first')
                              + b''.join(request(f'/now/{n}') for n in range(count)))
        host.advance(0.4)
        connection, = host.server.connections
        assert connection.stream.paused
        assert connection.parser.buffered <= 1000 + 65536
        assert client.unsent > 0
        client.until(b'HTTP/1.1 200', count + 1)
        host.settle()
        assert not connection.stream.paused
        assert bodies(client.received)[1:] == [b'%d' % n for n in range(count)]


def test_a_leading_empty_line_is_skipped(app):
    with virtual(app) as host:
        client = host.connect(request() + b'\r\n' + request())
        client.until(b'hello', 2)


@pytest.mark.parametrize('path', ['/', '/plain', '/stream', '/wait/a', '/nowhere'])
def test_head_gets_the_head_of_get_and_no_body(app, path):
    with virtual(app) as host:
        client = host.connect(request(path))
        get = client.take()
        client.send(request(path, 'HEAD') + request('/now/next'))
        head = client.take('HEAD')
        assert {**head.headers, 'date': ''} == {**get.headers, 'date': ''}
        assert head.status == get.status
        assert client.take().body == b'next'


def test_a_streaming_generator_is_ended_under_head(app):
    ended = []

    @app.route('/endless')
    def endless():
        try:
            while True:
                yield b'x' * 1000
                yield sleep(1)
        finally:
            ended.append(host.now)

    with virtual(app) as host:
        client = host.connect(request('/endless', 'HEAD') + request('/now/next'))
        assert client.take('HEAD').headers['transfer-encoding'] == 'chunked'
        assert client.take().body == b'next'
        assert ended
        assert ended[0] < 0.5


@pytest.mark.parametrize('streams', [True, False])
def test_a_generator_that_flushes_and_then_waits_is_ended_under_head(app, streams):
    ended = []

    def endless(stream=streams, buffer_size=10):
        try:
            yield b'x' * 1000
            yield sleep(1000)
        finally:
            ended.append(host.now)

    app.route('/endless')(endless)
    with virtual(app) as host:
        client = host.connect(request('/endless', 'HEAD') + request('/now/next'))
        assert client.take('HEAD').status == 200
        assert client.take().body == b'next'
        assert ended
        assert ended[0] < 0.5


@pytest.mark.parametrize('status', [204, 304])
def test_an_answer_without_a_body_is_framed_as_one(app, status):
    with virtual(app) as host:
        client = host.connect(request(f'/status/{status}') + request('/now/next'))
        answer = client.take()
        assert answer.status == status
        assert 'content-length' not in answer.headers
        assert 'transfer-encoding' not in answer.headers
        assert 'content-type' not in answer.headers
        assert client.take().body == b'next'


def test_http_1_0_without_host_is_served(app):
    with virtual(app) as host:
        answer, = host.ask(b'GET / HTTP/1.0\r\n\r\n')
        assert answer.body == b'hello'


def test_answers_carry_the_date_and_the_server(app):
    with virtual(app) as host:
        client = host.connect(request())
        answer = client.take()
        assert answer.headers['date'] == 'Sun, 09 Sep 2001 01:46:40 GMT'
        assert answer.headers['server'] == 'tremolo'
        host.advance(2)
        client.send(request())
        assert client.take().headers['date'] == 'Sun, 09 Sep 2001 01:46:42 GMT'


def test_the_server_field_can_be_left_out(app):
    with virtual(app, server_name='off') as host:
        client = host.connect(request())
        assert 'server' not in client.take().headers


def test_a_real_client_pipelines_over_a_real_socket(app):
    with serving(app) as host:
        count = 64
        client = host.connect(b''.join(request(f'/now/{n}') for n in range(count)))
        assert [client.take().body for _ in range(count)] == [b'%d' % n for n in range(count)]


def test_with_an_idle_timeout_of_0_each_answer_says_close():
    app = Tremolo()

    @app.route('/')
    def hello(**server):
        yield b'hello'

    with serving(app, idle_timeout=0) as host:
        client = host.connect(request('/'))
        client.until(b'hello')
        assert b'\r\nConnection: close\r\n' in client.received
        assert client.sock.recv(1) == b''

"""How connections end: half-closed, reset, hung up, refused; and that each end has its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from server_support import answers, bodies, request, serving, virtual

from tremolo import Tremolo, sleep
from tremolo.server import REASONS


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()
    app.context.ended = []

    @app.route('/', methods=['GET', 'POST'])
    def index():
        yield b'hello'

    @app.route('/wait')
    def wait(loop):
        try:
            yield sleep(1000)
        finally:
            app.context.ended.append(loop.now)

    @app.route('/read', methods=['POST'])
    def read(request, loop):
        try:
            yield request.body()
        finally:
            app.context.ended.append(loop.now)

    @app.route('/endless')
    def endless(loop):
        try:
            while True:
                yield b'x' * 10000
        finally:
            app.context.ended.append(loop.now)

    return app


def test_every_reason_is_reached_by_a_test():
    tests = Path(__file__).parents[1]
    text = ''.join(path.read_text() for room in ('server', 'websocket', 'edge', 'places')
                   for path in (tests / room).glob(f'test_{room}_*.py'))
    reached = {reason for found in re.findall(r'closed == \{([^}]*)\}', text)
               for reason in re.findall(r"'([^']+)'", found)}
    assert reached == set(REASONS)


def test_whole_pipelined_requests_are_answered_after_the_fin(app):
    with serving(app) as host:
        client = host.connect(request() * 100)
        client.fin()
        assert bodies(client.read_all()) == [b'hello'] * 100
        host.wait_for(lambda: host.server.closed)
        assert host.server.closed == {'client': 1}


def test_a_client_that_ends_between_requests_is_closed(app):
    with virtual(app) as host:
        client = host.connect(request())
        client.take()
        client.fin()
        client.until_ended()
        assert host.closed == {'client': 1}


def test_a_client_that_never_sends_anything_is_closed_at_its_fin(app):
    with virtual(app) as host:
        client = host.connect()
        client.fin()
        client.until_ended()
        assert client.received == b''
        assert host.closed == {'client': 1}


@pytest.mark.parametrize('part', [1, 10, 20])
def test_a_client_that_ends_within_a_head_gets_no_answer(app, part):
    with virtual(app) as host:
        client = host.connect(request() + request()[:part])
        client.fin()
        client.until_ended()
        assert bodies(client.received) == [b'hello']
        assert host.closed == {'truncated': 1}


@pytest.mark.parametrize(('path', 'method', 'lines'), [
    ('/wait', 'GET', ()), ('/read', 'POST', ('Content-Length: 10',)), ('/endless', 'GET', ())])
@pytest.mark.parametrize('real', [False, True])
def test_a_reset_cancels_the_handler_at_once(app, path, method, lines, real):
    data = request(path, method, *lines)
    if real:
        with serving(app) as host:
            client = host.connect(data)
            host.wait_for(lambda: [each for each in host.server.connections if each.task])
            client.reset()
            host.wait_for(lambda: app.context.ended)
            assert host.on_loop(lambda: dict(host.server.closed)) == {'reset': 1}
            assert not host.on_loop(lambda: list(host.server.connections))
        return
    with virtual(app) as host:
        client = host.connect()
        client.reading = False
        client.send(data)
        host.advance(1)
        client.reset()
        host.settle()
        assert app.context.ended == [pytest.approx(1, abs=0.01)]
        assert host.closed == {'reset': 1}


def test_a_unix_client_that_closes_hangs_up_and_cancels_the_handler_at_once(app, tmp_path):
    with serving(app, bind=f'unix:{tmp_path}/socket', half_close_timeout=100) as host:
        client = host.connect(request('/wait'))
        host.wait_for(lambda: [each for each in host.server.connections if each.task])
        client.close()
        host.wait_for(lambda: app.context.ended)
        assert host.running.url == f'unix:{tmp_path}/socket'
        host.wait_for(lambda: host.server.closed)
        closed = dict(host.server.closed)
        assert closed == {'hang-up': 1}


def test_a_client_that_resets_while_reading_is_paused_costs_no_cpu(app):
    with serving(app, pipeline_size=1000) as host:
        client = host.connect(request('/wait') + request() * 5000)
        host.wait_for(lambda: [each for each in host.server.connections if each.stream.paused])
        client.reset()
        host.wait_for(lambda: not host.server.connections and app.context.ended)
        before = host.on_loop(lambda: host.reactor.turns)
        other = host.connect(request())
        assert other.take().body == b'hello'
        assert host.on_loop(lambda: host.reactor.turns) - before < 20


def test_a_half_closed_client_costs_no_cpu(app):
    with serving(app, half_close_timeout=100) as host:
        client = host.connect(request('/wait'))
        client.fin()
        host.wait_for(lambda: [each for each in host.server.connections if each.stream.eof])
        before = host.on_loop(lambda: host.reactor.turns)
        other = host.connect(request())
        assert other.take().body == b'hello'
        assert host.on_loop(lambda: host.reactor.turns) - before < 20
        client.reset()
        host.wait_for(lambda: app.context.ended)


def test_a_client_that_stops_reading_costs_no_cpu(app):
    with serving(app) as host:
        client = host.connect(request('/endless'))
        host.wait_for(lambda: [each for each in host.server.connections
                               if each.stream.buffered > each.stream.high])
        before = host.on_loop(lambda: host.reactor.turns)
        other = host.connect(request())
        assert other.take().body == b'hello'
        assert host.on_loop(lambda: host.reactor.turns) - before < 20
        client.reset()
        host.wait_for(lambda: app.context.ended)


def test_a_client_that_closes_in_the_middle_of_a_large_answer_is_no_error(app):
    @app.route('/big')
    def big():
        return b'x' * 5_000_000

    with serving(app) as host:
        for _ in range(5):
            client = host.connect(request('/big') * 3)
            client.sock.recv(1000)
            client.close()
        host.wait_for(lambda: not host.server.connections)
        assert host.connect(request()).take().body == b'hello'


@pytest.mark.parametrize('phase', ['new', 'head', 'idle', 'busy', 'draining', 'lingering'])
@pytest.mark.parametrize('end', ['reset', 'fin', 'close'])
def test_a_client_may_leave_at_any_time(app, phase, end):
    data = {
        'new': b'', 'head': b'GET / HT', 'idle': request(), 'busy': request('/wait'),
        'draining': request('/', 'POST', 'Content-Length: 10'), 'lingering': b'BAD\r\n\r\n'}[phase]
    with virtual(app) as host:
        client = host.connect(data)
        client.lingers = True
        host.advance(0.5)
        {'reset': client.reset, 'fin': client.fin, 'close': client.close}[end]()
        # (A closed and a half-closed client look alike as long as nothing is sent.)
        host.advance(31 if phase == 'busy' else 2)
        assert not host.server.connections
        assert sum(host.closed.values()) == 1
        assert not host.reactor.tasks
        assert host.connect(request()).take().body == b'hello'


# -- refusals -------------------------------------------------------------------------------------


REFUSED = [
    (b'BAD\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n', 400),
    (b'GET / HTTP/1.1\nHost: a\n\n', 400),
    (b'GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n', 400),
    (b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400),
    (b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n', 400),
    (b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n', 400),
    (b'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n', 400),
    (b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 501),
    (b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n', 400),
    (b'POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n', 417),
    (b'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 501),
    (b'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505),
    (b'GET /' + b'x' * 40000, 414),
    (b'GET / HTTP/1.1\r\nHost: a\r\nA: ' + b'x' * 40000, 431),
    (b'GET / HTTP/1.1\r\nHost: a\r\n' + b'A: b\r\n' * 129 + b'\r\n', 431),
    (b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n', 413),
]


@pytest.mark.parametrize(('data', 'status'), REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize('before', [0, 1, 40])
def test_a_refused_request_is_answered_and_no_other_is_read(app, data, status, before):
    with virtual(app, body_size=5000) as host:
        client = host.connect(request() * before + data + request() * 3)
        client.until_ended()
        got = answers(client.received)
        assert [answer.status for answer in got] == [200] * before + [status]
        assert got[-1].headers['connection'] == 'close'
        assert int(got[-1].headers['content-length']) == len(got[-1].body)
        assert client.ended == 'fin'
        assert host.closed == {'refused': 1}


def test_a_refusal_reaches_a_client_that_is_still_sending(app):
    with serving(app, linger_timeout=60) as host:
        client = host.connect(b'GET / HTTP/1.1\r\nHost: a\r\nA: ')
        try:
            client.send(b'x' * 3_000_000)
        except OSError:
            pytest.fail('the answer may be lost')
        assert answers(client.read_all())[0].status == 431


def test_404_and_405_are_ordinary_answers(app):
    with virtual(app) as host:
        client = host.connect(request('/nowhere') + request('/', 'DELETE') + request())
        assert client.take().status == 404
        answer = client.take()
        assert (answer.status, answer.headers['allow']) == (405, 'GET, HEAD, OPTIONS, POST')
        assert client.take().body == b'hello'


def test_the_rest_of_pipelined_requests_is_not_answered_after_a_failure(app, logged):
    @app.route('/fail')
    def fail():
        yield b'begun'
        yield sleep(0.1)
        raise ValueError

    with virtual(app) as host:
        client = host.connect(request('/fail') + request())
        client.until_ended()
        assert b'hello' not in client.received
        assert host.closed == {'failed': 1}


# -- closing in the middle of things --------------------------------------------------------------


@pytest.mark.parametrize('how', ['abort', 'close', 'cut', 'shutdown'])
@pytest.mark.parametrize('kind', ['plain', 'generator', 'waited', 'raised'])
def test_a_handler_that_closes_its_own_stream_harms_nobody(app, how, kind, logged):
    def end(connection):
        if how == 'cut':
            connection.abort('failed')
        else:
            getattr(connection.stream, how)()

    @app.route('/plain')
    def plain(request):
        end(request.connection)
        return 'x'

    @app.route('/generator')
    def generator(request):
        yield 'x'
        end(request.connection)
        yield 'y'

    @app.route('/raised')
    def raised(request):
        end(request.connection)
        raise ValueError

    @app.route('/waited')
    def waited(request):
        yield 'x'
        yield sleep(0.1)
        end(request.connection)
        yield 'y'
        yield sleep(0.1)
        yield 'z'

    with virtual(app) as host:
        client = host.connect(request(f'/{kind}') + request())
        client.until_ended()
        host.advance(5)
        assert not host.server.connections
        assert not host.reactor.tasks
        assert host.connect(request()).take().body == b'hello'

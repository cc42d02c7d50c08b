"""The rules about clocks, sockets and answers that others' advisories teach, each a named test."""

from __future__ import annotations

import pytest
from server_support import answers, bodies, chunked, request, serving, virtual
from simulated import World

from tremolo import HTTPError, Tremolo, sleep
from tremolo.loop.stream import READ_SIZE


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        return 'hello'

    @app.route('/wait')
    def wait():
        yield sleep(0.5)
        yield 'waited'

    @app.route('/read', methods=['POST'])
    def read(request):
        data = yield request.body()
        yield data

    @app.route('/query')
    def query(request):
        return request.query

    return app


@pytest.mark.parametrize('bad', [
    b'GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n',
    b'POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    b'\0\0\0\0\r\n\r\n'])
def test_rule_10_after_an_error_comes_an_answer_and_never_another_request(app, bad):
    with serving(app) as host:
        client = host.connect(request() + bad + request('/query?smuggled=1') * 50)
        got = answers(client.read_all())
        assert len(got) == 2
        assert got[0].body == b'hello'
        assert got[1].status == 400 or got[1].body == b'hello'
        assert b'smuggled' not in client.received


@pytest.mark.parametrize('path', ['/', '/wait'])
def test_rule_12_what_is_pipelined_is_bounded_and_reading_pauses(app, path):
    world = World(buffer_size=5000)
    with virtual(app, world, pipeline_size=2000, rate_grace=1000) as host:
        client = host.connect()
        client.reading = False
        client.send(request(path) * 20_000)
        most = 0
        for _ in range(20):
            host.advance(0.25)
            one, = host.server.connections
            most = max(most, one.parser.buffered)
            assert one.stream.buffered < 200_000
        assert most < 2000 + READ_SIZE
        assert client.unsent > 500_000


@pytest.mark.parametrize('framing', ['sized', 'chunked'])
@pytest.mark.parametrize('size', [10, 3000])
def test_rule_13_an_unread_body_is_drained_up_to_a_bound_or_the_connection_ends(
        app, framing, size):
    body = (request('/query?smuggled=1') * 100)[:size]
    if framing == 'sized':
        data = request('/', 'POST', body=body)
    else:
        data = request('/', 'POST', 'Transfer-Encoding: chunked') + chunked(body)
    with virtual(app, discard_size=1000) as host:
        client = host.connect(data + request('/query?next=1', 'GET', 'Connection: close'))
        client.until_ended()
        expected = [b'hello', b'{"next": ["1"]}'] if size < 1000 else [b'hello']
        assert bodies(client.received) == expected


@pytest.mark.parametrize(('data', 'latest'), [
    (b'', 3), (b'G', 6.1), (request()[:-2], 6.1), (request(), 3.1),
    (request('/read', 'POST', 'Content-Length: 5'), 6.1),
    (request('/read', 'POST', 'Transfer-Encoding: chunked') + b'5\r\nab', 6.1),
    (request('/', 'POST', 'Content-Length: 5'), 6.1),
    (b'BAD\r\n\r\n', 3.1)])
def test_rule_14_every_wait_for_the_client_has_a_deadline(app, data, latest):
    with virtual(app, first_byte_timeout=3, head_timeout=3, idle_timeout=3, stall_timeout=3,
                 linger_timeout=3) as host:
        client = host.connect(data)
        client.lingers = True
        host.until(lambda: host.server.closed)
        assert host.now <= latest


def test_rule_14_an_answer_that_is_not_taken_has_a_deadline(app):
    @app.route('/big')
    def big():
        return b'x' * 1_000_000

    with virtual(app, stall_timeout=30) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/big'))
        host.until(lambda: host.server.closed)
        # (What the client takes is looked at every 5 seconds, `rate_grace`.)
        assert host.now <= 35.1


def test_rule_15_every_queue_has_a_cap_and_a_counter(app):
    @app.route('/slow', methods=['POST'])
    def slow(request, stream=True):
        while True:
            data = yield request.read(1000)
            yield sleep(0.1)
            yield data * 1000

    world = World(buffer_size=5000)
    with virtual(app, world) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/slow', 'POST', 'Content-Length: 9000000') + b'x' * 9_000_000)
        for _ in range(20):
            host.advance(0.2)
            one, = host.server.connections
            # Bytes of the parser, of the inbox, and of the answer.
            assert one.parser.buffered <= READ_SIZE
            assert one.response.request.inbox.size <= 2 * 65536
            assert one.stream.buffered <= one.stream.high + 1_100_000
            assert one.stream.sent <= 1_500_000
        client.reset()
        host.settle()
        assert host.closed == {'reset': 1}


def test_rule_15_connections_have_a_cap_and_more_wait_in_the_kernel(app):
    with virtual(app, connections=3) as host:
        clients = [host.connect(request('/wait')) for _ in range(10)]
        host.advance(0.1)
        assert len(host.server.connections) == 3
        done = 0
        while done < 10:
            host.until(lambda: any(b'waited' in each.received for each in clients))
            assert len(host.server.connections) <= 3
            for each in list(clients):
                if b'waited' in each.received:
                    done += 1
                    each.close()
                    clients.remove(each)
        host.settle()
        assert sum(host.closed.values()) == 10


def test_rule_18_only_the_ampersand_parts_a_query_and_its_fields_are_counted(app):
    with virtual(app) as host:
        client = host.connect(request('/query?a=1;b=2&a=&c=%26+x&=%C3%A9')
                              + request('/query?' + '&'.join(['a=1'] * 1000))
                              + request('/query?' + '&'.join(['a=1'] * 1001)))
        assert client.take().body == (
            b'{"a": ["1;b=2", ""], "c": ["& x"], "": ["\\u00e9"]}')
        assert client.take().body == b'{"a": [' + b', '.join([b'"1"'] * 1000) + b']}'
        assert client.take().status == 400


@pytest.mark.parametrize('bad', [
    ('X\r\n', 'a'), ('X:', 'a'), ('', 'a'), ('X', 'a\r\nY: b'), ('X', 'a\0'), ('X', '\x7f'),
    ('Transfer-Encoding', 'chunked'), ('Transfer-Encoding', 'gzip')])
def test_rule_20_names_and_values_of_an_answer_are_checked(app, bad, logged):
    @app.route('/bad')
    def bad_header(response):
        response.headers[bad[0]] = bad[1]
        return 'x'

    with virtual(app) as host:
        client = host.connect(request('/bad') + request())
        assert client.take().status == 500
        assert client.take().body == b'hello'


@pytest.mark.parametrize('reason', ['a\r\nX: y', '\0', '\n'])
def test_rule_20_the_reason_of_a_status_is_checked(app, reason, logged):
    @app.route('/bad')
    def bad_reason(response):
        response.status = 200, reason
        return 'x'

    with virtual(app) as host:
        client = host.connect(request('/bad') + request())
        assert client.take().status == 500
        assert client.take().body == b'hello'


@pytest.mark.parametrize(('method', 'status'), [('HEAD', 200), ('GET', 204), ('GET', 304)])
def test_rule_20_no_body_where_none_belongs(app, method, status):
    @app.route('/none')
    def none(response):
        response.status = status
        yield b'x' if status == 200 else b''

    with virtual(app) as host:
        client = host.connect(request('/none', method) + request())
        assert client.take(method).status == status
        assert client.take().body == b'hello'


def test_rule_20_a_length_that_does_not_match_closes(app, logged):
    @app.route('/short')
    def short(response):
        response.headers['Content-Length'] = '10'
        yield b'short'
        yield sleep(0.1)

    with virtual(app) as host:
        client = host.connect(request('/short') + request())
        client.until_ended()
        assert client.received.endswith(b'short')
        assert host.closed == {'failed': 1}


NASTY = '<script>alert(1)</script>'


@pytest.mark.parametrize('debug', [False, True])
def test_rule_24_error_pages_escape_and_reflect_nothing_in_production(app, debug, logged):
    @app.route('/fail')
    def fail(request):
        raise ValueError(request.query['q'][0])

    @app.route('/error')
    def error(request):
        raise HTTPError(400, request.query['q'][0])

    with virtual(app, debug=debug) as host:
        for path in ('/fail', '/nowhere', f'/nowhere/{NASTY}'):
            client = host.connect(request(f'{path}?q={NASTY}'))
            answer = client.take()
            assert answer.status in (404, 500)
            assert b'<script' not in answer.body
            assert (b'script' in answer.body) is (debug and path != '/nowhere')
        client = host.connect(request(f'/error?q={NASTY}'))
        # What the application says itself is sent as it is, and as plain text.
        assert client.take().headers['content-type'] == 'text/plain; charset=utf-8'
        client = host.connect(b'GET /' + NASTY.encode() + b' \r\n\r\n')
        client.until_ended()
        assert b'script' not in client.received


@pytest.mark.parametrize('error', [ValueError, SystemExit, GeneratorExit, MemoryError])
def test_rule_28_no_exception_of_a_handler_ends_the_loop(app, error, logged):
    @app.route('/fail')
    def fail():
        raise error

    @app.route('/fail-late')
    def fail_late():
        yield sleep(0.001)
        raise error

    @app.route('/fail-thread')
    def fail_thread(thread=True):
        raise error

    with serving(app) as host:
        for path in ('/fail', '/fail-late', '/fail-thread'):
            client = host.connect(request(path) + request())
            assert client.take().status == 500
            assert client.take().body == b'hello'


def test_rule_28_no_byte_of_a_client_ends_the_loop(app):
    with virtual(app) as host:
        for byte in range(256):
            for before in (b'', b'GET /', b'GET / HTTP/1.1\r\nHost: a\r\nX: ',
                           b'POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'):
                client = host.connect(before + bytes([byte]) * 20 + b'\r\n\r\n')
                client.fin()
                client.until_ended()
        assert host.connect(request()).take().body == b'hello'
        assert not host.reactor.tasks

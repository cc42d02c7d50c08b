"""Which answers have a line, and what it says of each: one line for one answer, exactly."""

from __future__ import annotations

import asyncio
import logging

import pytest
from server_support import bodies, request, serving, virtual
from simulated import World
from websocket_frames import CLOSE, TEXT, frame, handshake

from tremolo import Tremolo, sleep
from tremolo.access import log as log_module
from tremolo.asgi_app import AsgiApplication
from tremolo.wsgi_app import WsgiApplication

LAST = 'Connection: close'
SHORT = {'access_log': True,
         'access_logformat': '{client} {method} {target} {status} {bytes} {reason}'}


def application() -> Tremolo:
    app = Tremolo()

    @app.route('/plain')
    def plain():
        return b'12345'

    @app.route('/generator')
    def generator():
        yield b'12'
        yield sleep(0.001)
        yield b'345'

    @app.route('/thread')
    def thread(thread=True):
        return '12345'

    @app.route('/fails')
    def fails():
        raise ValueError('no')

    @app.route('/dies')
    def dies():
        yield b'x' * 100_000
        yield sleep(0.001)
        raise ValueError('no')

    @app.route('/waits')
    def waits():
        yield sleep(3600)

    @app.route('/endless')
    def endless():
        while True:
            yield b'x' * 10_000

    @app.route('/bodiless')
    def bodiless(response):
        response.status = 204
        return b''

    @app.route('/etag')
    def etag(response):
        response.headers['ETag'] = '"1"'
        return b'12345'

    @app.route('/events')
    def events(sse):
        yield sse.send('one')
        yield sse.send('two')

    @app.route('/upgrade')
    def upgrade(response):
        stream = response.upgrade('echo')
        data = yield stream.read(65536)
        stream.write(data.upper())

    @app.route('/socket')
    def socket_(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send((yield websocket.receive()))

    return app


def short(kept):
    """The lines without the client, whose address is that of the simulated world."""
    return [line.split(' ', 1)[1] for line in kept.lines]


@pytest.mark.parametrize('path', ['plain', 'generator', 'thread', 'async'])
def test_each_kind_of_handler_has_a_line(kept, path):
    """Answers without an access log: fault 43 of the earlier tremolo."""
    app = application()

    @app.route('/async')
    async def coroutine():
        await asyncio.sleep(0)
        return '12345'

    with serving(app, **SHORT) as host:
        assert bodies(host.connect(request(f'/{path}', 'GET', LAST)).read_all()) == [b'12345']
    assert kept.lines == [f'127.0.0.1 GET /{path} 200 5 -']
    assert kept.closed


def test_answers_without_a_body_have_no_bytes(kept):
    with virtual(application(), **SHORT) as host:
        host.ask(request('/plain', 'HEAD') + request('/bodiless')
                 + request('/etag', 'GET', 'If-None-Match: "1"', LAST), 'HEAD')
    assert short(kept) == ['HEAD /plain 200 0 -', 'GET /bodiless 204 0 -', 'GET /etag 304 0 -']


def test_errors_have_lines_of_their_answers(kept, logged):
    with virtual(application(), **SHORT) as host:
        found = host.ask(request('/none') + request('/plain', 'PUT')
                         + request('/fails', 'GET', LAST))
    assert [answer.status for answer in found] == [404, 405, 500]
    sizes = [len(answer.body) for answer in found]
    assert short(kept) == [f'GET /none 404 {sizes[0]} -', f'PUT /plain 405 {sizes[1]} -',
                           f'GET /fails 500 {sizes[2]} -']


@pytest.mark.parametrize('data, status', [
    (b'GET / HTTP/1.1\r\n\r\n', 400), (b'nonsense\r\n\r\n', 400), (b'\x16\x03\x01\x02\x00', 400),
    (b'GET / HTTP/1.1\r\nHost: t\r\nA: ' + b'x' * 70000, 431),
    (b'GET / HTTP/2.0\r\nHost: t\r\n\r\n', 505),
])
def test_what_is_refused_has_a_line_with_the_status_alone(kept, logged, data, status):
    with virtual(application(), **SHORT) as host:
        client = host.connect(data)
        client.until(b'\r\n\r\n')
        assert client.received.startswith(b'HTTP/1.1 %d ' % status)
    assert kept.lines == [f'127.0.0.1 - - {status} - refused']


def test_a_head_that_does_not_come_whole_has_a_line(kept, logged):
    with virtual(application(), head_timeout=5, **SHORT) as host:
        client = host.connect(request('/plain') + b'GET /never')
        client.until(b' 408 ')
    assert short(kept) == ['GET /plain 200 5 -', '- - 408 - head_timeout']


def test_a_body_that_breaks_http_has_the_line_of_its_request(kept, logged):
    app = Tremolo()

    @app.route('/upload', methods=['POST'])
    def upload(request):
        yield (yield request.body())

    with virtual(app, **SHORT) as host:
        client = host.connect(request('/upload', 'POST', 'Transfer-Encoding: chunked')
                              + b'5\r\nhello\r\nnonsense\r\n')
        client.until(b'\r\n\r\n')
        host.advance(40)
        size = int(client.received.split(b'Content-Length: ')[1].split(b'\r\n')[0])
    assert short(kept) == [f'POST /upload 400 {size} -']


def test_a_connection_without_a_request_has_no_line(kept):
    with virtual(application(), **SHORT) as host:
        host.connect().fin()
        host.connect(request('/plain')).reset()
        host.advance(1000)
    assert short(kept) in ([], ['GET /plain 200 5 -'])


def test_an_answer_that_is_cut_tells_what_was_sent_and_why(kept, logged):
    world = World(seed=3, buffer_size=50_000)
    with virtual(application(), world, **SHORT) as host:
        client = host.connect(request('/endless'))
        client.until(b'xxx')
        client.reading = False
        host.advance(1)
        client.reset()
        host.settle()
        received = client.received.count(b'x')
    [line] = short(kept)
    method, target, status, size, reason = line.split(' ')
    assert (method, target, status, reason) == ('GET', '/endless', '200', 'reset')
    # What the kernel has taken: more than the client read, and no more than both buffers hold.
    assert received <= int(size) <= received + 2 * 50_000 + 10_000


def test_a_client_that_leaves_before_its_answer_has_a_line_without_a_status(kept):
    with virtual(application(), **SHORT) as host:
        client = host.connect(request('/waits'))
        host.advance(1)
        client.reset()
        host.settle()
    assert short(kept) == ['GET /waits - 0 reset']


def test_a_slow_reader_that_is_cut_has_the_reason(kept, logged):
    with virtual(application(), stall_timeout=10, **SHORT) as host:
        client = host.connect(request('/endless'))
        client.reading = False
        host.advance(100)
    [line] = short(kept)
    assert line.startswith('GET /endless 200 ') and line.endswith(' stall_timeout')


def test_a_handler_that_dies_in_its_answer_has_one_line(kept, logged):
    with virtual(application(), **SHORT) as host:
        client = host.connect(request('/dies'))
        client.until_ended()
    assert short(kept) == ['GET /dies 200 100000 failed']


def test_handler_timeout_and_limit_concurrency_are_503(kept, logged):
    with virtual(application(), handler_timeout=5, limit_concurrency=1, **SHORT) as host:
        first = host.connect(request('/waits'))
        host.advance(1)
        [second] = host.ask(request('/plain', 'GET', LAST))
        first.until_ended()
    assert second.status == 503
    assert short(kept)[0] == f'GET /plain 503 {len(second.body)} -'
    assert first.received.startswith(b'HTTP/1.1 503 ')
    assert short(kept)[1:] == ['GET /waits 503 - handler_timeout']


def test_a_server_that_stops_has_lines_for_what_it_cuts(kept, logged):
    with virtual(application(), shutdown_timeout=3, **SHORT) as host:
        host.connect(request('/waits'))
        host.settle()
        host.server.drain()
        host.advance(5)
        assert short(kept) == ['GET /waits - 0 shutdown']


def test_a_websocket_has_one_line_at_its_end(kept):
    form = '{method} {target} {status} {bytes} {ms} {reason}'
    with virtual(application(), access_log=True, access_logformat=form) as host:
        client = host.connect(handshake('/socket'))
        client.until(b'\r\n\r\n')
        host.advance(2)
        assert kept.lines == []
        client.send(frame(TEXT, b'12345'))
        client.until(b'12345')
        client.send(frame(CLOSE, b'\x03\xe8'))
        client.until_ended()
    [line] = kept.lines
    method, target, status, size, ms, reason = line.split(' ')
    # The echo of 7 bytes, and a close of 4.
    assert (method, target, status, size, reason) == ('GET', '/socket', '101', '11', '-')
    assert float(ms) >= 2000


def test_a_websocket_that_is_cut_has_the_reason(kept, logged):
    with virtual(application(), ws_ping_interval=5, ws_ping_timeout=5, **SHORT) as host:
        client = host.connect(handshake('/socket'))
        client.until(b'\r\n\r\n')
        host.advance(60)
    [line] = short(kept)
    assert line.startswith('GET /socket 101 ') and line.endswith(' ws_ping_timeout')


def test_what_goes_on_by_another_protocol_when_the_server_is_closed_has_the_reason(kept):
    """(SIGQUIT: a WebSocket was `reset`, as if its client were to blame, an upgrade had none.)"""
    with virtual(application(), **SHORT) as host:
        upgrade = request('/upgrade', 'GET', 'Connection: upgrade', 'Upgrade: echo')
        for data in (handshake('/socket'), upgrade):
            host.connect(data).until(b'\r\n\r\n')
        host.server.close()
    assert sorted(line.split()[0::4] for line in short(kept)) == [['GET', 'shutdown']] * 2


def test_a_handshake_that_is_refused_has_its_status(kept):
    with virtual(application(), **SHORT) as host:
        host.ask(request('/socket', 'GET', LAST))
    assert short(kept)[0].startswith('GET /socket 426 ')


def test_another_upgrade_has_one_line_at_its_end(kept):
    with virtual(application(), **SHORT) as host:
        client = host.connect(request('/upgrade', 'GET', 'Connection: upgrade', 'Upgrade: echo'))
        client.until(b'\r\n\r\n')
        host.advance(1)
        assert kept.lines == []
        client.send(b'abc')
        client.until_ended()
    assert short(kept) == ['GET /upgrade 101 - -']


def test_events_have_one_line(kept):
    with virtual(application(), **SHORT) as host:
        [answer] = host.ask(request('/events', 'GET', LAST))
    assert short(kept) == [f'GET /events 200 {len(answer.body)} -']


def test_middleware_changes_nothing(kept):
    app = application()

    @app.middleware
    def around(request):
        yield

    with virtual(app, **SHORT) as host:
        host.ask(request('/plain') + request('/generator', 'GET', LAST))
    assert short(kept) == ['GET /plain 200 5 -', 'GET /generator 200 5 -']


def test_a_mounted_application_and_a_second_address_share_the_log(kept):
    app, sub = application(), Tremolo()
    sub.route('/')(lambda: b'sub')
    app.mount('/sub', sub)
    app.listen(0, body_size='1MiB')
    with virtual(app, **SHORT) as host:
        client = host.connect(request('/sub/', 'GET', LAST), listener=1)
        client.until_ended()
    assert short(kept) == ['GET /sub/ 200 3 -']


def test_a_file_sent_by_the_kernel_has_its_size(kept, tmp_path):
    (tmp_path / 'film').write_bytes(b'x' * 300_000)
    app = Tremolo()
    app.static('/static', tmp_path)
    with serving(app, **SHORT) as host:
        data = host.connect(request('/static/film') + request(
            '/static/film', 'GET', 'Range: bytes=0-9', LAST)).read_all()
    assert data.count(b'x') >= 300_010
    assert kept.lines == ['127.0.0.1 GET /static/film 200 300000 -',
                          '127.0.0.1 GET /static/film 206 10 -']


async def asgi(scope, receive, send):
    assert scope['type'] == 'http'
    await send({'type': 'http.response.start', 'status': 201, 'headers': []})
    if scope['path'] == '/dies':
        await send({'type': 'http.response.body', 'body': b'123', 'more_body': True})
        raise ValueError('no')
    await send({'type': 'http.response.body', 'body': b'12345'})


def test_an_asgi_application_has_lines_also_if_it_dies_in_its_answer(kept, logged):
    with serving(AsgiApplication(asgi), lifespan='off', **SHORT) as host:
        client = host.connect(request('/') + request('/dies'))
        with pytest.raises(OSError):
            while client.sock.recv(65536):
                pass
            raise OSError
    assert kept.lines == ['127.0.0.1 GET / 201 5 -', '127.0.0.1 GET /dies 201 3 failed']


def test_a_wsgi_application_has_lines(kept, logged):
    def app(environ, start_response):
        if environ['PATH_INFO'] == '/fails':
            raise ValueError('no')
        start_response('200 OK', [])
        return [b'123', b'45']

    with serving(WsgiApplication(app), **SHORT) as host:
        found = host.ask(request('/') + request('/fails', 'GET', LAST))
    assert kept.lines == ['127.0.0.1 GET / 200 5 -',
                          f'127.0.0.1 GET /fails 500 {len(found[1].body)} -']


def test_the_client_is_the_one_that_a_trusted_proxy_names(kept):
    with virtual(application(), trusted_proxies='*', **SHORT) as host:
        host.ask(request('/plain', 'GET', 'X-Forwarded-For: 203.0.113.7') + request(
            '/plain', 'GET', 'X-Forwarded-For: 2001:db8::7', LAST))
    assert [line.split(' ')[0] for line in kept.lines] == ['203.0.113.7', '2001:db8::7']


def test_a_client_that_is_not_trusted_names_nobody(kept):
    with virtual(application(), **SHORT) as host:
        host.ask(request('/plain', 'GET', 'X-Forwarded-For: 203.0.113.7', LAST))
    assert kept.lines[0].split(' ')[0] == '127.0.0.1'


def test_on_a_unix_socket_the_client_is_a_dash(kept, tmp_path):
    with serving(application(), bind=f'unix:{tmp_path}/s', **SHORT) as host:
        host.ask(request('/plain', 'GET', LAST))
    assert kept.lines == ['- GET /plain 200 5 -']


def test_records_go_to_a_handler_of_the_logger():
    """With a handler on `tremolo.access` the lines are records, which have the values, too."""
    logger = logging.getLogger('tremolo.access')
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with virtual(application(), **SHORT) as host:
            host.ask(request('/plain', 'GET', 'User-Agent: "', LAST))
            host.connect(b'nonsense\r\n\r\n').until(b'\r\n\r\n')
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    first, second = records
    assert first.getMessage() == '127.0.0.1 GET /plain 200 5 -'
    assert (first.status, first.bytes, first.user_agent, first.path) == (200, 5, r'\x22', '/plain')
    assert (second.status, second.method, second.reason) == (400, '-', 'refused')


@pytest.mark.parametrize('form', ['combined', 'json'])
def test_a_record_has_plain_values_whatever_the_format_and_the_level_of_other_messages(form):
    logger, ours = logging.getLogger('tremolo.access'), logging.getLogger('tremolo')
    records, before = [], (logger.level, ours.level)
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    ours.setLevel(logging.WARNING)
    try:
        with virtual(application(), access_log=True, access_logformat=form) as host:
            host.ask(request('/plain', 'GET', LAST, 'User-Agent: a"b'))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        ours.setLevel(before[1])
    [record] = records
    assert (record.method, record.status, record.request_id, record.referer) == (
        'GET', 200, '-', '-')
    assert record.getMessage().startswith('{' if form == 'json' else '127.0.0.1 ')


def test_what_was_refused_asked_for_nothing(kept):
    with virtual(application(), access_log=True) as host:
        host.ask(b'GET / HTTP/1.1\r\nReferer: - - -\r\nbad field\r\n\r\n')
    [line] = kept.lines
    assert line.endswith('] "-" 400 - "-" "-"')


def test_an_access_log_that_fails_hurts_no_request(monkeypatch, logged):
    class Broken:
        def __init__(self, *args, **options):
            pass

        def write(self, line):
            raise RuntimeError('the log is broken')

        def close(self):
            pass

    monkeypatch.setattr(log_module, 'LogWriter', Broken)
    with virtual(application(), access_log=True) as host:
        assert [each.status for each in host.ask(
            request('/plain') + request('/plain', 'GET', LAST))] == [200, 200]
    assert 'the log is broken' in logged.text


def test_without_the_option_there_is_no_observer():
    with virtual(application()) as host:
        assert host.server.request_observers == host.server.refusal_observers == []
        assert host.server.at_connect == host.server.at_close == []


def test_health_checks_have_no_line(kept):
    with virtual(application(), health='/healthz', **SHORT) as host:
        found = host.ask(request('/healthz') + request('/plain', 'GET', LAST))
    assert [answer.status for answer in found] == [200, 200]
    assert short(kept) == ['GET /plain 200 5 -']

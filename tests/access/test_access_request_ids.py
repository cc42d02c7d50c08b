"""Request ids: passed on or made; in every answer, the log, and the records of the request."""

from __future__ import annotations

import asyncio
import json
import logging
import re

import pytest
from server_support import request, serving, virtual
from websocket_frames import handshake

import tremolo
from tremolo import RequestIdFilter, Tremolo, request_id, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.service.log import JsonFormatter, TextFormatter
from tremolo.wsgi_app import WsgiApplication

LAST = 'Connection: close'
MADE = re.compile(r'[0-9a-f]{16}-[0-9]+')
ON = {'request_id': True, 'access_log': True, 'access_logformat': '{request_id} {status}'}
GOOD = ['a', 'A-b_c.9', 'x' * 128, '0']
BAD = ['', ' ', 'x' * 129, 'a b', 'a"b', 'a\\', 'a,b', 'a\tb', 'caf\u00e9', '\x80', '{x}', 'a;b',
       '%0a', "a'b", '<script>']


def application() -> Tremolo:
    app = Tremolo()

    @app.route('/plain')
    def plain(request):
        return f'{request.id} {request_id.get()}'

    @app.route('/generator')
    def generator(request):
        yield sleep(0.001)
        yield f'{request.id} '
        yield (yield run_in_thread(request_id.get))

    @app.route('/thread')
    def thread(request, thread=True):
        return f'{request.id} {request_id.get()}'

    @app.route('/fails')
    def fails():
        raise ValueError('no')

    @app.route('/waits')
    def waits():
        yield sleep(3600)

    @app.route('/own')
    def own(response):
        response.headers['X-Request-Id'] = 'mine'
        return b'own'

    @app.route('/socket')
    def socket(websocket):
        yield websocket.accept()
        yield websocket.send(request_id.get())

    return app


def asked(host, *requests):
    """Ask on a connection, and give the ids of the answers, and their bodies."""
    data = b''.join(requests)
    return [(each.headers.get('x-request-id'), each.body.decode()) for each in host.ask(data)]


@pytest.mark.parametrize('path', ['plain', 'generator', 'thread', 'async'])
def test_the_id_is_that_of_the_answer_in_each_kind_of_handler(kept, path):
    """Requests without an id: fault 43 of the earlier tremolo."""
    app = application()

    @app.route('/async')
    async def coroutine(request):
        await asyncio.sleep(0)
        return f'{request.id} {await asyncio.to_thread(request_id.get)}'

    with serving(app, **ON) as host:
        [(first, body), (second, other)] = asked(
            host, request(f'/{path}'),
            request(f'/{path}', 'GET', 'X-Request-ID: from-the-proxy', LAST))
    assert body == f'{first} {first}' and MADE.fullmatch(first)
    assert (second, other) == ('from-the-proxy', 'from-the-proxy from-the-proxy')
    assert kept.lines == [f'{first} 200', 'from-the-proxy 200']
    assert request_id.get() == ''


@pytest.mark.parametrize('given', GOOD)
def test_a_good_id_is_passed_on(kept, given):
    with virtual(application(), **ON) as host:
        assert asked(host, request('/plain', 'GET', f'X-Request-ID: {given}', LAST)) == [
            (given, f'{given} {given}')]
    assert kept.lines == [f'{given} 200']


@pytest.mark.parametrize('given', BAD)
def test_another_id_is_replaced(kept, given):
    with virtual(application(), **ON) as host:
        [(found, body)] = asked(host, request('/plain', 'GET', f'X-Request-ID: {given}', LAST))
    assert MADE.fullmatch(found) and body == f'{found} {found}'
    assert kept.lines == [f'{found} 200']


def test_two_ids_are_none():
    with virtual(application(), request_id=True) as host:
        [(found, _)] = asked(host, request('/plain', 'GET', 'X-Request-ID: a', 'x-request-id: b',
                                           LAST))
    assert MADE.fullmatch(found)


def test_each_request_has_another_id_also_of_another_worker_and_start():
    found = set()
    for _ in range(3):
        with virtual(application(), request_id=True) as host:
            found.update(each for each, _ in asked(host, *[request('/plain')] * 40,
                                                   request('/plain', 'GET', LAST)))
    assert len(found) == 3 * 41


def test_errors_and_refusals_have_ids(kept, logged):
    limits = {'limit_concurrency': 1, 'handler_timeout': 5, 'head_timeout': 3}
    with virtual(application(), **limits, **ON) as host:
        found = asked(host, request('/none'), request('/plain', 'PUT'),
                      request('/fails', 'GET', LAST))
        for data in (b'nonsense\r\n\r\n', b'GET /'):
            client = host.connect(data)
            client.until(b'\r\n\r\n')
            host.advance(1)
            found.append((client.take().headers.get('x-request-id'), ''))
        busy = host.connect(request('/waits'))
        host.advance(1)
        found += asked(host, request('/plain', 'GET', LAST))
        busy.until(b'\r\n\r\n')
        found.append((busy.take().headers.get('x-request-id'), ''))
    ids = [each for each, _ in found]
    assert len(set(ids)) == 7 and all(map(MADE.fullmatch, ids))
    statuses = [404, 405, 500, 400, 408, 503, 503]
    assert kept.lines == [f'{each} {status}' for each, status in zip(ids, statuses)]


def test_streams_heads_and_conditions_have_ids(tmp_path):
    (tmp_path / 'file').write_bytes(b'x' * 100_000)
    app = application()
    app.static('/static', tmp_path)

    @app.middleware
    def around(request):
        yield

    with serving(app, request_id=True) as host:
        data = host.connect(b''.join(
            request(path, method, f'X-Request-ID: id-{number}', *more)
            for number, (path, method, *more) in enumerate((
                ('/generator', 'GET'), ('/plain', 'HEAD'), ('/static/file', 'GET'),
                ('/static/file', 'GET', 'Range: bytes=1-2'), ('/none', 'GET', LAST))))).read_all()
    found = re.findall(rb'\r\nX-Request-ID: id-([0-9])\r\n', data)
    assert found == [b'0', b'1', b'2', b'3', b'4']


def test_a_websocket_has_its_id_in_the_handshake_and_in_its_handler(kept):
    with virtual(application(), **ON) as host:
        client = host.connect(handshake('/socket', 'X-Request-ID: ws-1'))
        client.until(b'ws-1', 2)
        assert b'101 ' in client.received and b'\r\nX-Request-ID: ws-1\r\n' in client.received
        client.reset()
        host.settle()
    assert kept.lines == ['ws-1 101']


def test_a_field_that_the_application_sets_itself_stays():
    with virtual(application(), request_id=True) as host:
        [answer] = host.ask(request('/own', 'GET', LAST))
    assert answer.head.lower().count(b'x-request-id') == 1
    assert answer.headers['x-request-id'] == 'mine'


async def asgi(scope, receive, send):
    if scope['path'] == '/fails':
        raise ValueError('no')
    await asyncio.sleep(0)
    fields = [(b'x-request-id', b'mine')] if scope['path'] == '/own' else []
    await send({'type': 'http.response.start', 'status': 200, 'headers': fields})
    await send({'type': 'http.response.body', 'body': request_id.get().encode(), 'more_body': True})
    await send({'type': 'http.response.body', 'body': b''})


def wsgi(environ, start_response):
    if environ['PATH_INFO'] == '/fails':
        raise ValueError('no')
    start_response('200 OK', [('X-Request-ID', 'mine')] if environ['PATH_INFO'] == '/own' else [])
    return [request_id.get().encode()]


@pytest.mark.parametrize('app', [AsgiApplication(asgi), WsgiApplication(wsgi)])
def test_asgi_and_wsgi_applications_have_ids(app, logged):
    with serving(app, request_id=True, lifespan='off') as host:
        found = asked(host, request('/'), request('/', 'GET', 'X-Request-ID: a.b'),
                      request('/fails'), request('/own', 'GET', LAST))
    assert found[0][0] == found[0][1] and MADE.fullmatch(found[0][0])
    assert found[1] == ('a.b', 'a.b')
    assert MADE.fullmatch(found[2][0]) and MADE.fullmatch(found[3][1])
    assert found[3][0] == 'mine'


def test_records_of_other_loggers_have_the_id_by_the_filter(caplog):
    app = application()

    @app.route('/logs')
    def logs():
        logging.getLogger('mine').warning('from a handler')
        yield sleep(0.001)
        logging.getLogger('mine').warning('later')

    adds = RequestIdFilter()
    caplog.handler.addFilter(adds)
    try:
        with virtual(app, request_id=True) as host:
            host.ask(request('/logs', 'GET', 'X-Request-ID: log-1', LAST))
        logging.getLogger('mine').warning('outside')
    finally:
        caplog.handler.removeFilter(adds)    # (pytest has one handler for all tests.)
    assert [(each.message, each.request_id) for each in caplog.records if each.name == 'mine'] == [
        ('from a handler', 'log-1'), ('later', 'log-1'), ('outside', '-')]


def test_the_filter_leaves_the_id_that_a_record_of_the_access_log_has():
    """(A formatter with `%(request_id)s` on `tremolo.access` showed `-` for each answer.)"""
    logger = logging.getLogger('tremolo.access')
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    handler.addFilter(RequestIdFilter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with virtual(application(), **ON) as host:
            for path in ('/plain', '/generator', '/thread'):
                host.ask(request(path, 'GET', f'X-Request-ID: {path[1:]}', LAST))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert [each.request_id for each in records] == ['plain', 'generator', 'thread']


def test_the_log_of_errors_names_the_request(logged):
    with virtual(application(), request_id=True, handler_timeout=5) as host:
        host.connect(request('/waits', 'GET', 'X-Request-ID: slow-1'))
        host.advance(10)
        host.ask(request('/fails', 'GET', 'X-Request-ID: fail-1', LAST))
    assert "GET '/waits' (slow-1)" in logged.text
    assert "failed on GET '/fails' (fail-1)" in logged.text


class Broken:
    """Applications of each kind whose handlers fail."""

    @staticmethod
    def native() -> Tremolo:
        app = Tremolo()

        @app.route('/plain')
        def plain():
            raise ValueError('no')

        @app.route('/generator')
        def generator():
            yield sleep(0.001)
            raise ValueError('no')

        @app.route('/thread')
        def thread(thread=True):
            raise ValueError('no')

        @app.route('/async')
        async def coroutine():
            await asyncio.sleep(0)
            raise ValueError('no')

        return app

    @staticmethod
    def asgi() -> AsgiApplication:
        async def fails(scope, receive, send):
            await asyncio.sleep(0)
            raise ValueError('no')

        return AsgiApplication(fails)

    @staticmethod
    def wsgi() -> WsgiApplication:
        return WsgiApplication(wsgi)


@pytest.mark.parametrize('make, path', [
    (Broken.native, '/plain'), (Broken.native, '/generator'), (Broken.native, '/thread'),
    (Broken.native, '/async'), (Broken.asgi, '/fails'), (Broken.wsgi, '/fails')])
def test_the_record_of_an_error_has_the_id_of_its_request(make, path, logged):
    with serving(make(), request_id=True, lifespan='off') as host:
        host.ask(request(path, 'GET', 'X-Request-ID: fail-1', LAST))
    [record] = [each for each in logged.records if each.name == 'tremolo.error']
    assert json.loads(JsonFormatter().format(record))['request_id'] == 'fail-1'
    # (In a line of text it stands once.)
    assert TextFormatter().format(record).partition('\n')[0].count('fail-1') == 1


def test_the_record_of_a_client_that_is_cut_has_the_id_of_its_request(logged):
    with virtual(application(), request_id=True, handler_timeout=5) as host:
        host.connect(request('/waits', 'GET', 'X-Request-ID: slow-1'))
        host.advance(10)
    assert [each.request_id for each in logged.records] == ['slow-1']


def test_without_the_option_there_is_no_id():
    with virtual(application()) as host:
        [answer] = host.ask(request('/plain', 'GET', 'X-Request-ID: a', LAST))
    assert answer.body == b' ' and 'x-request-id' not in answer.headers
    assert tremolo.request_id is request_id

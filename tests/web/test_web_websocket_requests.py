"""What comes to a route of WebSockets and is no handshake, and which pages may open one."""

from __future__ import annotations

import logging

import pytest
from server_support import request, virtual
from web_sockets import FIELDS, Socket, connect, handshake

from tremolo import HandlerError, Tremolo


def site(**options):
    """An application with a route of each sort."""
    app = Tremolo(**options)

    @app.route('/chat/<room>')
    @app.route('/chat')
    def chat(websocket, room='hall'):
        yield websocket.accept()
        yield websocket.send('accepted')

    @app.route('/both')
    def both(websocket=None):
        if websocket is None:
            yield 'a page'
        else:
            yield websocket.accept()

    @app.route('/page')
    def page():
        yield 'a page'

    return app


def ask(data, method='GET', **options):
    with virtual(site(), **options) as host:
        client = host.connect(data)
        answer = client.take(method)
        # The connection goes on.
        client.send(request('/page'))
        assert client.take().body == b'a page'
        return answer


def without(name):
    return [line for line in FIELDS if not line.startswith(name)]


@pytest.mark.parametrize('data', [
    request('/chat'), request('/chat/7'), request('/chat', 'GET', *without('Upgrade')),
    request('/chat', 'GET', *without('Connection')),
    request('/chat', 'GET', 'Upgrade: h2c', *without('Upgrade'))])
def test_a_get_without_a_handshake_has_to_upgrade(data):
    answer = ask(data)
    assert (answer.status, answer.reason) == (426, 'Upgrade Required')
    assert answer.headers['upgrade'] == 'websocket'
    assert answer.headers['connection'] == 'upgrade'
    assert 'sec-websocket-version' not in answer.headers


def test_http_1_0_has_to_upgrade():
    with virtual(site()) as host:
        answer, = host.ask(handshake('/chat', version='1.0'))
    assert answer.status == 426
    assert answer.headers['upgrade'] == 'websocket'
    assert 'upgrade' in answer.headers['connection']


@pytest.mark.parametrize('version', ['8', '14', '013', ''])
def test_another_version_is_told_which_one_there_is(version, caplog):
    caplog.set_level(logging.INFO, 'tremolo.server')
    answer = ask(request('/chat', 'GET', f'Sec-WebSocket-Version: {version}',
                         *without('Sec-WebSocket-Version')))
    assert answer.status == 426
    assert answer.headers['sec-websocket-version'] == '13'
    assert (answer.headers['upgrade'], answer.headers['connection']) == ('websocket', 'upgrade')
    assert "refused: 426: Sec-WebSocket-Version is not 13" in caplog.text


@pytest.mark.parametrize('method', ['POST', 'HEAD', 'PUT', 'OPTIONS', 'get'])
def test_another_method_is_not_allowed(method):
    for path in '/chat', '/chat/7':
        answer = ask(handshake(path, method=method), method)
        status = 204 if method == 'OPTIONS' else 405
        assert (answer.status, answer.headers['allow']) == (status, 'GET, OPTIONS')


def test_the_other_methods_of_the_path_are_named():
    app = site()
    app.route('/chat', methods=['POST'])(lambda: 'said')
    with virtual(app) as host:
        client = host.connect()
        for method, status in ('POST', 200), ('HEAD', 405), ('PUT', 405):
            client.send(request('/chat', method))
            answer = client.take(method)
            assert answer.status == status
            assert status == 200 or answer.headers['allow'] == 'GET, OPTIONS, POST'


@pytest.mark.parametrize('lines, body', [((), b'x'), (('Transfer-Encoding: chunked',), b'')])
def test_a_handshake_has_no_body(lines, body, caplog):
    caplog.set_level(logging.INFO, 'tremolo.server')
    data = handshake('/chat', *lines, body=body) + (b'0\r\n\r\n' if lines else b'')
    answer = ask(data)
    assert answer.status == 400
    assert b'body' in answer.body
    assert "refused: 400: " in caplog.text
    assert "GET '/chat'" in caplog.text


@pytest.mark.parametrize('path', ['/chat', '/both'])
@pytest.mark.parametrize('key', [
    '', 'short', 'dGhlIHNhbXBsZSBub25jZQ=', 'dGhlIHNhbXBsZSBub25jZR=='])
def test_a_bad_key_is_told(path, key):
    answer = ask(request(path, 'GET', f'Sec-WebSocket-Key: {key}', *without('Sec-WebSocket-Key')))
    assert answer.status == 400
    assert b'Sec-WebSocket-Key' in answer.body


def test_a_handshake_where_none_is_asked_for_is_an_ordinary_request():
    assert ask(handshake('/page')).body == b'a page'
    assert ask(handshake('/nothing')).status == 404


def test_with_the_option_off_a_route_of_sockets_is_not_there():
    for method in 'GET', 'POST', 'HEAD':
        for path in '/chat', '/chat/7':
            answer = ask(handshake(path, method=method), method, websocket=False)
            assert answer.status == 404
    assert ask(request('/chat'), websocket=False).status == 404
    assert ask(handshake('/both'), websocket=False).body == b'a page'


def test_with_the_option_off_the_other_methods_of_the_path_are_there():
    app = site()
    app.route('/chat', methods=['POST'])(lambda: 'said')
    with virtual(app, websocket=False) as host:
        client = host.connect()
        for method, status in ('POST', 200), ('PUT', 405), ('GET', 404):
            client.send(request('/chat', method))
            answer = client.take()
            assert answer.status == status
            assert status != 405 or answer.headers['allow'] == 'OPTIONS, POST'


# -- origins --------------------------------------------------------------------------------------


def origins_site(route=..., **application):
    app = Tremolo(**application)
    options = {} if route is ... else {'origins': route}

    @app.route('/', **options)
    def handler(websocket):
        yield websocket.accept()

    return app


LISTED = ['https://example.org', 'HTTP://Example.COM:8080', 'null', 'http://[::1]']


@pytest.mark.parametrize('origin', [
    'https://example.org', 'HTTPS://EXAMPLE.ORG', 'https://example.org:443',
    'http://example.com:8080', 'http://[::1]:80', 'null', None])
def test_a_page_of_a_listed_origin_may_connect(origin):
    lines = () if origin is None else (f'Origin: {origin}',)
    with virtual(origins_site(LISTED)) as host:
        connect(host, '/', *lines)


@pytest.mark.parametrize('origin', [
    'http://example.org', 'https://example.org:8443', 'https://www.example.org',
    'https://example.org.evil.example', 'https://example.orgx', 'https://evil.example', '',
    'NULL', 'https://example.org/', 'https://user@example.org', 'http://example.com',
    'https://example.org https://evil.example', 'https://example.org, null', '\xff', '*'])
def test_a_page_of_another_origin_is_refused(origin, caplog):
    caplog.set_level(logging.INFO, 'tremolo.server')
    with virtual(origins_site(LISTED)) as host:
        socket = Socket(host.connect(), '/', f'Origin: {origin}')
        assert socket.status == 403
        assert b'evil' not in socket.answer.body
        line, = [each.getMessage() for each in caplog.records if 'refused' in each.getMessage()]
        assert 'refused: 403: the origin b' in line and 'is not in `origins`' in line
        # The connection goes on, and a listed page may connect.
        socket.client.send(handshake('/', 'Origin: null'))
        assert socket.client.take().status == 101


def test_null_has_to_be_listed():
    with virtual(origins_site(['https://example.org'])) as host:
        assert Socket(host.connect(), '/', 'Origin: null').status == 403


def test_two_origins_are_a_bad_request():
    for origins in LISTED, None:
        with virtual(origins_site(origins)) as host:
            answer, = host.ask(handshake('/', 'Origin: null', 'Origin: null'))
            assert answer.status == 400


def test_a_route_goes_before_the_application():
    here, there = 'Origin: https://here.example', 'Origin: https://there.example'
    for route, application, first, second in (
            (..., None, 101, 101), (..., ['https://here.example'], 101, 403),
            (['https://there.example'], ['https://here.example'], 403, 101),
            (None, ['https://here.example'], 101, 101), ([], None, 403, 403)):
        with virtual(origins_site(route, origins=application)) as host:
            assert Socket(host.connect(), '/', here).status == first
            assert Socket(host.connect(), '/', there).status == second


def test_an_ordinary_request_has_any_origin():
    with virtual(site(origins=['https://example.org'])) as host:
        client = host.connect()
        for path in '/page', '/both':
            client.send(request(path, 'GET', 'Origin: https://evil.example'))
            assert client.take().body == b'a page'


def test_a_flood_of_refused_origins_is_counted(caplog):
    caplog.set_level(logging.INFO, 'tremolo.server')
    with virtual(origins_site([])) as host:
        for _ in range(300):
            assert Socket(host.connect(), '/', 'Origin: null').status == 403
        host.advance(11)
    lines = [each.getMessage() for each in caplog.records if 'refused' in each.getMessage()]
    assert len(lines) == 11
    assert lines[-1] == 'refused: 290 more connections in the last 10 s'


@pytest.mark.parametrize('entry, said', [
    ('example.org', "write 'https://example.org'"), ('https://example.org/', "'https://example.org'"),
    ('https://example.org/chat?x=1', "'https://example.org'"), ('*', 'origins=None'),
    ('https://*.example.org', 'write each host'), ('wss://example.org', "'https://example.org'"),
    ('ws://example.org:80', "'http://example.org:80'"), ('', "'https://example.org'"),
    ('https://bücher.example', "'https://xn--bcher-kva.example'"),
    ('https://user@example.org', "'https://example.org'"), (7, "'https://example.org'"),
    (b'https://example.org', 'is str')])
def test_an_entry_that_no_browser_sends_is_told_at_registration(entry, said):
    with pytest.raises(ValueError, match='origin') as error:
        origins_site([entry])
    assert said in str(error.value)
    with pytest.raises(ValueError, match='origin') as error:
        Tremolo(origins=[entry])
    assert said in str(error.value)


@pytest.mark.parametrize('origins', ['https://example.org', 7, b'null', True])
def test_origins_are_a_list(origins):
    with pytest.raises(ValueError, match=r'origins is a list: write origins=\['):
        origins_site(origins)


def test_origins_are_for_sockets():
    with pytest.raises(HandlerError, match='`origins` is for a handler of WebSockets'):
        Tremolo().route('/', origins=['https://example.org'])(lambda: 'x')

"""The `websocket` scope on real sockets: what it says, and which requests have one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from asgi_sockets import ACCEPT, KEY, accept, frame, handshake, say, site
from server_support import request
from test_asgi import answer


def recorder(seen, **accepted):
    """Make an application that keeps its scopes, accepts and says one word."""
    async def app(scope, receive, send):
        seen.append(scope)
        if scope['type'] == 'http':
            await answer(send, b'http')
            return
        await accept(receive, send, **accepted)
        await say(send, 'hello')

    return app


def test_the_scope_tells_all_of_the_handshake():
    seen = []
    with site(recorder(seen), root_path='/mount') as host:
        peer = host.open('/a%20b/%C3%A9?c=d%20e', 'X-Test: Yes', 'x-test: no')
        assert peer.status == 101
        assert peer.message() == 'hello'
        assert peer.closed() == (1000, '')
        port = host.running.port
    scope, = seen
    assert scope.pop('client')[0] == '127.0.0.1'
    assert scope == {
        'type': 'websocket', 'asgi': {'version': '3.0', 'spec_version': '2.4'},
        'http_version': '1.1', 'scheme': 'ws', 'path': '/mount/a b/é',
        'raw_path': b'/mount/a%20b/%C3%A9', 'query_string': b'c=d%20e', 'root_path': '/mount',
        'server': ('127.0.0.1', port), 'subprotocols': [], 'state': {},
        'headers': [
            (b'host', b'test'), (b'upgrade', b'websocket'), (b'connection', b'Upgrade'),
            (b'sec-websocket-key', KEY.encode()), (b'sec-websocket-version', b'13'),
            (b'x-test', b'Yes'), (b'x-test', b'no')],
        'extensions': {'websocket.http.response': {}}}


def test_prior_22_the_scheme_is_str_the_path_utf8_and_subprotocols_are_as_offered():
    seen = []
    with site(recorder(seen, subprotocol='B.v2')) as host:
        peer = host.open('/%E2%82%AC', 'Sec-WebSocket-Protocol: Zeta, b.V1',
                         'Sec-WebSocket-Protocol: B.v2')
        assert peer.answer.headers['sec-websocket-protocol'] == 'B.v2'
        assert peer.answer.headers['sec-websocket-accept'] == ACCEPT
        assert peer.message() == 'hello'
    scope, = seen
    assert (scope['scheme'], type(scope['scheme'])) == ('ws', str)
    assert scope['path'] == '/€'
    assert scope['subprotocols'] == ['Zeta', 'b.V1', 'B.v2']


def test_the_state_is_a_copy_and_the_context_comes_from_the_lifespan():
    seen = []

    async def app(scope, receive, send):
        if scope['type'] == 'lifespan':
            scope['state']['numbers'] = [1]
            while True:
                message = await receive()
                await send({'type': f'{message["type"]}.complete'})
                if message['type'] == 'lifespan.shutdown':
                    return
        seen.append(dict(scope['state']))
        scope['state']['own'] = True
        scope['extensions'].clear()
        await accept(receive, send)

    with site(app, lifespan='on') as host:
        for _ in range(2):
            assert host.open().closed() == (1000, '')
    assert seen == [{'numbers': [1]}, {'numbers': [1]}]


def test_headers_of_the_answer():
    fields = [(b'x-a', b'1'), (b'X-A', b'2'), (b'set-cookie', b'a=b'), (b'connection', b'close'),
              (b'upgrade', b'h2c'), (b'content-length', b'5'), (b'transfer-encoding', b'chunked')]
    with site(recorder([], headers=fields)) as host:
        peer = host.open()
        found = peer.answer.headers
        assert peer.status == 101
        assert found['x-a'] == '1, 2'
        assert found['set-cookie'] == 'a=b'
        assert found['upgrade'].lower() == 'websocket'
        assert found['connection'].lower() == 'upgrade'
        assert 'date' in found
        assert {'content-length', 'transfer-encoding', 'sec-websocket-protocol',
                'content-type'}.isdisjoint(found)
        assert peer.message() == 'hello'


@pytest.mark.parametrize(('accepted', 'said'), [
    ({'headers': [(b'x-a', b'1\r\nx-b: 2')]}, 'HeaderError'),
    ({'headers': [(b'x a', b'1')]}, 'HeaderError'),
    ({'headers': [('x-a', '1')]}, 'TypeError'),
    ({'headers': [(b'Sec-WebSocket-Protocol', b'a')]}, 'accept(subprotocol=...)'),
    ({'headers': [(b'sec-websocket-accept', b'a')]}, 'sec-websocket-accept'),
    ({'headers': [(b'sec-websocket-extensions', b'a')]}, 'sec-websocket-extensions'),
    ({'subprotocol': 'c'}, 'subprotocol'),
    ({'subprotocol': 'A'}, 'subprotocol'),
    ({'subprotocol': 'a, b'}, 'subprotocol'),
    ({'subprotocol': b'a'}, 'subprotocol'),
    ({'subprotocol': 'a\r\nx-b: 2'}, 'subprotocol'),
])
def test_an_answer_that_may_not_be_sent_is_an_error_of_the_application(accepted, said, logged):
    with site(recorder([], **accepted)) as host:
        peer = host.open('/', 'Sec-WebSocket-Protocol: a, b')
        assert peer.status == 500
        assert 'upgrade' not in peer.answer.headers
    assert logged.count('the ASGI application failed on GET') == 1
    assert said in logged.text


def test_an_application_may_accept_with_none_and_without_optional_keys():
    with site(recorder([], subprotocol=None, headers=())) as host:
        assert host.open('/', 'Sec-WebSocket-Protocol: a').message() == 'hello'


@pytest.mark.parametrize('options', [{'websocket': False}, {'ws': 'none'}])
def test_with_the_option_off_a_handshake_is_an_ordinary_request(options):
    seen = []
    with site(recorder(seen), **options) as host:
        peer = host.open()
        assert (peer.status, peer.answer.body) == (200, b'http')
    assert [scope['type'] for scope in seen] == ['http']


@pytest.mark.parametrize('lines', [
    ['Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings'], ['Upgrade: websocket'],
], ids=['h2c', 'no option of Connection'])
def test_another_upgrade_is_an_ordinary_request(lines):
    seen = []
    with site(recorder(seen)) as host:
        client = host.connect(request('/', 'GET', *lines))
        assert client.take().body == b'http'
    assert [scope['type'] for scope in seen] == ['http']


@pytest.mark.parametrize(('wire', 'status'), [
    (handshake().replace(b'Version: 13', b'Version: 8'), 426),
    (handshake().replace(b'==', b'=a'), 400),
    (handshake('/', 'Sec-WebSocket-Key: ' + KEY), 400),
], ids=['version', 'key', 'two keys'])
def test_a_broken_handshake_is_refused_before_the_application(wire, status):
    seen = []
    with site(recorder(seen)) as host:
        client = host.connect(wire)
        found = client.take()
        assert found.status == status
        if status == 426:
            assert found.headers['sec-websocket-version'] == '13'
    assert seen == []


def test_an_empty_field_of_extensions_and_a_list_in_connection_are_a_handshake():
    with site(recorder([])) as host:
        client = host.connect(handshake('/', 'Sec-WebSocket-Extensions:').replace(
            b'Connection: Upgrade', b'Connection: keep-alive, Upgrade'))
        assert client.take().status == 101


def test_a_frame_in_the_packet_of_the_handshake_is_not_lost():
    async def app(scope, receive, send):
        await accept(receive, send)
        await say(send, (await receive())['text'])

    with site(app) as host:
        assert host.open(more=frame(1, b'early')).message() == 'early'


def test_an_application_for_http_alone_answers_500_and_says_why(logged):
    async def app(scope, receive, send):
        assert scope['type'] == 'http', 'no sockets here'
        await answer(send, b'http')

    with site(app) as host:
        assert host.open().status == 500
        assert host.connect(request()).take().body == b'http'
    assert logged.count("the ASGI application failed on GET '/'") == 1
    assert 'no sockets here' in logged.text


def test_an_application_that_is_no_async_def():
    class App:
        def __call__(self, scope, receive, send):
            return recorder([])(scope, receive, send)

    with site(App()) as host:
        assert host.open().message() == 'hello'


def test_the_runner_has_no_websocket_room_before_the_first_handshake():
    # (What a measurement of coverage imports is there before.)
    code = ('import sys; before = {*sys.modules}; import tremolo.asgi; '
            'print([name for name in {*sys.modules} - before '
            'if "websocket" in name or name == "zlib"])')
    done = subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE, check=True,
                          timeout=60)
    assert done.stdout.strip() == b'[]'

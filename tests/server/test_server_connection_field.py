"""The Connection field of an application: a list, of which `close` and `keep-alive` are ours."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from server_support import answers, request, serving, virtual

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication

CASES = [
    # What the application says, whether the connection ends, and what the client is told.
    ('x-foo, close', True, 'close, x-foo'),
    ('close', True, 'close'),
    ('Keep-Alive, CLOSE', True, 'close'),
    ('x-foo', False, 'x-foo'),
    ('keep-alive', False, None),
    ('keep-alive, x-foo, Upgrade', False, 'x-foo, Upgrade'),
]


def saying(value: str) -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def whole(response: Any) -> str:
        response.headers['Connection'] = value
        return 'whole'

    @app.route('/pieces')
    def pieces(response: Any, stream: bool = True) -> Any:
        response.headers['Connection'] = value
        yield 'pi'
        yield 'eces'

    return app


@pytest.mark.parametrize(('value', 'ends', 'told'), CASES)
@pytest.mark.parametrize('path', ['/', '/pieces'])
def test_close_anywhere_in_the_list_closes_and_other_options_are_passed_on(path, value, ends, told):
    with virtual(saying(value)) as host:
        client = host.connect(request(path) + request(path))
        if ends:
            client.until_ended()
            assert len(answers(client.received)) == 1
        answer = client.take()
        assert answer.headers.get('connection') == told
        if not ends:
            assert client.take().headers.get('connection') == told


@pytest.mark.parametrize(('value', 'ends', 'told'), CASES)
def test_an_asgi_application_is_understood_alike(value, ends, told):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b'Connection', value.encode()), (b'content-length', b'5')]
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        await send({'type': 'http.response.body', 'body': b'whole'})

    with serving(AsgiApplication(app), port=0, lifespan='off') as host:
        client = host.connect(request())
        assert client.take().headers.get('connection') == told
        if ends:
            assert client.read_all() == b''
        else:
            client.send(request())
            assert client.take().body == b'whole'


@pytest.mark.parametrize('value', ['x-foo', 'keep-alive, x-foo', 'x-foo, close'])
def test_our_own_option_comes_first_and_contradicts_nothing(value):
    with virtual(saying(value)) as host:
        # The client wants to close; or speaks HTTP/1.0, with and without keep-alive.
        for wire, own in ((request('/', 'GET', 'Connection: close'), 'close'),
                          (request('/', version='1.0'), 'close'),
                          (request('/', 'GET', 'Connection: keep-alive', version='1.0'),
                           'close' if 'close' in value else 'keep-alive')):
            client = host.connect(wire)
            assert client.take().headers['connection'] == f'{own}, x-foo'
            client.close()


def test_a_client_that_reads_one_line_of_the_field_alone_sees_the_close():
    with serving(saying('x-foo, close'), port=0) as host:
        client = http.client.HTTPConnection('127.0.0.1', host.running.port, timeout=30)
        client.request('GET', '/')
        answer = client.getresponse()
        assert answer.will_close
        assert answer.read() == b'whole'
        client.close()


def test_an_upgrade_is_not_closed_by_the_field():
    app = Tremolo()

    @app.route('/')
    def talk(response: Any) -> Any:
        response.headers['Connection'] = 'close, x-foo'
        response.headers['Content-Length'] = '5'
        response.headers['Server'] = 'mine'
        stream = response.upgrade('echo')
        data = yield stream.read(100)
        stream.write(data)

    with virtual(app) as host:
        client = host.connect(request('/', 'GET', 'Connection: upgrade', 'Upgrade: echo') + b'ping')
        client.until_ended()
        head, _, rest = client.received.partition(b'\r\n\r\n')
        assert rest == b'ping'
        fields = [line.split(b': ') for line in head.split(b'\r\n')[1:]]
        assert [value for name, value in fields if name == b'Connection'] == [b'upgrade', b'x-foo']
        assert [value for name, value in fields if name == b'Server'] == [b'mine']
        assert not [name for name, _ in fields if name == b'Content-Length']


def test_what_the_client_must_upgrade_to_is_told():
    app = Tremolo()

    @app.route('/')
    def refuse(response: Any) -> str:
        response.status = 426
        response.headers['Upgrade'] = 'websocket'
        response.headers['Connection'] = 'Upgrade'
        return 'no'

    with virtual(app) as host:
        answer = host.connect(request()).take()
        assert (answer.status, answer.headers['connection']) == (426, 'Upgrade')

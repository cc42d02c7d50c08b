"""The method of a scope is in upper case; on the wire methods are case-sensitive."""

from __future__ import annotations

import pytest
from server_support import request, serving

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication


async def app(scope, receive, send):
    body = b'' if scope['method'] == 'HEAD' else scope['method'].encode()
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-length', b'%d' % len(scope['method']))]})
    await send({'type': 'http.response.body', 'body': body})


@pytest.mark.parametrize('method', ['get', 'GET', 'Post', 'm-search', 'M-SEARCH', 'x1', '123'])
def test_a_method_is_upper_case_in_the_scope(method):
    with serving(AsgiApplication(app), port=0, lifespan='off') as host:
        client = host.connect()
        for _ in range(2):
            client.send(request('/', method))
            assert client.take().body == method.upper().encode()


@pytest.mark.parametrize('method', ['head', 'Head'])
def test_head_in_lower_case_has_no_body_and_ends_the_connection(method):
    with serving(AsgiApplication(app), port=0, lifespan='off') as host:
        client = host.connect(request('/', method) + request('/', 'POST'))
        answer = client.take('HEAD')
        assert (answer.status, answer.headers['content-length']) == (200, '4')
        assert answer.headers['connection'] == 'close'
        assert client.read_all() == b''


def test_native_handlers_distinguish_the_case():
    native = Tremolo()

    @native.route('/')
    def index(request):
        return request.method

    with serving(native, port=0) as host:
        found = host.ask(request('/', 'get') + request('/', 'GET', 'Connection: close'))
    assert [answer.status for answer in found] == [405, 200]

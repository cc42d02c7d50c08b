"""`Connection.addresses`: both ends and the scheme, asked of the socket once."""

from __future__ import annotations

from typing import Any

import pytest
from server_support import Client, request, serving, virtual

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.loop import Stream
from tremolo.server.addresses import addresses_of


@pytest.fixture
def asked(monkeypatch):
    """The names of the addresses that streams were asked for."""
    asked: list[str] = []

    def count(name: str) -> None:
        ask = getattr(Stream, name).fget

        def counted(stream: Stream) -> Any:
            asked.append(name)
            return ask(stream)

        monkeypatch.setattr(Stream, name, property(counted))

    count('peer')
    count('sockname')
    return asked


def make_app(found: list[Any]) -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index(request):
        connection = request.connection
        found.append((request.client, connection.addresses, connection.scheme, connection.ends))
        return b'hello'

    @app.route('/never')
    def never():
        return b'hello'

    @app.route('/after')
    def after(request):
        try:
            yield sleep(1000)
        finally:
            found.append(request.connection.addresses)

    @app.route('/before')
    def before(request):
        found.append(request.connection.addresses)
        try:
            yield sleep(1000)
        finally:
            found.append(request.connection.addresses)

    return app


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    text = f'{scope["scheme"]} {scope["client"]} {scope["server"]}'
    await send({'type': 'http.response.body', 'body': text.encode()})


def test_two_system_calls_for_a_connection_however_many_requests(asked):
    found: list[Any] = []
    with serving(make_app(found)) as host:
        client = host.connect()
        for _ in range(20):
            client.send(request() * 5)
            for _ in range(5):
                client.take()
        assert asked == ['peer', 'sockname']
        ours, theirs = client.sock.getsockname(), client.sock.getpeername()
        assert found == [(ours, (ours, theirs, 'http'), 'http', (ours, theirs))] * 100
        host.connect(request()).take()
        assert asked == ['peer', 'sockname'] * 2


def test_no_system_call_if_nobody_asks(asked):
    with serving(make_app([])) as host:
        assert host.connect(request('/never')).take().body == b'hello'
        assert asked == []


def test_an_asgi_application_costs_two_system_calls_for_a_connection(asked):
    with serving(AsgiApplication(asgi), lifespan='off') as host:
        client = host.connect()
        for _ in range(20):
            client.send(request())
            body = client.take().body.decode()
            assert body == f'http {client.sock.getsockname()} {client.sock.getpeername()}'
        assert asked == ['peer', 'sockname']


@pytest.mark.parametrize('kind', ['native', 'asgi'])
def test_a_unix_client_has_no_address(tmp_path, kind, asked):
    path = f'{tmp_path}/socket'
    found: list[Any] = []
    app = make_app(found) if kind == 'native' else AsgiApplication(asgi)
    with serving(app, bind=f'unix:{path}'):
        client = Client(path)
        for _ in range(3):
            client.send(request())
            body = client.take().body
            if kind == 'asgi':
                assert body.decode() == f'http None {(path, None)}'
            else:
                assert found.pop()[:2] == (None, (None, (path, None), 'http'))
        assert asked == ['peer', 'sockname']
        client.close()


def test_an_ipv6_address_has_two_parts_as_any_other():
    found: list[Any] = []
    with serving(make_app(found), bind='[::1]:0') as host:
        import socket
        with socket.create_connection(host.running.address[:2]) as sock:
            sock.sendall(request())
            assert b'200 OK' in sock.recv(65536)
            assert found[0][1] == (
                sock.getsockname()[:2], sock.getpeername()[:2], 'http')


@pytest.mark.parametrize('leave', ['reset', 'fin'])
def test_what_was_asked_before_is_kept_when_the_client_has_gone(leave):
    found: list[Any] = []
    with virtual(make_app(found), half_close_timeout=1) as host:
        client = host.connect(request('/before'))
        host.settle()
        getattr(client, leave)()
        host.advance(5)
        assert len(found) == 2 and found[0] is found[1]
        assert found[0][0] is not None


def test_after_the_client_has_gone_nothing_is_known():
    found: list[Any] = []
    with virtual(make_app(found)) as host:
        client = host.connect(request('/after'))
        host.settle()
        client.reset()
        host.advance(5)
        assert found == [(None, None, 'http')]


def test_what_was_not_known_is_not_kept():
    """A closed connection has no addresses, and a request of it may be asked again and again."""
    connections: list[Any] = []
    app = Tremolo()

    @app.route('/')
    def index(request):
        connections.append(request.connection)
        return b''

    with virtual(app) as host:
        host.ask(request('/', 'GET', 'Connection: close'))
        connection, = connections
        assert connection.addresses == connection.addresses == (None, None, 'http')


@pytest.mark.parametrize(('secure', 'scheme'), [(True, 'https'), (False, 'http')])
def test_the_scheme_is_that_of_the_stream(secure, scheme):
    class Encrypted:
        peer = ('192.0.2.1', 5)
        sockname = ('192.0.2.2', 443)

    stream: Any = Encrypted()
    stream.secure = secure
    assert addresses_of(stream) == (stream.peer, stream.sockname, scheme)

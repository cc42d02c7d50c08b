"""What an answer leaves in our buffers has a place: a client that does not read holds memory."""

from __future__ import annotations

import pytest
from server_support import request, serving, virtual

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.wsgi_app import WsgiApplication

MIB = 1 << 20
SIZE = 8 * MIB    # More than the kernel's buffers take.
LARGE = bytes(SIZE)


def native() -> Tremolo:
    app = Tremolo()
    app.route('/')(lambda: 'small')
    app.route('/plain')(lambda: LARGE)

    @app.route('/generator')
    def generator():
        yield LARGE

    @app.route('/thread')
    def thread(thread=True):
        return LARGE

    @app.route('/async')
    async def coroutine():
        return LARGE

    return app


async def asgi(scope, receive, send):
    body = b'small' if scope['path'] == '/' else LARGE
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': body})


def wsgi(environ, start_response):
    start_response('200 OK', [])
    return [b'small' if environ['PATH_INFO'] == '/' else LARGE]


@pytest.mark.parametrize('kind', ['plain', 'generator', 'thread', 'async', 'ASGI', 'WSGI'])
def test_an_answer_that_nobody_takes_has_its_place(kind):
    app = {'ASGI': AsgiApplication(asgi), 'WSGI': WsgiApplication(wsgi)}.get(kind) or native()
    more = {'lifespan': 'off'} if kind == 'ASGI' else {}
    path = '/large' if kind in ('ASGI', 'WSGI') else f'/{kind}'

    def kept() -> int:
        return sum(each.stream.buffered for each in host.server.connections)

    with serving(app, limit_concurrency=2, **more) as host:
        takers = []
        for number in range(2):
            takers.append(host.connect(request(path), receive_buffer=4096))
            host.wait_for(lambda: sum(each.stream.buffered > 0 for each in host.server.connections)
                          == number + 1)    # noqa: B023
        for _ in range(20):
            refused, = host.ask(request(path))
            assert (refused.status, refused.headers['retry-after']) == (503, '1')
        assert host.on_loop(kept) <= 2 * SIZE
        left = SIZE
        while left > 0:
            left -= len(takers[0].sock.recv(MIB))
        host.wait_for(lambda: len(host.server.places._busy) == 1)
        answer = host.connect(request('/')).take()
        assert (answer.status, answer.body) == (200, b'small')
        takers[1].reset()
        host.wait_for(lambda: not host.server.places._busy)


def test_a_little_that_is_kept_takes_no_place():
    """A slow phone whose answer is nearly taken: the formula counts that with its connection."""
    app = Tremolo()
    app.route('/')(lambda: bytes(100_000))    # (64 KiB are in the kernel's buffer.)
    with virtual(app, limit_concurrency=1) as host:
        for _ in range(3):
            client = host.connect()
            host.advance(0.01)
            host.world.network.stall(client.sock)
            client.send(request())
            host.advance(0.01)
            connection, = host.server.connections
            assert connection.stream.buffered
            assert not host.server.places._busy
            client.reset()
            host.advance(0.01)


def test_who_takes_nothing_is_cut_soon_when_places_are_scarce(logged):
    """`stall_timeout` is a minute; with three quarters of the places taken, the rates hold."""
    with serving(native(), limit_concurrency=1, rate_grace=0.05, min_download_rate=1000) as host:
        host.connect(request('/plain'), receive_buffer=4096)
        host.wait_for(lambda: host.server.places._busy)
        host.wait_for(lambda: not host.server.connections)
        assert host.server.closed['min_download_rate'] == 1
        assert host.connect(request('/')).take().body == b'small'

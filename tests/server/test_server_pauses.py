"""A pause is not idleness: the process was stopped, or held up, longer than every deadline.

Each client did its part in time: what it sent lies unread in the server's socket when the process
goes on, and the first poll says nothing (as Python's does after SIGCONT).
"""

from __future__ import annotations

import pytest
from each_case import for_each
from server_support import Virtual, bodies, request, virtual
from tls_support import Peer, context_of
from websocket_frames import CLOSE as WS_CLOSE
from websocket_frames import PING, PONG, frame, handshake

from tremolo import Tremolo, sleep

PAUSE = 3600.0


def stop(host: Virtual, seconds: float = PAUSE) -> None:
    """Let time pass in which what was sent arrives, and the reactor does not turn."""
    for client in host.clients:
        client.pump()
    reactor, poll = host.reactor, host.reactor._poll

    def late(timeout):
        host.world.wait_until(host.world.now + seconds)
        return []

    reactor._poll = late
    reactor.step(0)
    reactor._poll = poll


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()
    app.route('/')(lambda: 'hello')

    @app.post('/body')
    def body(request):
        data = yield request.body()
        yield b'%d' % len(data)

    @app.route('/wait')
    def wait():
        yield sleep(5)
        yield b'waited'

    @app.route('/steps')
    def steps():
        for _ in range(8):
            yield sleep(1)
        yield b'waited'

    @app.route('/own')
    def own(response):
        response.handler_timeout = 10
        yield from steps()

    @app.route('/large')
    def large():
        return bytes(1_000_000)

    return app


def test_kept_connections_with_a_request_unread_are_answered(app):
    with virtual(app) as host:
        clients = [host.connect(request()) for _ in range(50)]
        for each in clients:
            assert each.take().body == b'hello'
        quiet = host.connect(request())
        quiet.take()
        for each in clients:
            each.send(request())
        stop(host)
        assert [each.take().body for each in clients] == [b'hello'] * 50
        assert not host.closed
        # Who has sent nothing has the rest of its time, and no more.
        host.until(lambda: quiet.ended)
        assert host.closed['idle_timeout'] >= 1
        assert quiet.ended_at < PAUSE + 80


@for_each('first, rest, many', [
    (b'', request(), 1), (request()[:10], request()[10:], 1), (request(), request(), 2),
    (request('/body', 'POST', body=bytes(200_000))[:1000],
     request('/body', 'POST', body=bytes(200_000))[1000:], 1)],
    ids=['first_byte_timeout', 'head_timeout', 'idle_timeout', 'stall_timeout'])
@pytest.mark.parametrize('connections', [1, 100])
def test_what_came_in_the_pause_is_read_before_a_deadline(app, connections, first, rest, many):
    with virtual(app, connections=connections) as host:
        client = host.connect(first)
        host.settle()
        client.send(rest)
        client.fin()
        stop(host)
        client.until_ended()
        assert len(bodies(client.received)) == many
        assert 'hello' in client.received.decode() or '200000' in client.received.decode()
        assert set(host.closed) == {'client'} or set(host.closed) == {'done'}


@pytest.mark.parametrize('connections', [1, 100])
def test_a_slow_upload_is_no_slower_for_the_pause(app, connections):
    """It sends 2 kB a second, and a pause of a minute leaves room for some kB only."""
    with virtual(app, connections=connections, min_upload_rate=1000, stall_timeout=20) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 60000'))
        for second in range(30):
            client.send(bytes(2000))
            host.advance(1)
            if second in (3, 20):
                client.send(b'')
                stop(host, 60.0 if second == 3 else 15.0)
        assert client.take().body == b'60000'


@for_each('path, own', [('/wait', False), ('/steps', False), ('/own', True)])
def test_a_handler_that_had_no_time_to_run_is_not_too_slow(app, path, own):
    with virtual(app, handler_timeout=2 if own else 10) as host:
        client = host.connect(request(path))
        host.advance(2.5 if path != '/wait' else 1)
        stop(host)
        assert client.take().body == b'waited'


def test_a_deadline_that_no_pause_excuses_is_kept(app, logged):
    with virtual(app, handler_timeout=3, idle_timeout=5) as host:
        client = host.connect(request('/wait'))
        answer = client.take()
        assert answer.status == 503 and host.now < 3.1
        other = host.connect(request())
        other.take()
        other.until_ended()
        assert 4.9 < other.ended_at - 3 < 5.3


def test_a_client_that_takes_its_answer_after_the_pause_is_not_stalled(app):
    with virtual(app, stall_timeout=20) as host:
        client = host.connect(request('/large'))
        client.reading = False
        host.advance(1)
        stop(host)
        host.advance(10)
        client.reading = True
        assert len(client.take().body) == 1_000_000


def test_a_handshake_of_tls_has_the_rest_of_its_time(app):
    with virtual(app, ssl_context=context_of(), ssl_handshake_timeout=4) as host:
        peer = Peer(host, shake=False)
        host.advance(1)
        peer.client.send(peer.next_bytes())
        stop(host)
        peer.until(lambda: peer.is_open)
        assert not host.closed


def test_a_header_of_a_proxy_that_came_is_read(app):
    with virtual(app, proxy_protocol='auto', trusted_proxies='127.0.0.1') as host:
        client = host.connect()
        host.settle()
        client.send(b'PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\n' + request())
        stop(host)
        assert client.take().body == b'hello'


def test_requests_in_flight_are_answered_when_a_pause_falls_into_the_shutdown(app):
    with virtual(app, shutdown_timeout=10) as host:
        client = host.connect(request('/steps'))
        host.settle()
        host.server.drain()
        host.advance(2)
        stop(host)
        assert client.take().body == b'waited'
        host.until(lambda: host.server.stopped.done())
        assert host.server.stopped.result() == 0


def test_a_pong_that_lies_unread_is_an_answer():
    app = Tremolo()

    @app.route('/')
    def echo(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send((yield websocket.receive()))

    with virtual(app, ws_ping_interval=20, ws_ping_timeout=10, ws_close_timeout=5) as host:
        client = host.connect(handshake('/'))
        client.until(b'\r\n\r\n')
        client.received = b''
        host.until(lambda: client.received)
        assert client.received[0] & 15 == PING
        client.send(frame(PONG, client.received[2:]))
        stop(host)
        host.advance(1)
        assert not client.ended and not host.closed
        # And a close that lies unread ends it in good order.
        host.server.drain()
        host.until(lambda: bytes([0x80 | WS_CLOSE]) in client.received)
        client.send(frame(WS_CLOSE, (1012).to_bytes(2, 'big')))
        client.fin()
        stop(host)
        client.until_ended()
        assert 'ws_close_timeout' not in host.closed


def test_a_reader_that_was_deferred_is_read_before_its_deadline(app):
    """Even without a pause: the poll did not show it, or others had their turn first."""
    with virtual(app, idle_timeout=5) as host:
        client = host.connect(request())
        client.take()
        poll = host.reactor._poll
        host.reactor._poll = lambda timeout: (poll(0), [])[1]    # It shows nothing.
        client.send(request())
        client.pump()
        host.world.wait_until(host.now + 5.05)
        host.reactor.step(0)
        host.reactor._poll = poll
        assert client.take().body == b'hello'

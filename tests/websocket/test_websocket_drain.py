"""What becomes of sockets when the server stops, and what the limits count."""

from __future__ import annotations

import pytest
from server_support import serving, virtual
from websocket_support import (
    CLOSE,
    TEXT,
    Client,
    Sockets,
    close_frame,
    echo,
    frames,
    handshake,
    text,
)

from tremolo.loop import sleep

AWAY = (1001).to_bytes(2, 'big') + b'the server stops'


def test_receive_raises_1001_and_what_was_sent_goes_first():
    def handler(websocket):
        yield websocket.accept()
        websocket.send(b'x' * 300_000)
        yield websocket.receive()

    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        host.server.drain()
        sent = client.wait(2)
        assert [(opcode, len(payload)) for opcode, payload, _ in sent] == [(2, 300_000), (8, 18)]
        assert app.outcomes == [(1001, 'the server stops')]
        client.send(close_frame(1001))
        host.until(host.server.stopped.done)
        assert host.server.stopped.result() == 0


@pytest.mark.parametrize('shutdown, spread', [(30, 5), (8, 2)])
def test_the_first_50_closes_go_at_once_and_the_rest_is_spread(shutdown, spread):
    app = Sockets(echo)
    with virtual(app, shutdown_timeout=shutdown) as host:
        clients = [Client(host) for _ in range(250)]
        begun = host.now
        host.server.drain()
        host.advance(0.001)
        assert sum(each.state == 'closing' for each in app.sockets) == 50
        host.advance(spread / 2)
        closed = sum(each.state == 'closing' for each in app.sockets)
        assert 140 <= closed <= 160
        # (Those that were not closed yet are served.)
        late = next(each for each, one in zip(clients, app.sockets) if one.state == 'open')
        late.send(text('still'))
        assert late.messages() == [b'still']
        host.advance(spread / 2 + 0.1)
        assert sum(each.state == 'closing' for each in app.sockets) == 250
        for client in clients:
            client.send(close_frame(1001))
        host.until(host.server.stopped.done)
        assert host.server.stopped.result() == 0
        assert host.now - begun < spread + 1


def test_all_is_over_within_shutdown_timeout_whoever_answers(logged):
    app = Sockets(echo)
    with virtual(app, shutdown_timeout=4, ws_close_timeout=60) as host:
        for _ in range(60):
            Client(host)
        begun = host.now
        host.server.drain()
        host.until(host.server.stopped.done)
        assert host.server.stopped.result() == 0
        assert host.now - begun < 4
    assert logged.text == ''


def test_a_handshake_in_hand_gets_503():
    def slow(websocket):
        yield sleep(1)
        yield websocket.accept()

    app = Sockets(slow)
    with virtual(app) as host:
        raw = host.connect(handshake())
        host.settle()
        host.server.drain()
        answer = raw.take()
        assert (answer.status, answer.headers['connection'], answer.headers['retry-after']) == (
            503, 'close', '1')
        host.advance(2)
        assert app.outcomes == [(1001, 'the server stops')]


def test_limit_concurrency_counts_a_handshake_until_its_101():
    def slow(websocket):
        yield sleep(1)
        yield websocket.accept()
        yield from rest(websocket)

    def rest(websocket):
        while True:
            yield websocket.send((yield websocket.receive()))

    with virtual(Sockets(slow), limit_concurrency=1, ws_ping_interval='off') as host:
        first = host.connect(handshake())
        host.advance(0.1)
        assert host.connect(handshake()).take().status == 503
        assert first.take().status == 101
        for _ in range(3):
            assert Client(host).answer.status == 101


def test_max_requests_counts_a_handshake_once():
    app = Sockets(echo)
    with virtual(app) as host:
        ended = []
        host.server.request_observers.append(
            lambda response, reason: ended.append((response.status, reason)))
        client = Client(host)
        assert ended == [(101, '')]
        client.send(text('x'), close_frame())
        client.raw.until_ended()
        assert ended == [(101, '')]


def test_the_report_lists_sockets():
    from tremolo.service.report import report

    def busy(websocket):
        yield websocket.accept()
        yield sleep(100)

    app = Sockets(echo)
    with virtual(app) as host:
        Client(host, '/chat?a=1')
        host.advance(7)
        app.handler = busy
        client = Client(host, '/busy')
        client.send(text('x'))
        host.settle()
        lines = sorted(report(host.server).splitlines())
        assert lines[0].startswith("GET '/busy': WebSocket open, 0.0 s, ")
        assert lines[0].partition(', 0.0 s, ')[2].startswith('1 message waits for its handler, ')
        assert lines[1].startswith("GET '/chat?a=1': WebSocket open, 7.0 s, its handler waits for "
                                   'a message, ')
        assert 'websocket_support.py:' in lines[1]


def test_for_real_a_stop_ends_sockets_in_good_order():
    with serving(Sockets(echo)) as server:
        client = server.connect(handshake())
        client.take()
        client.send(text('hi'))
        client.until(b'hi')
        server.reactor.call_soon_threadsafe(server.server.drain)
        client.until(b'stops')
        client.send(close_frame(1001))
        assert frames(client.read_all()) == [(TEXT, b'hi', True), (CLOSE, AWAY, True)]

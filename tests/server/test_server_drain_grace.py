"""How long a draining server waits on an idle connection: ten of its round trips."""

from __future__ import annotations

import socket
import time

import pytest
from server_support import answers, request, serving, virtual
from simulated import World

from tremolo import Tremolo, sleep
from tremolo.loop import Stream

# One way, in seconds, and how long an idle connection has then.
LATENCIES = [(0.0, 0.05), (0.002, 0.05), (0.0025, 0.05), (0.003, 0.06), (0.02, 0.4), (0.09, 1.8),
             (0.1, 2.0), (0.5, 2.0)]


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/stream')
    def stream(stream=True):
        yield b'begun '
        yield sleep(5)
        yield b'waited'

    return app


def slow(latency: float) -> World:
    return World(seed=1, latency=latency)


@pytest.mark.parametrize(('latency', 'grace'), LATENCIES)
def test_an_idle_connection_has_ten_round_trips(app, latency, grace):
    with virtual(app, slow(latency)) as host:
        kept, new = host.connect(request()), host.connect()
        kept.take()
        host.advance(10)
        start = host.now
        host.server.drain()
        kept.until_ended()
        new.until_ended()
        # Its end needs half a round trip to arrive.
        assert kept.ended_at == new.ended_at == pytest.approx(start + grace + latency, abs=0.001)
        assert host.server.stopped.result() == 0
        assert host.closed == {'shutdown': 2}


@pytest.mark.parametrize(('latency', 'grace'), LATENCIES)
def test_a_request_that_is_on_its_way_is_answered(app, latency, grace):
    with virtual(app, slow(latency)) as host:
        late = host.connect(request())
        late.take()
        host.advance(10)
        start = host.now
        host.server.drain()
        # (A client that knows nothing of the end sends it half a round trip later at most.)
        host.advance(0.8 * grace - latency)
        late.send(request())
        answer = late.take()
        assert (answer.body, answer.headers['connection']) == (b'hello', 'close')
        late.until_ended()
        assert host.now < start + grace + 2 * latency
        host.advance(2 * latency)
        assert host.closed == {'done': 1}


@pytest.mark.parametrize('idle_timeout', [0.01, 0.5, 100])
def test_idle_timeout_neither_shortens_nor_lengthens_it(app, idle_timeout):
    with virtual(app, slow(0.02), idle_timeout=idle_timeout, first_byte_timeout=100) as host:
        client = host.connect()
        host.advance(1)
        start = host.now
        host.server.drain()
        client.until_ended()
        assert client.ended_at == pytest.approx(start + 0.42, abs=0.001)


def test_a_connection_that_becomes_idle_later_has_its_round_trips_from_then_on(app):
    # The head of the answer has promised that the connection goes on.
    with virtual(app, slow(0.01)) as host:
        clients = [host.connect(request('/stream')) for _ in range(2)]
        host.advance(1)
        host.server.drain()
        for each in clients:
            each.until(b'waited')
        end = host.now
        host.advance(0.1)
        clients[1].send(request())
        for each in clients:
            each.until_ended()
        assert clients[0].ended_at == pytest.approx(end + 0.2, abs=0.001)
        host.advance(0.1)
        assert [each.body for each in answers(clients[1].received)] == [b'begun waited', b'hello']
        assert host.closed == {'shutdown': 1, 'done': 1}


def test_a_connection_that_is_busy_is_not_looked_at_more_often_while_draining(app):
    with virtual(app, shutdown_timeout=1000) as host:
        host.connect(request('/stream'))
        host.advance(1)
        host.server.drain()
        turns = host.reactor.turns
        host.advance(3.9)
        assert host.reactor.turns - turns < 20


def test_the_kernel_is_asked_once_for_each_connection_that_stays_idle(app, monkeypatch):
    asked = []
    monkeypatch.setattr(Stream, 'round_trip', property(lambda self: asked.append(self) or 0.1))
    with virtual(app) as host:
        clients = [host.connect(request()) for _ in range(10)]
        for each in clients:
            each.take()
        start = host.now
        host.server.drain()
        for each in clients:
            each.until_ended()
        assert len(asked) == len(set(asked)) == 10
        assert host.now == pytest.approx(start + 1, abs=0.01)


def test_where_the_kernel_cannot_say_it_is_two_seconds(app, monkeypatch):
    monkeypatch.setattr(Stream, 'round_trip', None)
    with virtual(app) as host:
        client = host.connect(request())
        client.take()
        start = host.now
        host.server.drain()
        client.until_ended()
        assert client.ended_at == pytest.approx(start + 2, abs=0.001)


# -- real sockets ---------------------------------------------------------------------------------


def stopping_takes(app: Tremolo, **options: object) -> float:
    """Stop a server with a connection that is kept, and one that asked nothing yet."""
    with serving(app, **options) as host:
        kept, new = host.connect(request()), host.connect()
        assert kept.take().body == b'hello'
        began = time.monotonic()
        host.running.stop()
        took = time.monotonic() - began
        assert kept.read_all() == new.read_all() == b''
    return took


def test_a_kept_connection_on_loopback_does_not_hold_up_a_stop(app):
    # (The least of a few: the machine may be busy, and a delayed acknowledgement counts.)
    assert min(stopping_takes(app) for _ in range(5)) < 1


def test_nor_does_one_on_a_unix_socket(app, tmp_path):
    assert min(stopping_takes(app, bind=f'unix:{tmp_path}/s') for _ in range(5)) < 1


@pytest.mark.skipif(not hasattr(socket, 'TCP_INFO'), reason='needs TCP_INFO')
def test_the_kernel_says_how_long_a_round_trip_takes(app):
    with serving(app) as host:
        client = host.connect(request())
        client.take()
        connection, = host.server.connections
        trip = host.on_loop(lambda: connection.stream.round_trip)
        assert trip is None or 0 < trip < 1

"""A late answer: its handler has waited. What comes after it on the same connection."""

from __future__ import annotations

import pytest
from server_support import bodies, request, virtual

from tremolo import Tremolo, sleep


@pytest.fixture
def begun() -> list[str]:
    return []


@pytest.fixture
def app(begun) -> Tremolo:
    app = Tremolo()

    @app.route('/late/<name>')
    def late(name):
        yield sleep(1)
        yield name

    @app.route('/big')
    def big():
        begun.append('big')
        yield sleep(1)
        return bytes(300_000)

    @app.route('/stream')
    def stream():
        yield b'one'
        yield sleep(1)
        yield b'two'

    return app


@pytest.mark.parametrize('draining', [False, True])
def test_the_idle_time_counts_from_a_late_answer(app, draining):
    with virtual(app, idle_timeout=60) as host:
        client = host.connect(request('/late/a'))
        client.take()
        began = host.now
        if draining:
            host.server.drain()
        client.until_ended()
        assert host.closed == {'shutdown' if draining else 'idle_timeout': 1}
        assert client.ended_at - began == pytest.approx(0.05 if draining else 60, abs=0.1)


def test_a_server_that_begins_to_drain_in_a_late_answer_ends_the_connection(app):
    with virtual(app, idle_timeout=60) as host:
        client = host.connect(request('/stream'))
        host.advance(0.5)
        host.server.drain()
        client.until_ended()
        assert bodies(client.received) == [b'onetwo']
        assert host.closed == {'shutdown': 1}
        assert host.now < 1.5


def test_requests_that_came_meanwhile_are_answered(app):
    with virtual(app) as host:
        client = host.connect(request('/late/a'))
        host.advance(0.5)
        client.send(request('/late/b') + request('/late/c')[:-2])
        host.until(lambda: client.received.endswith(b'b'))
        client.send(b'\r\n')
        host.until(lambda: client.received.endswith(b'c'))
        assert bodies(client.received) == [b'a', b'b', b'c']


def test_a_client_that_ended_its_side_meanwhile_is_closed_after_the_answer(app):
    with virtual(app, half_close_timeout=5) as host:
        client = host.connect(request('/late/a'))
        client.fin()
        client.until_ended()
        assert bodies(client.received) == [b'a']
        assert host.now < 2
        assert host.closed == {'client': 1}


def test_reading_that_was_paused_goes_on(app):
    with virtual(app, pipeline_size=1000) as host:
        client = host.connect(request('/late/a') * 100)
        host.until(lambda: client.received.count(b'200 OK') == 100)
        assert bodies(client.received) == [b'a'] * 100


def test_the_next_request_waits_for_a_client_that_takes_nothing(app, begun):
    with virtual(app) as host:
        client = host.connect(request('/big'))
        client.reading = False
        host.advance(2)
        client.send(request('/big'))
        host.advance(2)
        assert begun == ['big']
        client.reading = True
        host.until(lambda: len(client.received) > 600_000)
        assert [len(body) for body in bodies(client.received)] == [300_000] * 2


def test_an_answer_that_is_kept_is_watched(app):
    with virtual(app, stall_timeout=5) as host:
        client = host.connect(request('/big'))
        client.reading = False
        host.until(lambda: host.closed)
        assert host.closed == {'stall_timeout': 1}
        assert host.now < 20


def test_a_late_answer_leaves_nothing_to_do(app, monkeypatch):
    """No callback is put for the next request (measured: 16 % of a handler that waits once)."""
    with virtual(app) as host:
        client = host.connect(request('/late/a'))
        client.take()
        host.settle()
        called = []
        put = host.reactor.call_soon

        def call_soon(callback, *args):
            called.append(repr(callback))
            put(callback, *args)

        monkeypatch.setattr(host.reactor, 'call_soon', call_soon)
        client.send(request('/late/a'))
        client.take()
        host.settle()
        assert called
        assert not [each for each in called if 'Connection' in each]

"""Clients that ask for much and take nothing: soon gone, and the kernel keeps nothing for them."""

from __future__ import annotations

import pytest
from server_support import request, virtual
from simulated import World

from tremolo import Tremolo

BIG = 1_000_000


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/big')
    def big():
        return b'x' * BIG

    return app


def take_at_once(host, client, size):
    """Let a client take so many bytes, and nothing more: its receive buffer is full."""
    client.reading = False
    taken = 0
    while taken < size:
        host.settle()
        taken += len(client.sock.recv(size - taken))


@pytest.mark.parametrize('earlier', [0, 1, 3])
def test_what_a_client_took_at_once_is_no_credit_for_a_minute(app, earlier):
    """Neither what fills its receive buffer, nor earlier answers of its connection."""
    with virtual(app, World(seed=1, buffer_size=20_000), connections=1) as host:
        client = host.connect()
        for _ in range(earlier):
            client.send(request('/big'))
            assert len(client.take().body) == BIG
        client.reading = False
        client.send(request('/big'))
        begun = host.now
        take_at_once(host, client, 20_000)
        host.until(lambda: host.closed)
        # Looked at after 5 s, and from then on the credit of 5 s.
        assert host.now - begun <= 10.1
        assert host.closed == {'min_download_rate': 1}


@pytest.mark.parametrize('rate', [300, 2000])
def test_a_client_that_is_fast_enough_is_not_cut_though_connections_are_scarce(app, rate):
    with virtual(app, World(seed=1, buffer_size=20_000), connections=1) as host:
        client = host.connect(request('/big'))
        take_at_once(host, client, 20_000)
        for _ in range(120):
            host.advance(0.5)
            client.sock.recv(rate // 2)
        assert not host.closed


@pytest.mark.parametrize('connections', [1, 'off'], ids=['scarce', 'plenty'])
def test_who_is_cut_for_taking_nothing_gets_a_reset(app, connections):
    """An orderly end would not reach it, and the kernel would keep the answer."""
    with virtual(app, World(seed=1, buffer_size=20_000), connections=connections) as host:
        client = host.connect(request('/big'))
        client.reading = False
        host.until(lambda: host.closed)
        assert list(host.closed) == ['min_download_rate' if connections == 1 else 'stall_timeout']
        client.reading = True
        client.until_ended()
        assert client.ended == 'reset'

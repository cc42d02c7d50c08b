"""A connection that one server gives to another, over a line, in one process."""

from __future__ import annotations

import socket

import pytest
from server_support import Client, request

from tremolo import Tremolo, sleep
from tremolo.workers.channel import CONNECTION, Channel
from tremolo.workers.handover import Handover


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/slow')
    def slow():
        yield sleep(0.05)
        yield b'slow'

    return app


def test_idle_and_busy_connections_go_on_at_the_other_server(app):
    old = app.start(thread=False)
    new = app.start(thread=False)
    ours, theirs = socket.socketpair()
    kinds = []

    def heard(kind, sock):
        kinds.append(kind)
        new.server.take(sock)

    receiving = Channel(new.reactor, theirs, heard, lambda: None)
    sending = Channel(old.reactor, ours, heard, lambda: None)

    def step(condition):
        while not condition():
            old.step(0.01)
            new.step(0.01)

    idle, fresh, busy = (Client(old.address) for _ in range(3))
    idle.send(request())
    step(lambda: old.server.connections)
    step(lambda: len(old.server.connections) == 3)
    busy.send(request('/slow'))
    step(lambda: any(each.phase == 'busy' for each in old.server.connections))
    Handover(old.server, sending).start()
    step(lambda: old.server.stopped.done() and len(kinds) == 3)
    assert old.server.closed == {'handed over': 3}
    assert kinds == [CONNECTION] * 3
    assert idle.take().body == b'hello'
    assert busy.take().body == b'slow'
    for client in (idle, fresh, busy):
        client.send(request())
    step(lambda: sum(each.phase == 'idle' for each in new.server.connections) == 3)
    for client in (idle, fresh, busy):
        assert client.take().body == b'hello'
        client.close()
    sending.close()
    receiving.close()
    old.stop()
    new.stop()

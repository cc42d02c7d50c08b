"""A connection that one server gives to another, over a line, in one process."""

from __future__ import annotations

import os
import socket

import pytest
from server_support import Client, request, serving, virtual

from tremolo import Tremolo, sleep
from tremolo.workers.channel import CONNECTION, ROOM, TAKEN, Channel
from tremolo.workers.handover import Handover


@pytest.fixture
def app() -> Tremolo:
    return make_app()


def make_app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/slow')
    def slow():
        yield sleep(0.05)
        yield b'slow'

    return app


def test_idle_and_busy_connections_go_on_at_the_other_server():
    old = make_app().start(thread=False)
    new = make_app().start(thread=False)
    ours, theirs = socket.socketpair()
    kinds = []

    def heard(kind, sock):
        kinds.append(kind)
        new.server.take(sock)
        receiving.send(TAKEN)

    receiving = Channel(new.reactor, theirs, heard, lambda: None)
    sending = Channel(old.reactor, ours, lambda *message: handover.heard(*message), lambda: None)

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
    handover = Handover(old.server, sending, False)
    handover.start()
    receiving.send(ROOM)
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


# -- which connections can be handed over ---------------------------------------------------------


@pytest.fixture
def host(app):
    @app.route('/long')
    def long():
        return b'x' * 1_000_000

    @app.route('/unsent')
    def unsent(request):
        seen.append(request.connection.transferable)
        return b''

    seen: list[bool] = []
    with virtual(app) as host:
        host.seen = seen
        yield host


def transferable(host) -> bool:
    connection, = host.server.connections
    return connection.transferable


def test_a_connection_between_two_requests_is_transferable(host):
    client = host.connect()
    host.settle()
    assert transferable(host)
    client.send(request())
    client.take()
    assert transferable(host)


def test_a_connection_within_a_head_is_not_transferable(host):
    client = host.connect(request()[:-5])
    host.settle()
    assert not transferable(host)
    client.send(request()[-5:])
    client.take()
    assert transferable(host)


def test_a_connection_that_is_answered_is_not_transferable(host):
    client = host.connect(request('/unsent') + request('/slow'))
    host.settle()
    assert host.seen == [False]
    assert not transferable(host)
    assert client.take().body == b''
    assert client.take().body == b'slow'
    assert transferable(host)


def test_an_answer_that_waits_for_the_end_of_the_turn_is_not_left_behind(host):
    seen = []

    def look() -> None:
        connection, = host.server.connections
        seen.append((connection.phase, connection.stream.unsent > 0, connection.transferable))

    client = host.connect(request('/'))
    handle = host.server.handle

    def handle_and_look(request, response):
        handle(request, response)
        host.reactor.call_soon(look)

    host.server.handle = handle_and_look
    client.take()
    host.settle()
    assert seen == [('idle', True, False)]
    assert transferable(host)


def test_an_answer_that_the_client_has_not_taken_is_not_left_behind(host):
    client = host.connect()
    client.reading = False
    client.send(request('/long'))
    host.advance(1)
    connection, = host.server.connections
    assert connection.phase == 'idle' and connection.stream.buffered
    assert not transferable(host)
    client.reading = True
    client.take()
    assert transferable(host)


def test_an_end_is_not_handed_over(host):
    client = host.connect(request())
    client.take()
    connection, = host.server.connections
    client.lingers = True
    client.fin()
    host.until(lambda: connection.stream.eof)
    assert not connection.transferable
    client.until_ended()
    host.until(lambda: connection.stream.closed)
    assert not connection.transferable


@pytest.mark.parametrize('phase', ['discard', 'closing', 'linger', 'upgraded', 'closed'])
def test_no_other_phase_is_transferable(host, phase):
    host.connect(request()).take()
    connection, = host.server.connections
    assert connection.transferable
    connection.phase = phase
    assert not connection.transferable
    connection.phase = 'idle'


def test_an_encrypted_connection_is_not_transferable(host):
    class Encrypted:
        secure = True

        def __getattr__(self, name):
            return getattr(stream, name)

    host.connect(request()).take()
    connection, = host.server.connections
    stream, connection.stream = connection.stream, Encrypted()
    assert not connection.transferable
    connection.stream = stream
    assert connection.transferable


def test_what_is_transferred_ends_here_and_nobody_is_told(app):
    told = []
    with serving(app) as host:
        client = host.connect(request())
        client.take()

        def transfer() -> socket.socket:
            connection, = host.server.connections
            host.server.request_observers.append(lambda *args: told.append(args))
            other = socket.socket(fileno=os.dup(connection.stream.fd))
            connection.abort('handed over')
            return other

        with host.on_loop(transfer) as other:
            assert host.server.closed == {'handed over': 1}
            client.send(b'more')
            other.setblocking(True)
            assert other.recv(10) == b'more'
            other.sendall(b'answer')
            client.until(b'answer')
        assert told == []

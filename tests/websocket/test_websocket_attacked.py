"""Hostile clients, unlucky networks and careless handlers."""

from __future__ import annotations

import gc
import platform
import zlib
from contextlib import suppress

import pytest
from server_support import serving, virtual
from websocket_support import (
    BINARY,
    MASK,
    PONG,
    TEXT,
    Client,
    Sockets,
    close_frame,
    echo,
    frame,
    handshake,
    head,
    masked,
    text,
)

from tremolo.loop import sleep, spawn
from tremolo.server import HandlerError
from tremolo.websocket import WebSocketClosed

DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'


def silent(websocket):
    """Accept, and never receive."""
    yield websocket.accept()
    yield websocket.disconnected


def deflated(size, times):
    """Compress zeros so many times: each time the same, for a full flush forgets the last one."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -12)
    return [squeeze.compress(bytes(size)) + squeeze.flush(zlib.Z_FULL_FLUSH)] * times


def test_one_byte_a_second_is_too_slow():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host)
        for byte in head(BINARY, 1000) + MASK + masked(bytes(1000)):
            client.send(bytes((byte,)))
            host.advance(1)
            if client.raw.ended:
                break
        assert client.closed()[0] == 1008
        assert host.now < 60
        assert app.outcomes[0][0] == 1008


def test_a_bomb_in_one_frame():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host, '/', DEFLATE)
        client.send(frame(BINARY, b''.join(deflated(1 << 20, 100))[:-4], compressed=True))
        assert client.closed()[0] == 1009


def test_a_bomb_in_many_fragments():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host, '/', DEFLATE)
        data = b''.join(deflated(1 << 20, 20))[:-4]
        parts = [data[i:i + 7] for i in range(0, len(data), 7)]
        client.send(frame(BINARY, parts[0], False, True), *(frame(0, p, False) for p in parts[1:]))
        assert client.closed()[0] == 1009


def test_bombs_over_several_messages_wait():
    app = Sockets(silent)
    with virtual(app) as host:
        client = Client(host, '/', DEFLATE)
        parts = [part[:-4] for part in deflated((1 << 20) - 1, 100)]
        client.send(*(frame(BINARY, p, compressed=True) for p in parts))
        host.advance(5)
        backlog = app.sockets[0].backlog
        assert len(backlog.messages) == 2
        assert app.sockets[0].held


@pytest.mark.parametrize('end', ['client', 'reset', 'own', 'drain'])
def test_after_stream_who_waits_is_told_at_once(end):
    told = []

    def handler(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        spawn(closer(websocket))
        try:
            while (yield source.read()):
                pass
        except WebSocketClosed as error:
            told.append((error.code, websocket.reactor.time()))

    def closer(websocket):
        yield sleep(1)
        if end == 'own':
            websocket.close(3000)

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        client.send(frame(TEXT, b'x', False))
        host.advance(0.5)
        if end == 'client':
            client.send(close_frame(3001))
        elif end == 'reset':
            client.raw.reset()
        elif end == 'drain':
            host.server.drain()
        host.advance(3)
        assert len(told) == 1
        assert told[0][0] == {'client': 3001, 'reset': 1006, 'own': 3000, 'drain': 1001}[end]
        host.advance(20)


def test_a_message_given_back_after_stream_is_not_lost():
    got = []

    def handler(websocket):
        yield websocket.accept()
        first = websocket.receive()
        first_taken = websocket.waiting is first
        assert first_taken
        yield sleep(1)           # 'a' has come
        assert first.done()
        stream = websocket.stream()
        first.give_back(first.result())
        source = yield stream
        got.append((yield source.read()))
        got.append((yield websocket.receive()))

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        client.send(text('a'), text('b'))
        host.advance(3)
        assert got == ['a', 'b'], got


def test_a_message_over_the_limit_after_stream():
    got = []

    def handler(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        while (yield source.read()):
            pass
        try:
            got.append(len((yield websocket.receive())))
        except WebSocketClosed as error:
            got.append((error.code, ''))

    with virtual(Sockets(handler), ws_message_size=1000) as host:
        client = Client(host)
        client.send(text('a'), frame(BINARY, bytes(1001)))
        host.advance(3)
        assert got == [(1009, '')]


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='no reference counts')
@pytest.mark.parametrize('kind', ['streams', 'plain', 'sink', 'backlog', 'ping'])
@pytest.mark.parametrize('how', ['client', 'reset', 'own', 'fault', 'stall'])
def test_no_garbage(kind, how):
    def handler(websocket):
        yield websocket.accept()
        if kind == 'streams':
            source = yield websocket.stream()
            yield source.read(1)
            yield source.read(1)
        elif kind == 'sink':
            sink = websocket.stream(text=True)
            yield sink.write('x')
            websocket.send('later')
            yield websocket.receive()
        elif kind == 'backlog':
            yield sleep(0.5)
            yield websocket.receive()
        elif kind == 'ping':
            websocket.ping()
            assert not websocket.disconnected.done()
            yield websocket.ping()
        else:
            yield websocket.receive()
        if how == 'own':
            yield websocket.close()
        while True:
            yield websocket.receive()

    app = Sockets(handler)
    with virtual(app, ws_ping_interval=0) as host:
        def one():
            client = Client(host)
            client.send(text('hello'), text('more'),
                        frame(PONG, b'\0\0\0\1'), frame(PONG, b'\0\0\0\2'))
            host.advance(0.1)
            if how == 'client':
                client.send(close_frame())
            elif how == 'reset':
                client.raw.reset()
            elif how == 'fault':
                client.send(b'\xff\xff')
            elif how == 'stall':
                client.raw.fin()
            host.advance(30)
            client.raw.close()
            host.clients.clear()
            app.sockets.clear()
            app.outcomes.clear()
        one()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                one()
            assert len(host.server.connections) == 0
            gc.collect()
            # (The pair of sockets of the simulated network is a cycle.)
            left = [type(each).__name__ for each in gc.garbage
                    if type(each).__module__.startswith('tremolo')]
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.garbage.clear()
        assert not left


@pytest.mark.parametrize('payload', [b'', b'x'])
@pytest.mark.parametrize('state', ['open', 'closing', 'stream'])
def test_a_flood_of_fragments_leaves_others_their_turn(payload, state):
    got = []

    def handler(websocket):
        yield websocket.accept()
        if state == 'stream':
            source = yield websocket.stream()
            while (data := (yield source.read())):
                got.append(data)
        elif state == 'closing':
            yield websocket.close()
        else:
            got.append((yield websocket.receive()))

    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        client.send(frame(BINARY, b'x', False))
        host.advance(1)
        websocket = app.sockets[0]
        one = frame(0, payload, False)
        count = 65536 // len(one)
        websocket.wire.receiver.data_received(one * count)
        assert 0 < websocket.parser.buffered < count * len(one)
        client.send(frame(0), close_frame())
        client.raw.until_ended()
        assert b''.join(got) == (b'' if state == 'closing' else b'x' + payload * count)


def test_a_client_that_takes_slowly_what_is_kept_is_there():
    # (The pings are behind all that the system keeps for it.)
    def handler(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send(bytes(100_000))

    app = Sockets(handler)
    with virtual(app, stall_timeout=30) as host:
        client = Client(host)
        client.raw.reading = False
        for _ in range(1000):
            host.advance(0.1)
            with suppress(BlockingIOError):
                client.raw.sock.recv(1000)
        assert app.sockets[0].state == 'open'
        host.advance(60)
        assert app.outcomes[0][0] == 1006


def test_a_close_that_finds_the_client_gone_keeps_no_error_that_was_handled_meanwhile():
    # (The traceback of that error leads to the socket, and the socket to its stream: a cycle.)
    app = Sockets(echo)
    with serving(app) as host:
        client = host.connect(handshake())
        assert client.take().status == 101

        def fault():
            client.reset()
            websocket = app.sockets[0]
            websocket.data_received(b'\xff\xff')
            return websocket.wire.cause

        error = host.on_loop(fault)
        assert isinstance(error, ConnectionResetError)
        assert error.__context__ is None


def test_a_sink_before_accept_is_an_error_and_nothing_waits_for_its_end():
    def handler(websocket):
        with pytest.raises(HandlerError, match='accept'):
            websocket.stream(text=True)
        yield websocket.accept()
        yield websocket.send('hello')

    with virtual(Sockets(handler)) as host:
        assert Client(host).messages(1) == [b'hello']

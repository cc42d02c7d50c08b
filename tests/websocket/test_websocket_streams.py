"""Messages in pieces, both ways, and what waits behind them."""

from __future__ import annotations

import pytest
from server_support import virtual
from websocket_support import (
    BINARY,
    CLOSE,
    MASK,
    PING,
    PONG,
    TEXT,
    Client,
    Sockets,
    close_frame,
    frame,
    head,
    text,
)

from tremolo import HandlerError
from tremolo.websocket import WebSocketClosed


def sums(websocket):
    """Send the size of each message, which is read in pieces."""
    yield websocket.accept()
    while True:
        source = yield websocket.stream()
        size = 0
        while True:
            piece = yield source.read(10000)
            assert isinstance(piece, str) is source.text and len(piece) <= 10000
            if not piece:
                break
            size += len(piece)
        yield websocket.send(f'{"text" if source.text else "binary"} {size}')


def test_a_message_of_any_size_is_read_in_flat_memory():
    app = Sockets(sums)
    with virtual(app, ws_message_size=30000, min_upload_rate='off') as host:
        client = Client(host)
        client.send(head(BINARY, 5_000_000) + MASK)
        most = 0
        for _ in range(50):
            client.send(bytes(100_000))
            host.settle()
            most = max(most, app.sockets[0].incoming._size)
        assert client.messages() == [b'binary 5000000']
        assert most <= 100_000
        client.send(text('short'), frame(TEXT, b'', True), frame(BINARY, b'abc', False),
                    frame(PING, b'x'), frame(0, b'def', True))
        assert client.wait(4) == [(PONG, b'x', True), (TEXT, b'text 5', True),
                                  (TEXT, b'text 0', True), (TEXT, b'binary 6', True)]


def test_nobody_reads_a_stream_and_the_client_has_to_wait():
    def handler(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        yield source.read(1)
        yield websocket.disconnected

    app = Sockets(handler)
    with virtual(app, ws_message_size=30000) as host:
        client = Client(host)
        client.send(head(BINARY, 5_000_000) + MASK + bytes(1_000_000))
        host.advance(3)
        assert client.raw.unsent > 500_000
        assert app.sockets[0].incoming._size < 200_000


def test_the_rest_of_a_stream_is_skipped_by_the_next_receive():
    def handler(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        got.append((yield source.read(3)))
        got.append((yield websocket.receive()))
        got.append((yield source.read()))
        source = yield websocket.stream()
        got.append((yield websocket.receive()))
        got.append((yield source.read()))
        with pytest.raises(WebSocketClosed):
            yield websocket.stream()

    got = []
    app = Sockets(handler)
    with virtual(app, ws_message_size=30000) as host:
        client = Client(host)
        client.send(frame(TEXT, b'abcdef' * 9000, False), frame(0, b'x'), text('second'),
                    frame(BINARY, b'third'), text('fourth'), close_frame())
        client.raw.until_ended()
        host.settle()
        assert got == ['abc', 'second', '', 'fourth', b'']
        assert app.outcomes == ['returned']


def test_a_stream_begins_with_messages_that_came_before():
    def handler(websocket):
        yield websocket.accept()
        got.append((yield websocket.receive()))
        source = yield websocket.stream()
        got.append((yield source.read()))
        got.append((yield websocket.receive()))

    got = []
    with virtual(Sockets(handler)) as host:
        client = Client(host, ahead=text('one') + text('two') + text('three'))
        client.wait()
        assert got == ['one', 'two', 'three']


def test_a_message_that_is_cut_raises_and_a_long_one_is_1009_for_receive():
    def cut(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        got.append((yield source.read()))
        yield source.read()

    got = []
    app = Sockets(cut)
    with virtual(app) as host:
        client = Client(host)
        client.send(frame(TEXT, b'half', False))
        host.settle()
        client.raw.fin()
        host.advance(1)
        assert got == ['half'] and app.outcomes == [(1006, '')]

    def long(websocket):
        yield websocket.accept()
        yield websocket.stream()
        yield websocket.receive()

    app = Sockets(long)
    with virtual(app, ws_message_size=1000) as host:
        client = Client(host)
        client.send(text('a'), head(BINARY, 50000) + MASK + bytes(50000))
        assert client.closed()[0] == 1009


def test_a_read_in_progress_is_told_of_our_own_close():
    def handler(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        yield source.read()
        reading = source.read()
        websocket.close(3000, 'enough')
        assert reading.exception().code == 3000
        with pytest.raises(WebSocketClosed):
            yield websocket.stream()

    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        client.send(frame(TEXT, b'half', False))
        host.settle()
        client.send(close_frame(3001))
        assert client.closed() == (3000, 'enough')
        assert app.outcomes == ['returned']


def test_a_sink_sends_fragments_and_whole_messages_wait_for_its_end():
    def handler(websocket):
        yield websocket.accept()
        sink = websocket.stream(text=True)
        yield sink.write('one')
        with pytest.raises(HandlerError, match='being streamed'):
            websocket.stream(text=False)
        with pytest.raises(TypeError, match='takes str, not bytes'):
            sink.write(b'x')
        behind = websocket.send('whole')
        pinged = websocket.ping()
        yield sink.write('')
        yield sink.write('two')
        assert not behind.done() and websocket.kept > 0
        yield sink.end('three')
        yield behind
        with pytest.raises(HandlerError, match='has ended'):
            sink.write('x')
        second = websocket.stream(text=False)
        yield second.write(b'\0')
        yield second.end()
        websocket.close()
        assert not pinged.done() or pinged.exception()

    app = Sockets(handler)
    with virtual(app) as host:
        client = Client(host)
        client.send(close_frame())
        client.raw.until_ended()
        assert app.outcomes == ['returned']
        assert [each for each in client.frames() if each[0] != PING] == [
            (TEXT, b'one', False), (0, b'two', False), (0, b'three', True), (TEXT, b'whole', True),
            (BINARY, b'\0', False), (0, b'', True), (CLOSE, b'\x03\xe8', True)]


def test_a_read_that_was_cancelled_gives_its_piece_back():
    def handler(websocket):
        yield websocket.accept()
        source = yield websocket.stream()
        first = source.read(2)
        assert first.done()
        first.cancel()
        got.append((yield source.read(3)))
        got.append((yield source.read()))
        got.append((yield source.read()))

    got = []
    with virtual(Sockets(handler)) as host:
        client = Client(host, ahead=text('abcdef'))
        client.wait()
        assert got == ['ab', 'cdef', '']

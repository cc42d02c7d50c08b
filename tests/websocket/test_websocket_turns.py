"""Many tiny frames in one read do not hold the loop: other sockets have their turn."""

from __future__ import annotations

import zlib

import pytest
from server_support import virtual
from websocket_support import BINARY, PING, PONG, TEXT, Client, Sockets, close_frame, frame, text

TINY = [frame(0, b'x', last=False), frame(0, b'', last=False)]


@pytest.mark.parametrize('fragment', TINY)
def test_a_flood_of_fragments_gives_the_others_their_turn(fragment):
    got = []

    def handler(websocket):
        yield websocket.accept()
        while True:
            got.append((yield websocket.receive()))

    with virtual(Sockets(handler)) as host:
        flood, other = Client(host), Client(host)
        count = 60_000 // len(fragment)
        flood.send(frame(BINARY, last=False), fragment * count, frame(0))
        other.send(text('hello'))
        host.until(lambda: len(got) == 2)
        assert got == ['hello', b'x' * count * (len(fragment) - 6)]


@pytest.mark.parametrize('closes', [False, True], ids=['open', 'closing'])
@pytest.mark.parametrize('tiny', [
    TINY[1], TINY[0] * 3 + frame(PING), frame(PING), frame(PONG),
    frame(TEXT, last=False) + frame(0)])
def test_the_loop_goes_round_between_a_bounded_number_of_frames(tiny, closes):
    turns = []

    def handler(websocket):
        yield websocket.accept()
        parser = websocket.parser

        def turn():
            turns.append(parser.buffered)
            if parser.buffered:
                websocket.reactor.call_soon(turn)

        message = yield websocket.receive()
        assert message == 'begin'
        turn()
        if closes:
            yield websocket.close()
        while True:
            yield websocket.receive()

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        within = tiny[0] in (0, 0x80)
        client.send(text('begin'), frame(BINARY, last=False) if within else b'', tiny * 3000,
                    frame(0) if within else b'', close_frame())
        assert client.closed() == (1000, '')
        steps = [before - after for before, after in zip(turns, turns[1:])]
        assert len(steps) > 3000 / 130
        assert max(steps) <= 130 * len(tiny)


def test_a_ping_within_a_flood_of_fragments_is_answered():
    def handler(websocket):
        yield websocket.accept()
        yield websocket.receive()

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        client.send(frame(BINARY, last=False), TINY[0] * 1000, frame(PING, b'?'), TINY[0] * 1000)
        assert client.wait() == [(PONG, b'?', True)]


def deflated(payload: bytes) -> bytes:
    """A message, compressed, in one frame."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -12)
    data = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, data[:-4], compressed=True)


@pytest.mark.parametrize('closes', [False, True], ids=['open', 'closing'])
@pytest.mark.parametrize('streams', [False, True], ids=['messages', 'pieces'])
def test_what_is_inflated_from_few_bytes_is_bounded_in_a_turn(closes, streams):
    # 16 messages, each of 60 KiB, come as 80 bytes. They are received as fast as they are parsed.
    turns, sizes, count, size = [], [], 16, 60_000

    def handler(websocket):
        yield websocket.accept()
        parser = websocket.parser

        def turn():
            turns.append(parser.buffered)
            if parser.buffered:
                websocket.reactor.call_soon(turn)

        yield websocket.receive()
        turn()
        if closes:
            yield websocket.close()
        while True:
            if streams:
                source = yield websocket.stream()
                while data := (yield source.read()):
                    sizes.append(len(data))
            else:
                sizes.append(len((yield websocket.receive())))

    with virtual(Sockets(handler), ws_queue=1000, ws_message_size=8 << 20) as host:
        client = Client(
            host, '/',
            'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits')
        message = deflated(bytes(size))
        client.send(text('begin') + message * count + close_frame())
        assert client.closed() == (1000, '')
        steps = [before - after for before, after in zip(turns, turns[1:])]
        # (A read and a look at the ready queue, each of 256 KiB and of the message that passes it.)
        assert max(steps) <= 2 * (262_144 // size + 1) * len(message)
        assert closes or sum(sizes) == count * size


@pytest.mark.parametrize('tiny', [frame(PING), TINY[1], frame(TEXT, last=False) + frame(0)])
def test_a_flood_before_a_lost_connection_is_not_read_through_to_its_end(tiny):
    sockets = []

    def handler(websocket):
        sockets.append(websocket)
        yield websocket.accept()
        yield websocket.disconnected

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        flood = tiny * (60_000 // len(tiny))
        client.send(frame(BINARY, last=False) if tiny == TINY[1] else b'', flood)
        host.until(lambda: sockets and sockets[0].state == 'open' and sockets[0].parser.buffered)
        before = sockets[0].parser.buffered
        client.raw.reset()
        host.until(lambda: sockets[0].state == 'closed')
        # (What was parsed at the end: what one turn parses may come on top.)
        assert before - sockets[0].parser.buffered <= (1024 + 4 * 64) * len(tiny)

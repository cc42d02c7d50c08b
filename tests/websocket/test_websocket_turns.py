"""Many tiny frames in one read do not hold the loop: other sockets have their turn."""

from __future__ import annotations

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

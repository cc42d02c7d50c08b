"""Seeded worlds: handlers and clients do anything, in any order; nothing is left, or logged."""

from __future__ import annotations

import random

import pytest
from server_support import virtual
from simulated import World
from websocket_support import Sockets, close_frame, frame, handshake, text

from tremolo.loop import sleep, timeout


def anything(websocket):
    """Do what the seed in the target says, until the socket is over."""
    chance = random.Random(websocket.request.target)
    yield sleep(chance.choice([0, 0, 0.1]))
    yield websocket.accept()
    sink = None
    while True:
        choice = chance.randrange(12)
        if choice < 4:
            yield websocket.send((yield websocket.receive()))
        elif choice == 4:
            try:
                yield timeout(0.05, websocket.receive())
            except TimeoutError:
                websocket.ping()
        elif choice == 5:
            websocket.send(chance.choice(['x' * 9, b'y' * chance.randrange(100_000)]))
        elif choice == 6:
            yield sleep(chance.choice([0.01, 0.5, 3]))
        elif choice == 7 and chance.random() < 0.3:
            source = yield websocket.stream()
            while (yield source.read(5000)) and chance.random() < 0.7:
                pass
        elif choice == 8 and sink is None:
            sink = websocket.stream(text=False)
            yield sink.write(b'q' * chance.randrange(1000))
        elif choice == 9 and sink is not None:
            yield sink.end(b'z')
            sink = None
        elif choice == 10 and chance.random() < 0.1:
            yield websocket.close(3000, 'enough')
        elif choice == 11:
            line = [websocket.receive() for _ in range(3)]
            line[1].cancel()
            yield sleep(0.1)
            for each in line:
                each.cancel()


def act(chance, client):
    """Let a client do something."""
    rare = chance.random() < 0.2
    choice = chance.randrange(9)
    if choice < 3:
        data = chance.choice([text('h' * chance.randrange(300)), frame(2, bytes(2000)),
                              frame(9, b'ping'), frame(10, b'\0\0\0\1')])
        client.send(data * chance.choice([1, 5, 100]))
    elif choice == 3:
        client.send(frame(2, b'a' * 500, last=False) + frame(0, b'b', last=False) * 50
                    + frame(0, b'c'))
    elif choice == 4:
        client.reading = not client.reading
    elif choice == 5 and rare:
        client.send(close_frame(3000))
    elif choice == 6 and rare:
        client.reset()
    elif choice == 7 and rare:
        client.fin()
    elif choice == 8 and rare:
        client.send(bytes(chance.randrange(256) for _ in range(10)))


@pytest.mark.parametrize('seed', range(40))
def test_anything_in_any_order_ends_and_leaves_nothing(seed):
    chance = random.Random(seed)
    app = Sockets(anything)
    world = World(seed=seed, latency=chance.choice([0, 0.01]),
                  buffer_size=chance.choice([5000, 65536]), largest_piece=chance.choice([0, 1000]))
    options = {'ws_queue': chance.choice([1, 3, 64]), 'ws_close_timeout': 1, 'stall_timeout': 5,
               'ws_message_size': chance.choice([1000, 1 << 20]), 'shutdown_timeout': 5,
               'ws_ping_interval': chance.choice([1, 20]),
               'ws_ping_timeout': chance.choice([1, 20]),
               'download_rate': chance.choice([0, 0, 20000])}
    with virtual(app, world, **options) as host:
        clients = [host.connect(handshake(f'/{chance.random()}', *extension))
                   for extension in ((), ('Sec-WebSocket-Extensions: permessage-deflate',))]
        for _ in range(chance.randrange(30)):
            client = chance.choice(clients)
            if not client.ended:
                act(chance, client)
            host.advance(chance.choice([0, 0.01, 0.3, 2]))
        for client in clients:
            if not client.ended:
                client.reset()
        host.advance(20)
        assert [each.state for each in app.sockets] == ['closed'] * len(app.sockets)
        assert all(isinstance(each, tuple) or each.startswith(('returned', 'cancelled'))
                   for each in app.outcomes)
        assert not host.server.connections
        assert not host.reactor.tasks

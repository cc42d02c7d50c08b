"""Backpressure on the `websocket` scope, both ways, and what one socket leaves to others."""

from __future__ import annotations

import asyncio
import contextlib

from asgi_sockets import BINARY, accept, frame, say, site
from server_support import PATIENCE
from test_asgi import answer
from test_asgi_websocket_messages import Seen, echo

MIB = 1 << 20


def test_200_mb_wait_for_a_reader_who_sleeps():
    sent = []

    async def app(scope, receive, send):
        await accept(receive, send)
        piece = bytes(MIB)
        for _ in range(200):
            await say(send, piece)
            sent.append(1)

    with site(app, ws_ping_interval=0) as host:
        peer = host.open(receive_buffer=1 << 18)
        connection, = host.on_loop(lambda: list(host.server.connections))
        stream = connection.stream
        host.wait_for(lambda: stream.buffered > stream.high)
        # What the kernel has and what we keep, together.
        assert len(sent) < 15
        assert host.on_loop(lambda: stream.buffered) <= stream.high + MIB + 10
        assert sum(len(peer.message()) for _ in range(200)) == 200 * MIB
        assert peer.closed() == (1000, '')


def test_many_small_messages_wait_for_a_reader_who_sleeps():
    sent = []

    async def app(scope, receive, send):
        await accept(receive, send)
        while len(sent) < 200000:
            await say(send, 'x' * 100)
            sent.append(1)

    with site(app, ws_ping_interval=0) as host:
        peer = host.open(receive_buffer=4096)
        connection, = host.on_loop(lambda: list(host.server.connections))
        stream = connection.stream
        host.wait_for(lambda: stream.buffered > stream.high)
        assert len(sent) * 102 < 16 * MIB
        assert host.on_loop(lambda: stream.buffered) <= stream.high + 110
        assert peer.message() == 'x' * 100
        peer.gone()


def test_a_flood_is_not_read_by_an_application_that_does_not_receive():
    seen = Seen()

    async def app(scope, receive, send):
        await accept(receive, send)
        while (await receive())['text'] != 'begin':
            pass
        await asyncio.get_running_loop().run_in_executor(None, seen.get)
        count = 0
        while (message := await receive())['type'] == 'websocket.receive':
            count += len(message['bytes'])
        await asyncio.sleep(0)
        seen.put(count)

    with site(app, ws_ping_interval=0) as host:
        peer = host.open()
        peer.text('begin')
        piece, taken = frame(BINARY, bytes(60000)), 0
        sock = peer.client.sock
        sock.settimeout(0.2)
        try:
            # (The kernel takes some MB. What it does not take in 0.2 s nobody reads.)
            while taken < 64 * MIB:
                taken += sock.send(piece[taken % len(piece):])
        except (TimeoutError, OSError):
            pass
        assert taken < 32 * MIB
        connection, = host.on_loop(lambda: list(host.server.connections))
        assert host.on_loop(lambda: connection.stream.paused)
        sock.settimeout(PATIENCE)
        seen.put('receive')
        if taken % len(piece):
            peer.send(piece[taken % len(piece):])
        peer.leave()
        total = -(-taken // len(piece)) * 60000
        host.wait_for(lambda: not host.server.connections)
    assert seen.get() == total


def test_an_application_that_sends_without_waiting_leaves_others_their_turn():
    async def app(scope, receive, send):
        if scope['type'] == 'http':
            await answer(send, b'others')
            return
        await accept(receive, send)
        ended = asyncio.ensure_future(receive())
        while not ended.done():
            await say(send, 'x')

    with site(app) as host:
        peer = host.open()
        peer.client.sock.settimeout(PATIENCE)
        client = host.connect(b'GET / HTTP/1.1\r\nHost: test\r\n\r\n')
        # (Somebody reads all the time what the other says.)
        while not client.received:
            peer.client.sock.recv(MIB)
            client.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.received += client.sock.recv(65536)
            client.sock.settimeout(PATIENCE)
        assert client.take().body == b'others'
        peer.gone()


def test_an_echo_of_a_flood_keeps_every_message():
    with site(echo(), ws_queue=4) as host:
        peer = host.open()
        size, count = 1000, 3000
        wire = b''.join(frame(BINARY, number.to_bytes(4, 'big') * (size // 4))
                        for number in range(count))
        sent = 0
        for number in range(count):
            if sent < len(wire):
                sent += peer.client.sock.send(wire[sent:sent + 3 * size])
            assert peer.message()[:4] == number.to_bytes(4, 'big')

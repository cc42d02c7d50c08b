"""Messages, in both directions."""

from __future__ import annotations

import base64
import hashlib

from server_support import virtual
from websocket_support import (
    BINARY,
    CLOSE,
    KEY,
    PONG,
    TEXT,
    Client,
    Sockets,
    close_frame,
    echo,
    frame,
    text,
)


def test_an_echo():
    app = Sockets(echo)
    with virtual(app) as host:
        client = Client(host)
        assert client.answer.status == 101
        key = hashlib.sha1((KEY + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest()
        assert client.answer.headers['sec-websocket-accept'] == base64.b64encode(key).decode()
        client.send(text('hello'), frame(BINARY, b'\0\1'))
        assert client.wait(2) == [(TEXT, b'hello', True), (BINARY, b'\0\1', True)]
        client.send(close_frame(3000, 'bye'))
        assert client.closed() == (3000, '')
        assert app.outcomes == [(3000, 'bye')]
        assert host.closed == {'upgraded': 1}


def test_what_came_with_the_handshake_is_not_lost():
    with virtual(Sockets(echo)) as host:
        client = Client(host, ahead=text('early') + frame(9, b'x'))
        assert client.wait(2) == [(PONG, b'x', True), (TEXT, b'early', True)]


def test_a_handler_that_returns_closes():
    def handler(websocket):
        yield websocket.accept()

    with virtual(Sockets(handler)) as host:
        client = Client(host)
        assert client.wait(1) == [(CLOSE, (1000).to_bytes(2, 'big'), True)]
        client.send(close_frame())
        client.raw.until_ended()
        assert client.ended == 'fin'
        assert host.closed == {'upgraded': 1}


def test_what_came_before_a_fault_is_answered_before_it():
    with virtual(Sockets(echo)) as host:
        client = Client(host)
        client.send(text('good') + frame(3, b'reserved'))
        answer, close = client.wait(2)
        assert answer == (TEXT, b'good', True)
        assert (close[0], close[1][:2]) == (CLOSE, (1002).to_bytes(2, 'big'))

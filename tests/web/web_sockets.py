"""What the tests of native WebSocket handlers share: a client, simulated or real.

It frames and reads frames in its own words, and knows nothing of the package's parser.
"""

from __future__ import annotations

import inspect
import struct
import zlib
from typing import Any

from server_support import Answer, VirtualClient, serving, virtual
from websocket_frames import ACCEPT, BINARY, CLOSE, TEXT, frame, handshake
from websocket_frames import FIELDS as FIELDS
from websocket_frames import KEY as KEY
from websocket_frames import MASK as MASK
from websocket_frames import PING as PING
from websocket_frames import PONG as PONG

from tremolo import Tremolo

DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate'


class Socket:
    """A client's side of a WebSocket; `answer` is what it got for its handshake."""

    def __init__(self, client: Any, path: str = '/', *lines: str, more: bytes = b'') -> None:
        self.client = client
        self.inflate: Any = None    # What inflates the messages, if they may be compressed.
        client.send(handshake(path, *lines) + more)
        self.answer: Answer = client.take()
        if 'sec-websocket-extensions' in self.answer.headers:
            self.inflate = zlib.decompressobj(-15)

    @property
    def status(self) -> int:
        return self.answer.status

    def send(self, message: str | bytes) -> None:
        binary = isinstance(message, bytes)
        self.client.send(frame(BINARY if binary else TEXT,
                               message if isinstance(message, bytes) else message.encode()))

    def close(self, code: int = 1000, reason: str = '') -> None:
        self.client.send(frame(CLOSE, struct.pack('!H', code) + reason.encode()))

    def _has(self, size: int) -> None:
        """Wait until so many bytes have come."""
        client = self.client
        if isinstance(client, VirtualClient):
            client.host.until(lambda: len(client.received) >= size or client.ended)
        while len(client.received) < size:
            data = b'' if isinstance(client, VirtualClient) else client.sock.recv(1 << 20)
            assert data, f'it ended within a frame: {client.received!r:.100}'
            client.received += data

    def frame(self) -> tuple[int, bytes]:
        """Wait for a frame: its opcode and its payload. All are whole and unmasked."""
        client = self.client
        self._has(2)
        first, size = client.received[:2]
        start = 2
        if size >= 126:
            start = 4 if size == 126 else 10
            self._has(start)
            size = int.from_bytes(client.received[2:start], 'big')
        self._has(start + size)
        payload, client.received = (client.received[start:start + size],
                                    client.received[start + size:])
        if first & 0x40 and first & 15 < CLOSE:
            payload = self.inflate.decompress(payload + b'\x00\x00\xff\xff')
            first -= 0x40
        assert first & 0xf0 == 0x80, f'{first:x}'
        return first & 15, payload

    def take(self) -> str | bytes:
        """Wait for a message of text or bytes."""
        opcode, payload = self.frame()
        assert opcode in (TEXT, BINARY), (opcode, payload)
        return payload.decode() if opcode == TEXT else payload

    def closed(self) -> tuple[int, str]:
        """Wait for a close frame, answer it, and wait for the end: the code and the reason."""
        opcode, payload = self.frame()
        assert opcode == CLOSE, (opcode, payload[:100])
        self.client.send(frame(CLOSE, payload))
        if isinstance(self.client, VirtualClient):
            self.client.until_ended()
            assert self.client.received == b''
        else:
            assert self.client.read_all() == b''
        code, = struct.unpack('!H', payload[:2]) if payload else (1005,)
        return code, payload[2:].decode()


def connect(host: Any, path: str = '/', *lines: str, more: bytes = b'') -> Socket:
    """Open a WebSocket to a host, simulated or real."""
    socket = Socket(host.connect(), path, *lines, more=more)
    assert socket.status == 101, socket.answer
    assert socket.answer.headers['sec-websocket-accept'] == ACCEPT
    return socket


def application(handler: Any, **options: Any) -> Tremolo:
    """Make an application with one handler, of the path '/'."""
    app = Tremolo()
    app.route('/', **options)(handler)
    return app


def serve(handler: Any, **options: Any) -> Any:
    """Serve one handler: in the simulated world, in which there is no asyncio and no thread."""
    parameters = inspect.signature(handler).parameters
    real = (inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)
            or 'thread' in parameters)
    return (serving if real else virtual)(application(handler), **options)


__all__ = ['ACCEPT', 'BINARY', 'CLOSE', 'DEFLATE', 'FIELDS', 'PING', 'PONG', 'TEXT', 'Socket',
           'application', 'connect', 'frame', 'handshake', 'serve']

"""What the tests of the `websocket` scope share: a WebSocket client on a blocking socket.

It frames and reads frames in its own words, and knows nothing of the package's parser.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any

from server_support import Answer, Client, Real, serving
from websocket_frames import ACCEPT as ACCEPT
from websocket_frames import BINARY, CLOSE, TEXT, frame, handshake
from websocket_frames import KEY as KEY
from websocket_frames import PING as PING
from websocket_frames import PONG as PONG

from tremolo.asgi_app import AsgiApplication


def closing(code: int, reason: str = '') -> bytes:
    """Make a close frame."""
    return frame(CLOSE, struct.pack('!H', code) + reason.encode())


class Peer:
    """One client: `peer.answer` is the answer to its handshake."""

    def __init__(self, client: Client, path: str = '/', *lines: str, more: bytes = b'') -> None:
        self.client = client
        self.send = client.send
        self.send(handshake(path, *lines) + more)
        self.answer: Answer = client.take()

    @property
    def status(self) -> int:
        return self.answer.status

    def text(self, message: str) -> None:
        self.send(frame(TEXT, message.encode()))

    def binary(self, message: bytes) -> None:
        self.send(frame(BINARY, message))

    def close(self, code: int = 1000, reason: str = '') -> None:
        self.send(closing(code, reason))

    def _exactly(self, size: int) -> bytes:
        client = self.client
        while len(client.received) < size:
            data = client.sock.recv(1 << 20)
            assert data, f'it ended within a frame: {client.received!r:.100}'
            client.received += data
        found, client.received = client.received[:size], client.received[size:]
        return found

    def frame(self) -> tuple[int, bytes]:
        """Wait for a frame: its opcode and its payload. All are whole and unmasked."""
        first, size = self._exactly(2)
        assert first & 0xf0 == 0x80, f'{first:x}'
        if size == 126:
            size, = struct.unpack('!H', self._exactly(2))
        elif size == 127:
            size, = struct.unpack('!Q', self._exactly(8))
        return first & 15, self._exactly(size)

    def message(self) -> str | bytes:
        """Wait for a message of text or bytes."""
        opcode, payload = self.frame()
        assert opcode in (TEXT, BINARY), (opcode, payload)
        return payload.decode() if opcode == TEXT else payload

    def closed(self) -> tuple[int, str]:
        """Wait for a close frame, answer it, and wait for the end: the code and the reason."""
        opcode, payload = self.frame()
        assert opcode == CLOSE, (opcode, payload[:100])
        self.send(frame(CLOSE, payload))
        assert self.client.read_all() == b''
        self.client.close()
        code, = struct.unpack('!H', payload[:2]) if payload else (1005,)
        return code, payload[2:].decode()

    def leave(self, code: int = 1000, reason: str = '') -> bytes:
        """Close, wait for the answer and the end, and give the payload of the answer."""
        self.close(code, reason)
        opcode, payload = self.frame()
        assert opcode == CLOSE, (opcode, payload[:100])
        assert self.client.read_all() == b''
        self.client.close()
        return payload

    def gone(self) -> None:
        """Leave without a word."""
        with contextlib.suppress(OSError):
            self.client.reset()


class Site(Real):
    """A served application; `site.open()` gives a client whose handshake is answered."""

    def open(self, path: str = '/', *lines: str, more: bytes = b'',
             receive_buffer: int = 0) -> Peer:
        return Peer(self.connect(receive_buffer=receive_buffer), path, *lines, more=more)


@contextlib.contextmanager
def site(app: Any, **options: Any) -> Any:
    """Serve an ASGI application for real."""
    options.setdefault('lifespan', 'off')
    with serving(AsgiApplication(app), **options) as real:
        real.__class__ = Site
        yield real


async def connected(receive: Any) -> None:
    """Receive the first message."""
    assert await receive() == {'type': 'websocket.connect'}


async def accept(receive: Any, send: Any, **more: Any) -> None:
    """Receive the first message, and accept."""
    await connected(receive)
    await send({'type': 'websocket.accept', **more})


async def say(send: Any, message: str | bytes) -> None:
    """Send a message of text or bytes."""
    kind = 'text' if isinstance(message, str) else 'bytes'
    await send({'type': 'websocket.send', kind: message})

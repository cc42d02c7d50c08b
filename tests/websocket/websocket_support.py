"""What the tests of WebSockets share: an application of sockets alone, and a client's frames.

`Sockets(handler)` runs a generator function for each handshake, as the framework does, without its
routes. So these tests see the room `websocket/` and nothing above it.
"""

from __future__ import annotations

import zlib
from contextvars import copy_context
from typing import Any, Callable

from server_support import VirtualClient
from websocket_frames import BINARY as BINARY
from websocket_frames import CLOSE, TEXT, frame, handshake
from websocket_frames import KEY as KEY
from websocket_frames import MASK as MASK
from websocket_frames import PING as PING
from websocket_frames import PONG as PONG
from websocket_frames import head as head
from websocket_frames import masked as masked

from tremolo.http.errors import ProtocolError
from tremolo.loop import Cancelled, Task
from tremolo.service import Service
from tremolo.websocket import WebSocket, WebSocketClosed, refuse
from tremolo.ws.handshake import HandshakeError, read_handshake


class Sockets(Service):
    """An application whose every address is a WebSocket."""

    def __init__(self, handler: Callable[[WebSocket], Any]) -> None:
        super().__init__()
        self.handler = handler
        self.sockets: list[WebSocket] = []
        # How each handler has ended: 'returned', or the error.
        self.outcomes: list[Any] = []

    def handle_on(self, reactor: Any, settings: Any) -> Any:
        return self.handle

    def handle(self, request: Any, response: Any) -> None:
        try:
            handshake = read_handshake(request)
        except HandshakeError as error:
            return refuse(response, error.status, error.sentence, error.fields)
        except ProtocolError as error:
            return refuse(response, error.status, error.sentence)
        if handshake is None:
            return response.send_body(b'no socket')
        websocket = WebSocket.to(request, response, handshake)
        self.sockets.append(websocket)
        connection = request.connection
        task = Task(self.run(websocket, response), context=copy_context(),
                    reactor=connection.stream.reactor)
        if not task.done() and websocket.state != 'closed':
            connection.task = task
        return None

    def run(self, websocket: WebSocket, response: Any) -> Any:
        try:
            yield from self.handler(websocket)
            self.outcomes.append('returned')
            if websocket.state == 'handshake':
                refuse(response, 403)
            else:
                websocket.close()
        except WebSocketClosed as error:
            self.outcomes.append((error.code, error.reason))
        except Cancelled as error:
            self.outcomes.append(f'cancelled: {error}')


def echo(websocket: WebSocket) -> Any:
    yield websocket.accept()
    while True:
        yield websocket.send((yield websocket.receive()))


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def close_frame(code: int = 1000, reason: str = '') -> bytes:
    return frame(CLOSE, code.to_bytes(2, 'big') + reason.encode())


def frames(data: bytes) -> list[tuple[int, bytes, bool]]:
    """Read the server's frames: opcode, payload, whether it is the last of its message. Strict."""
    found = []
    while data:
        first, size = data[0], data[1]
        assert not first & 0x30, data[:20]
        assert size < 128, 'the frame of a server is masked'
        begin = 2
        if size > 125:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(data[2:begin], 'big')
        payload = data[begin:begin + size]
        assert len(payload) == size, 'the last frame is not whole'
        if first & 0x40:
            payload = zlib.decompressobj(-15).decompress(payload + b'\0\0\xff\xff')
        found.append((first & 15, payload, first >= 128))
        data = data[begin + size:]
    return found


class Client:
    """A WebSocket client on a `VirtualClient`, by hand."""

    def __init__(self, host: Any, target: str = '/', *lines: str, ahead: bytes = b'') -> None:
        self.host = host
        self.raw: VirtualClient = host.connect(handshake(target, *lines) + ahead)
        self.answer = self.raw.take()

    @property
    def ended(self) -> str:
        return self.raw.ended

    def send(self, *data: bytes) -> None:
        self.raw.send(b''.join(data))

    def frames(self) -> list[tuple[int, bytes, bool]]:
        """Give the frames that have come, which have to be whole."""
        data, self.raw.received = self.raw.received, b''
        return frames(data)

    def wait(self, count: int = 1) -> list[tuple[int, bytes, bool]]:
        """Wait for so many whole frames, and give all that came."""
        def come() -> bool:
            try:
                return len(frames(self.raw.received)) >= count
            except (AssertionError, IndexError):
                return False
        self.host.until(lambda: come() or self.raw.ended)
        return self.frames()

    def messages(self, count: int = 1) -> list[bytes]:
        return [payload for opcode, payload, _ in self.wait(count) if opcode in (TEXT, BINARY)]

    def closed(self) -> tuple[int, str]:
        """Wait for the end; give the code and the reason of the server's close."""
        self.raw.until_ended()
        opcode, payload, _ = self.frames()[-1]
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], 'big'), payload[2:].decode()



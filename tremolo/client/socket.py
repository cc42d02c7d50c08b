"""Socket: a WebSocket of a test client.

    with client.websocket('/chat', protocols=['v1']) as ws:
        ws.send('hello')                    # str or bytes
        assert ws.receive() == 'hello'      # raises WebSocketClosed when the server has closed
        ws.close(1000)

With an `AsyncClient` each of these is awaited. Pings are answered while it receives. No compression
is offered. Its frames are read here: the parser of the room `ws` reads those of clients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from os import urandom

from ..typed import Any, Union
from ..ws.closed import WebSocketClosed
from ..ws.frames import (
    BEGIN,
    BINARY,
    CLOSE,
    GO_ON,
    MASKED,
    PING,
    PONG,
    TEXT,
    FrameError,
    close_payload,
    fault_of,
    frame_head,
    read_close,
    unmasked,
)
from .answer import Answer
from .each import Each, Run
from .errors import AnswerError
from .exchange import Exchange, Waited

Message = Union[str, bytes]


class ServerFrames:
    """The frames of a server in, messages and control frames out; any fault is a `FrameError`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._kind = 0    # Of the message that has begun: TEXT or BINARY.
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take bytes from the server."""
        self._buffer += data

    def next_event(self) -> tuple[int, Any] | None:
        """Return (TEXT, str), (BINARY, bytes), (PING, bytes), ...; None until more comes."""
        while (found := self._frame()) is not None:
            first, payload = found
            opcode = first & 15
            if opcode == CLOSE:
                return CLOSE, read_close(payload)
            if opcode in (PING, PONG):
                return opcode, payload
            self._kind = self._kind or opcode
            self._parts.append(payload)
            if first & 0x80:
                kind, message = self._kind, b''.join(self._parts)
                self._kind, self._parts = 0, []
                try:
                    return kind, message.decode() if kind == TEXT else message
                except UnicodeDecodeError:
                    raise FrameError(1007, 'a text message is not UTF-8') from None
        return None

    def _frame(self) -> tuple[int, bytes] | None:
        """Take a whole frame: its first byte, and its payload (RFC 6455 section 5.2)."""
        buffer, head = self._buffer, 2
        if len(buffer) < 2:
            return None
        first, size = buffer[0], buffer[1]
        if first not in (GO_ON if self._kind else BEGIN):
            raise FrameError(1002, fault_of(first, self._kind, False))
        if size >= MASKED:
            raise FrameError(1002, 'a frame of a server is masked')
        if first & 15 >= CLOSE and size > 125:
            raise FrameError(1002, 'a control frame has more than 125 bytes')
        if size > 125:
            head, least = (4, 126) if size == 126 else (10, 65536)
            if len(buffer) < head:
                return None
            size = int.from_bytes(buffer[2:head], 'big')
            if size < least or size >> 63:
                raise FrameError(1002, 'the size of a frame is not written as it should be')
        if len(buffer) < head + size:
            return None
        payload = bytes(buffer[head:head + size])
        del buffer[:head + size]
        return first, payload


class ClientSocket(Each[Message]):
    """An open WebSocket; `answer` is the 101, `subprotocol` the one that the server has chosen."""

    def __init__(self, exchange: Exchange, answer: Answer, run: Run) -> None:
        self.exchange = exchange
        self._wire = exchange.wire
        self.run = run
        self._frames = ServerFrames()
        self._frames.feed(self._wire.parser.rest())
        self._waiting: deque[Message] = deque()
        self._closing = False    # Whether we have sent a close frame.
        self.answer = answer
        self.subprotocol = answer.headers.get('sec-websocket-protocol')
        # Of the server's close frame; 1005 if it has no code, 1006 if there is none.
        self.close_code: int | None = None
        self.close_reason = ''

    def send(self, message: Message) -> Any:
        """Send a message: text is str, anything else bytes. Raises `WebSocketClosed`."""
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            raise TypeError(f'a message is str or bytes, not {type(message).__name__}: write '
                            'json.dumps(...)')
        text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else bytes(message)
        return self.run(self._send(TEXT if text else BINARY, payload))

    def receive(self) -> Any:
        """Return the next message, str or bytes.

        Raises `WebSocketClosed` when the server has closed, `TimeoutError`, and what the handler
        has raised.
        """
        return self.run(self._receive())

    def close(self, code: int = 1000, reason: str = '') -> Any:
        """Close, and wait until the server has closed too; messages that still come are dropped.

        `close_code` is then the server's. Harmless when it is closed.
        """
        return self.run(self._close(close_payload(code, reason)))

    def leaving(self) -> Generator[Any, Any, None]:
        """Do what the end of the block does: close."""
        yield from self._close(close_payload(1000, ''))

    # -- what waits -------------------------------------------------------------------------------

    def _send(self, opcode: int, payload: bytes) -> Generator[Waited, Any, None]:
        if self._closing or self.close_code is not None:
            raise WebSocketClosed(self.close_code or 1000, self.close_reason)
        if not (yield self._wire.send(_masked(opcode, payload))):
            # What the server has said before its end is there to be read.
            self._waiting.extend((yield from self._rest()))
            raise WebSocketClosed(self.close_code or 1006, self.close_reason)

    def _rest(self) -> Generator[Waited, Any, list[Message]]:
        messages = []
        while self.close_code is None:
            message = yield from self._next()
            if message is not None:
                messages.append(message)
        return messages

    def _receive(self) -> Generator[Waited, Any, Message]:
        self.exchange.renew()
        while not self._waiting and self.close_code is None:
            message = yield from self._next()
            if message is not None:
                self._waiting.append(message)
        if self._waiting:
            return self._waiting.popleft()
        self.exchange.raise_failure()
        raise WebSocketClosed(self.close_code or 1006, self.close_reason)

    def next_one(self) -> Generator[Waited, Any, Message | None]:
        """Wait for the next message; None when the server has closed."""
        try:
            return (yield from self._receive())
        except WebSocketClosed:
            return None

    def _close(self, payload: bytes) -> Generator[Waited, Any, None]:
        self.exchange.renew()
        if self.close_code is None:
            if not self._closing:
                self._closing = True
                yield self._wire.send(_masked(CLOSE, payload))
            yield from self._rest()
        self.exchange.raise_failure()

    def _next(self) -> Generator[Waited, Any, Message | None]:
        """Wait for the next frame; return a message, None for anything else."""
        try:
            while (event := self._frames.next_event()) is None:
                until = self.exchange.until
                data = yield self._wire.receive(until, self.exchange.seconds)
                if not data:
                    self._ended(1006, '')
                    return None
                self._frames.feed(data)
        except FrameError as error:
            self._ended(1006, '')
            raise AnswerError(f'the server broke WebSocket: {error}') from None
        kind, value = event
        if kind == CLOSE:
            if not self._closing:
                self._closing = True
                code = value[0]
                yield self._wire.send(_masked(
                    CLOSE, b'' if code == 1005 else close_payload(code, '')))
            self._ended(*value)
        elif kind == PING:
            self._wire.send(_masked(PONG, value))
        elif kind != PONG:
            message: Message = value
            return message
        return None

    def _ended(self, code: int, reason: str) -> None:
        self.close_code, self.close_reason = code, reason
        self._wire.end()


def _masked(opcode: int, payload: bytes) -> bytes:
    """Return a frame of a client (RFC 6455 section 5.3)."""
    head, mask = bytearray(frame_head(opcode, len(payload))), urandom(4)
    head[1] |= MASKED
    return bytes(head) + mask + bytes(unmasked(payload, mask))

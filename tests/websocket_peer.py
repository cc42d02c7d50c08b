"""A small WebSocket client for tests: blocking, on a real socket, written from RFC 6455 alone.

It shares nothing with the package. It offers no compression, answers pings, and takes no frame that
a server may not send.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import struct
import time
from typing import Any

# Seconds after which a test gives up.
PATIENCE = 60.0
GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Refused(Exception):
    """The server answered with something else than 101."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status, headers, body)
        self.status = status
        self.headers = headers
        self.body = body


class Closed(Exception):
    """The server has closed: its code and reason; 1005 without a code, 1006 without a close."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Peer:
    """An open socket; `headers` are what the server has answered with."""

    def __init__(self, port: int, path: str = '/', *protocols: str, host: str = '127.0.0.1',
                 **headers: str) -> None:
        """Shake hands. An underscore in a header's name becomes a hyphen."""
        self._socket = socket.create_connection((host, port), PATIENCE)
        self._buffer = b''
        self._until = time.monotonic() + PATIENCE
        self.pings = 0
        try:
            self._shake_hands(f'{host}:{port}', path, protocols, headers)
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self, host: str, path: str, protocols: tuple[str, ...],
                     headers: dict[str, str]) -> None:
        key = base64.b64encode(os.urandom(16))
        lines = [f'GET {path} HTTP/1.1', f'Host: {host}', 'Upgrade: websocket',
                 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
                 f'Sec-WebSocket-Key: {key.decode()}']
        if protocols:
            lines.append(f'Sec-WebSocket-Protocol: {", ".join(protocols)}')
        lines += [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
        self._socket.sendall('\r\n'.join([*lines, '', '']).encode())
        while b'\r\n\r\n' not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b'\r\n\r\n')
        first, *rest = head.decode('latin-1').split('\r\n')
        fields = [line.partition(':') for line in rest]
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        status = int(first.split()[1])
        if status != 101:
            raise Refused(status, self.headers, self._body())
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        assert self.headers['sec-websocket-accept'] == accept
        assert self.headers['upgrade'].lower() == 'websocket'
        assert self.headers['connection'].lower() == 'upgrade'
        assert 'sec-websocket-extensions' not in self.headers
        self.subprotocol = self.headers.get('sec-websocket-protocol')
        assert self.subprotocol is None or self.subprotocol in protocols

    def _body(self) -> bytes:
        """Read the body of a refusal: of a known length, in chunks, or until the end."""
        if self.headers.get('transfer-encoding') == 'chunked':
            body = b''
            while True:
                while b'\r\n' not in self._buffer:
                    self._more()
                size, _, self._buffer = self._buffer.partition(b'\r\n')
                chunk = self._take(int(size, 16) + 2)[:-2]
                if not chunk:
                    return body
                body += chunk
        return self._take(int(self.headers.get('content-length', 0)))

    def _more(self) -> None:
        self._socket.settimeout(max(0.001, self._until - time.monotonic()))
        data = self._socket.recv(65536)
        if not data:
            raise Closed(1006, '')
        self._buffer += data

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def fileno(self) -> int:
        return self._socket.fileno()

    def frame(self, opcode: int, payload: bytes, last: bool = True) -> None:
        """Send one frame, masked."""
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([opcode | 128 * last])
        if size < 126:
            head += bytes([128 | size])
        else:
            head += struct.pack('!BH', 254, size) if size < 1 << 16 else struct.pack(
                '!BQ', 255, size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size], 'big')
        self._socket.sendall(
            head + mask + (int.from_bytes(payload, 'big') ^ key).to_bytes(size, 'big'))

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.frame(TEXT, message.encode())
        else:
            self.frame(BINARY, message)

    def receive(self, patience: float = PATIENCE) -> Any:
        """Give the next message, str or bytes, and answer pings until then.

        Raises `Closed` when the server has closed.
        """
        self._until = time.monotonic() + patience
        kind, parts = 0, []
        while True:
            try:
                first, second = self._take(2)
                size = second
                if size > 125:
                    size = int.from_bytes(self._take(2 if size == 126 else 8), 'big')
                payload = self._take(size)
            except ConnectionError:
                raise Closed(1006, '') from None
            assert second < 128, 'a server does not mask'
            assert not first & 0x70, 'no extension was agreed on'
            opcode, last = first & 15, first & 128
            if opcode >= CLOSE:
                assert last and size < 126
                self._control(opcode, payload)
                continue
            assert opcode in (TEXT, BINARY) if not parts else opcode == CONTINUATION
            kind = kind or opcode
            parts.append(payload)
            if last:
                message = b''.join(parts)
                return message.decode() if kind == TEXT else message

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.pings += 1
            self.frame(PONG, payload)
        elif opcode == CLOSE:
            code, reason = 1005, ''
            if payload:
                code, reason = int.from_bytes(payload[:2], 'big'), payload[2:].decode()
            raise Closed(code, reason)

    def closed(self) -> tuple[int, str]:
        """Receive until the server has closed, and answer it; give code and reason."""
        try:
            while True:
                self.receive()
        except Closed as error:
            # (Then the server ends the connection. It may have done so already.)
            with contextlib.suppress(ConnectionError):
                if error.code != 1006:
                    self.frame(CLOSE, b'' if error.code == 1005 else error.code.to_bytes(2, 'big'))
                    while self._socket.recv(65536):
                        pass
            self.abort()
            return error.code, error.reason

    def close(self, code: int | None = 1000, reason: str = '') -> tuple[int, str]:
        """Close; give what the server answers."""
        self.frame(CLOSE, b'' if code is None else code.to_bytes(2, 'big') + reason.encode())
        try:
            while True:
                self.receive()
        except Closed as error:
            if error.code != 1006:
                assert self._socket.recv(65536) == b''
            self.abort()
            return error.code, error.reason

    def abort(self) -> None:
        """Leave without a word."""
        self._socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

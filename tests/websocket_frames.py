"""The bytes of a WebSocket client: its handshake and its frames, in words of the tests' own.

Nothing here knows the package's parser.
"""

from __future__ import annotations

from server_support import request

KEY, ACCEPT = 'dGhlIHNhbXBsZSBub25jZQ==', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='    # RFC 6455 section 1.3.
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b'\x11\x22\x33\x44'
FIELDS = ('Upgrade: websocket', 'Connection: Upgrade', f'Sec-WebSocket-Key: {KEY}',
          'Sec-WebSocket-Version: 13')


def handshake(target: str = '/', *lines: str, method: str = 'GET', **more: bytes) -> bytes:
    """Make a handshake; `lines` are further header lines."""
    return request(target, method, *FIELDS, *lines, **more)


def head(opcode: int, size: int, last: bool = True, compressed: bool = False) -> bytes:
    """Make the head of a client's frame, up to the mask."""
    first = opcode | (last << 7) | (compressed << 6)
    if size < 126:
        return bytes((first, 128 | size))
    if size < 65536:
        return bytes((first, 254)) + size.to_bytes(2, 'big')
    return bytes((first, 255)) + size.to_bytes(8, 'big')


def masked(payload: bytes) -> bytes:
    """Mask a payload."""
    size = len(payload)
    mask = (MASK * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, 'big') ^ int.from_bytes(mask, 'big')).to_bytes(size, 'big')


def frame(opcode: int, payload: bytes = b'', last: bool = True, compressed: bool = False) -> bytes:
    """Make a masked frame, as a client does."""
    return head(opcode, len(payload), last, compressed) + MASK + masked(payload)

"""Frames: what a frame of a WebSocket consists of (RFC 6455 section 5).

    frame = first byte: FIN RSV1 RSV2 RSV3 opcode | second byte: MASK size | size, if it is long
            | the mask, 4 bytes | the payload, each byte XOR one of the mask

A message is one frame, or several: the first has its opcode (TEXT or BINARY), the others are
CONTINUATION, and the last has FIN. Control frames (CLOSE, PING, PONG) may come between them. RSV1
marks a compressed message (RFC 7692). A client masks its frames, a server does not.
"""

from __future__ import annotations

from ..errors import TremoloError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# No opcodes: a piece of a message (see `FrameParser.pieces`), and that there may be more to parse.
PIECE, MORE = 16, 17

FIN, RSV1, MASKED = 0x80, 0x40, 0x80
# The first bytes that a frame may have: before a message, before one that may be compressed, and
# within a message. A control frame is whole (section 5.5), and not compressed (RFC 7692 section 6).
_CONTROLS = {FIN | CLOSE, FIN | PING, FIN | PONG}
BEGIN = frozenset({TEXT, BINARY, FIN | TEXT, FIN | BINARY, *_CONTROLS})
BEGIN_DEFLATE = BEGIN | {first | RSV1 for first in BEGIN - _CONTROLS}
GO_ON = frozenset({CONTINUATION, FIN | CONTINUATION, *_CONTROLS})

# Up to this size one XOR of two large integers unmasks faster, above it four passes of
# `bytes.translate` do (measured: 1.4 us each at 700 bytes, 166 and 69 us at 64 KiB).
_LARGE = 700
# The bytes that one pass takes, and what `translate` needs to XOR with each octet (made at once:
# that takes 0.3 ms, and 1 KiB is unmasked in 1.6 us instead of 2.0).
_PLACES = tuple(slice(place, None, 4) for place in range(4))
_OCTETS = int.from_bytes(bytes(range(256)), 'big')
_TABLES = tuple((_OCTETS ^ int.from_bytes(bytes((octet,)) * 256, 'big')).to_bytes(256, 'big')
                for octet in range(256))


class FrameError(TremoloError):
    """The peer broke the protocol. `code` is that of the close frame that answers it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.code}: {self.reason}'


def frame(opcode: int, payload: bytes, compressed: bool = False, last: bool = True) -> bytes:
    """Return a whole frame of a server: without a mask."""
    return frame_head(opcode, len(payload), compressed, last) + payload


def frame_head(opcode: int, size: int, compressed: bool = False, last: bool = True) -> bytes:
    """Return the bytes before a payload of `size` bytes (section 5.2)."""
    first = opcode | (FIN if last else 0) | (RSV1 if compressed else 0)
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return bytes((first, 126, size >> 8, size & 255))
    return bytes((first, 127)) + size.to_bytes(8, 'big')


def close_payload(code: int, reason: str) -> bytes:
    """Return the payload of a close frame (section 5.5.1). Raises ValueError."""
    if not may_close_with(code):
        raise ValueError(f'a close code is 1000 to 1003, 1007 to 1014, or 3000 to 4999, not {code}')
    try:
        payload = code.to_bytes(2, 'big') + reason.encode()
    except UnicodeEncodeError:
        raise ValueError('the reason of a close frame has a lone surrogate') from None
    if len(payload) > 125:
        raise ValueError(f'the reason of a close frame has at most 123 bytes as UTF-8, '
                         f'not {len(payload) - 2}')
    return payload


def may_close_with(code: int) -> bool:
    """Return whether a close frame may have this code (section 7.4, and IANA's registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def unmasked(payload: bytes, mask: bytes) -> bytes | bytearray:
    """Return the payload, each byte XOR one of the four of the mask (section 5.3)."""
    size = len(payload)
    if size < _LARGE:
        return (int.from_bytes(payload, 'little')
                ^ int.from_bytes((mask * (size + 3 >> 2))[:size], 'little')
                ).to_bytes(size, 'little')
    plain = bytearray(payload)
    for place, octet in zip(_PLACES, mask):
        plain[place] = plain[place].translate(_TABLES[octet])
    return plain


def read_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame (section 5.5.1); 1005 if it has no code."""
    if not payload:
        return 1005, ''
    code = int.from_bytes(payload[:2], 'big')
    if len(payload) < 2 or not may_close_with(code):
        raise FrameError(1002, 'a close frame has no code, or one that is not allowed')
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(1007, 'the reason of a close frame is not UTF-8') from None


def bad_message(kind: int, compressed: bool) -> FrameError:
    """Return the fault of a message that is no UTF-8, or that cannot be inflated."""
    # Where both faults are possible they have one sentence: zlib does not give the bytes before
    # a fault, so which of the two is found depends on how the bytes arrived.
    if not compressed:
        return FrameError(1007, 'a text message is not UTF-8')
    if kind == BINARY:
        return FrameError(1007, 'a compressed message cannot be inflated')
    return FrameError(1007, 'a compressed text message cannot be inflated, or is not UTF-8')


def fault_of(first: int, kind: int, deflates: bool) -> str:
    """Say what is wrong with the first byte of a frame."""
    opcode = first & 15
    if first & 0x30 or (first & RSV1 and not deflates):
        return 'a frame has a reserved bit set'
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        return 'a frame has a reserved opcode'
    if opcode >= CLOSE:
        return 'a control frame is in fragments, or compressed'
    if kind:
        return 'a message begins within another' if opcode else 'a continuation is compressed'
    return 'a continuation has no message'

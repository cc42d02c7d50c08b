"""WebSocket: the bytes of a client in, messages out (RFC 6455 section 5).

`FrameParser` is always at one of two places: before the head of a frame, or within a payload. What
it says depends on the bytes alone, never on how they were cut into pieces. So a fault is found at
the first byte that shows it: a head is looked at byte by byte, a payload is unmasked, inflated and
decoded as it arrives. A message that is not whole yet is a list of pieces, joined once.

What a frame consists of is told in frames.py, and the server's own frames are made there.
"""

from __future__ import annotations

from codecs import utf_8_decode

from ..typed import TYPE_CHECKING, Any
from . import frames
from .frames import BEGIN, BEGIN_DEFLATE, FIN, GO_ON, MASKED, RSV1, unmasked

# Who uses a FrameParser finds here what goes with it.
from .frames import BINARY as BINARY
from .frames import CLOSE as CLOSE
from .frames import CONTINUATION as CONTINUATION
from .frames import MORE as MORE
from .frames import PIECE as PIECE
from .frames import PING as PING
from .frames import PONG as PONG
from .frames import TEXT as TEXT
from .frames import FrameError as FrameError
from .frames import close_payload as close_payload
from .frames import frame as frame
from .frames import frame_head as frame_head

if TYPE_CHECKING:
    from .deflate import Inflater

# So many pieces of a message are joined to one: a message of tiny fragments must not take many
# times its size (a list takes 8 bytes for each, and each object 50).
_MOST_PIECES = 512
# So many fragments without an event are parsed before the caller has its turn (measured: 0.2 ms;
# one read of 64 KiB may have 10,000, 20 ms).
_MOST_FRAGMENTS = 64
# What one piece of `FrameParser.pieces` may be inflated from, and to, in bytes.
_INFLATE_FROM, _INFLATE_TO = 16384, 65536
# What is left of a close frame once it was read: nothing may follow.
_FOREVER = 1 << 63

# What repeats a mask over a payload of each small size, in whole words.
_MASKS = [int.from_bytes(bytes(4) + b'\1\0\0\0' * (size + 3 >> 2), 'little')
          for size in range(126)]
# (Looked up once: that takes 580 instructions.)
_integer = int.from_bytes


class FrameParser:
    """The frames of a client. Feed it bytes, and ask for events until there is none.

        parser.feed(data)
        while (event := parser.next_event()) is not None:
            kind, value = event       # (TEXT, str), (PING, bytes), (CLOSE, (code, reason)), ...

    (MORE, None) comes after many fragments that have brought no event: let others have their turn,
    and ask again. It is the only event that depends on how the bytes were cut.
    """

    __slots__ = ('_compressed', '_data', '_error', '_firsts', '_fragments', '_inflater', '_kind',
                 '_last', '_left', '_limit', '_mask', '_opcode', '_parts', '_pieces', '_quick',
                 '_recent', '_size', '_undecoded', 'buffered')

    def __init__(self, message_size: int, inflater: Inflater | None = None) -> None:
        self._limit = message_size
        self._inflater = inflater
        self._data = b''              # What was fed; the last `buffered` bytes are not parsed yet.
        self.buffered = 0             # bytes fed that are not parsed yet
        self._pieces = False
        # The usual frame is one whole small message between two others. This is the largest second
        # byte that it may have; 0 while another frame, or nothing, is expected.
        self._quick = self._quickest()
        self._firsts = BEGIN if inflater is None else BEGIN_DEFLATE
        self._error: tuple[int, str] | None = None
        # The frame whose head was read.
        self._opcode = -1             # -1: none, a head is expected
        self._last = True             # its FIN
        self._fragments = 0           # since the last MORE
        self._left = 0                # bytes of its payload that are still to come
        self._mask = b''              # begins with the byte for the next byte of the payload
        # The message that has begun.
        self._kind = 0                # TEXT or BINARY; 0: none
        self._compressed = False
        self._size = 0                # its bytes so far, inflated
        self._parts: list[Any] = []   # joined pieces, str or bytes, and those after them
        self._recent: list[Any] = []
        self._undecoded = b''         # the first bytes of a character that is not whole yet

    def _quickest(self) -> int:
        return 0 if self._pieces else MASKED + min(125, self._limit)

    @property
    def pieces(self) -> bool:
        """Whether messages come in pieces, as they arrive, and may have any size.

        Then the events of a message are (PIECE, (kind, data, last)). At once: what of a message has
        arrived is the next piece.
        """
        return self._pieces

    @pieces.setter
    def pieces(self, value: bool) -> None:
        self._pieces = value
        if self._kind == 0 and self._opcode < 0 and self._error is None:
            self._quick = self._quickest()

    @property
    def within(self) -> bool:
        """Whether the last frame that has begun is not whole yet."""
        return self.buffered > 0 or self._opcode >= 0

    def take(self, data: bytes) -> tuple[int, Any] | None:
        """Take bytes from the peer and return the first event: `feed` and `next_event` in one.

        The usual case is a whole message, small or of a few KiB, that came alone. Hot: once per
        message (measured: 0.4 us less than the two calls at 32 bytes, and 2.5 us at 1 KiB).
        """
        left = len(data) - 6
        if left >= 0 and self._quick and not self.buffered:
            first, size, payload = data[0], data[1] - MASKED, None
            if first != 0x81 and first != 0x82:
                if 0 < size == left < 126 and self._inflater is not None and (
                        first == 0xc1 or first == 0xc2):
                    return self._take_compressed(self._inflater, data)
            elif size == left < 126 and left <= self._limit:
                whole = _integer(data, 'little')    # (As in `next_event`.)
                payload = (whole ^ (whole & 0xffffffff0000) * _MASKS[size]).to_bytes(
                    size + 9, 'little')[6:-3]
            elif size == 126 and (data[2] << 8 | data[3]) == left - 2 > 125 \
                    and left - 2 <= self._limit:
                payload = bytes(unmasked(data[8:], data[4:8]))
            if payload is not None:
                if first == 0x82:
                    return BINARY, payload
                try:
                    return TEXT, payload.decode()
                except UnicodeDecodeError:
                    raise self._fail(frames.bad_message(self._kind, self._compressed)) from None
        self.feed(data)
        return self.next_event()

    def _take_compressed(self, inflater: Inflater, data: bytes) -> tuple[int, Any]:
        """Take a compressed message that is one small frame, and came alone.

        (Measured: 20,000 instructions for 60 bytes of JSON, 5,400 of them zlib's; without this path
        42,200.)
        """
        kind = self._kind = data[0] & 15
        self._compressed = True    # Until it is read: the faults say so.
        try:
            message: Any = inflater.inflate(unmasked(data[6:], data[2:6]), self._limit + 1)[0]
            if len(message) > self._limit:
                self._append(message, True)    # It raises what is wrong.
            inflater.end_message()
            if kind == TEXT:
                message = message.decode()
        except FrameError as error:
            raise self._fail(error) from None
        except ValueError:
            raise self._fail(frames.bad_message(self._kind, self._compressed)) from None
        self._kind, self._compressed = 0, False
        return kind, message

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self.buffered:
            if self._error is not None or self._left == _FOREVER:
                return
            data = self._data[-self.buffered:] + data
        self._data = data
        self.buffered = len(data)

    def next_event(self) -> tuple[int, Any] | None:
        """Return the next event; None until more bytes are fed. Hot: once per message.

        Raises `FrameError`, and the same error from then on.
        """
        # The usual case: a whole message in one small frame. It takes one path without a call.
        left, data = self.buffered, self._data
        if left > 6:
            begin = len(data) - left
            first, second = data[begin], data[begin + 1]
            end = begin + second - 122          # 128 for the mask, and 6 bytes before the payload
            if MASKED <= second <= self._quick and end <= len(data) and (
                    first == 0x81 or first == 0x82):
                size = second - MASKED
                # The whole frame as one integer; the mask is its bytes 2 to 5 (measured: 4,800
                # instructions for 32 bytes, 7,300 with an integer for the payload alone).
                whole = _integer(data if end - begin == len(data) else data[begin:end], 'little')
                payload = (whole ^ (whole & 0xffffffff0000) * _MASKS[size]).to_bytes(
                    size + 9, 'little')[6:-3]
                self.buffered = left = len(data) - end
                if not left:
                    self._data = b''
                if first == 0x82:
                    return BINARY, payload
                try:
                    return TEXT, payload.decode()
                except UnicodeDecodeError:
                    raise self._fail(frames.bad_message(self._kind, self._compressed)) from None
        return self._next()

    def _fail(self, error: FrameError) -> FrameError:
        """Remember the error, and forget all else."""
        # (Not the error itself: its traceback would refer to this object.)
        self._error = error.code, error.reason
        self._data, self._undecoded, self._parts, self._recent = b'', b'', [], []
        self.buffered = self._quick = 0
        return error

    def _next(self) -> tuple[int, Any] | None:
        """Return the next event in all but the usual case."""
        if self._error is not None:
            raise FrameError(*self._error)
        if self._pieces and (self._parts or self._recent):
            return self._piece(False)
        try:
            while self._opcode >= 0 or self._read_head():
                left = self.buffered
                event = self._read_control() if self._opcode >= CLOSE else self._read_data()
                if not self.buffered:
                    self._data = b''
                if event is not None or (self._opcode >= 0 and left == self.buffered):
                    return event
                # (No event, and the frame is over: it was a fragment. Go on, as far as it goes.)
                self._fragments += 1
                if self._fragments >= _MOST_FRAGMENTS and self.buffered:
                    self._fragments = 0
                    return MORE, None
        except FrameError as error:
            raise self._fail(error) from None
        return None

    def _read_head(self) -> bool:
        """Read the head of a frame, if it is whole (section 5.2)."""
        data, left = self._data, self.buffered
        begin = len(data) - left
        if not left:
            return False
        first = data[begin]
        if first not in self._firsts:
            raise FrameError(1002, frames.fault_of(first, self._kind, self._inflater is not None))
        if left < 2:
            return False
        size, opcode, head = data[begin + 1] - MASKED, first & 15, 6
        if size < 0:
            raise FrameError(1002, 'a frame is not masked')
        if opcode >= CLOSE:
            if size > 125:
                raise FrameError(1002, 'a control frame has more than 125 bytes')
        elif size > 125:
            head = 8 if size == 126 else 14
            if left < head - 4:
                return False
            least = 126 if size == 126 else 65536
            size = int.from_bytes(data[begin + 2:begin + head - 4], 'big')
            if size < least:
                raise FrameError(1002, 'the size of a frame has more bytes than it needs')
            if size >> 63:
                raise FrameError(1002, 'the size of a frame has its highest bit set')
        # A compressed message is measured when it is inflated.
        if opcode < CLOSE and not self._pieces and self._size + size > self._limit and not (
                self._compressed if self._kind else first & RSV1):
            raise self._too_long()
        if left < head:
            return False
        self._mask = data[begin + head - 4:begin + head]
        self.buffered = left - head
        self._opcode, self._left, self._last = opcode, size, first >= FIN
        self._quick = 0
        if opcode in (TEXT, BINARY):
            self._kind, self._compressed, self._firsts = opcode, first & RSV1 != 0, GO_ON
        return True

    def _read_control(self) -> tuple[int, Any] | None:
        """Read a control frame, if it is whole (section 5.5)."""
        opcode, size, left = self._opcode, self._left, self.buffered
        if left < size:
            if size == _FOREVER:
                self.buffered = 0
            return None
        begin = len(self._data) - left
        payload = bytes(unmasked(self._data[begin:begin + size], self._mask))
        self.buffered = left - size
        if opcode == CLOSE:
            event = CLOSE, frames.read_close(payload)
            # Nothing is read after it (section 5.5.1): this frame never ends.
            self._left = _FOREVER
            self._data, self._undecoded, self._parts, self._recent = b'', b'', [], []
            self.buffered = 0
            return event
        self._opcode = -1
        if not self._kind:
            self._quick = self._quickest()
        return opcode, payload

    def _read_data(self) -> tuple[int, Any] | None:
        """Read what has arrived of a payload. Return a message that is whole now, or a piece."""
        size = min(self._left, self.buffered)
        if self._compressed and self._pieces:
            size = min(size, _INFLATE_FROM)
        begin = len(self._data) - self.buffered
        payload = unmasked(self._data[begin:begin + size], self._mask) if size else b''
        if self._compressed and size:
            payload, size = self._inflated(payload)
        self.buffered -= size
        self._left -= size
        whole = False
        if not self._left:
            self._opcode = -1
            whole = self._last
        elif size & 3:
            self._mask = self._mask[size & 3:] + self._mask[:size & 3]
        self._append(payload, whole)
        if self._pieces:
            return self._piece(whole)
        return self._message() if whole else None

    def _inflated(self, payload: bytes | bytearray) -> tuple[bytes, int]:
        """Inflate at most what a message may still have. Return it, and how much it was made of."""
        inflate = self._inflater.inflate    # type: ignore[union-attr]
        most = _INFLATE_TO if self._pieces else self._limit - self._size + 1
        try:
            inflated, taken = inflate(payload, most)
            if self._pieces and len(inflated) == most and taken == len(payload):
                # zlib may have kept a little (at most 8 KiB): nothing else would bring it out.
                inflated += inflate(b'', most)[0]
        except ValueError:
            raise frames.bad_message(self._kind, self._compressed) from None
        return inflated, taken

    def _append(self, payload: bytes | bytearray, whole: bool) -> None:
        """Add bytes to the message, the last if it is `whole` now; decode them if it is text."""
        size = self._size + len(payload)
        too_long = size > self._limit and not self._pieces
        if too_long:
            # Bad UTF-8 before that counts, as if it had come alone.
            payload = payload[:self._limit - self._size]
        if whole and self._compressed and not too_long:
            try:
                self._inflater.end_message()    # type: ignore[union-attr]
            except ValueError:
                raise frames.bad_message(self._kind, self._compressed) from None
        part: Any = payload
        if self._kind == TEXT:
            part = self._decoded(payload, whole and not too_long)
        if too_long:
            raise self._too_long()
        self._size = size
        if part:
            self._recent.append(part)
            if len(self._recent) == _MOST_PIECES:
                self._parts.append(_join(self._kind, self._recent))
                self._recent = []

    def _decoded(self, payload: bytes | bytearray, whole: bool) -> str:
        """Decode text. A character that is not whole waits for its other bytes."""
        if self._undecoded:
            payload = self._undecoded + payload
        try:
            text, taken = utf_8_decode(payload, 'strict', whole)
        except UnicodeDecodeError:
            raise frames.bad_message(self._kind, self._compressed) from None
        rest = bytes(payload[taken:])
        # A surrogate (U+D800 to U+DFFF) is wrong at its second byte. CPython waits for the third.
        if rest[:1] == b'\xed' and rest[1:2] > b'\x9f':
            raise frames.bad_message(self._kind, self._compressed)
        self._undecoded = rest
        return text

    def _message(self) -> tuple[int, Any]:
        """Return the message, which is whole."""
        kind, parts = self._kind, self._parts + self._recent
        self._end_message()
        if len(parts) == 1 and type(parts[0]) is not bytearray:
            return kind, parts[0]
        return kind, _join(kind, parts)

    def _piece(self, last: bool) -> tuple[int, Any] | None:
        """Return what has arrived of the message, if it is anything, or if it is the end."""
        kind, parts = self._kind, self._parts + self._recent
        self._size, self._parts, self._recent = 0, [], []
        if last:
            self._end_message()
        elif not parts:
            return None
        return PIECE, (kind, _join(kind, parts), last)

    def _end_message(self) -> None:
        """Expect another message."""
        self._kind, self._size, self._parts, self._recent = 0, 0, [], []
        self._compressed = False
        self._firsts = BEGIN if self._inflater is None else BEGIN_DEFLATE
        self._quick = self._quickest()

    def _too_long(self) -> FrameError:
        return FrameError(1009, f'a message exceeds {self._limit} bytes (ws_message_size)')


def _join(kind: int, parts: list[Any]) -> Any:
    return ''.join(parts) if kind == TEXT else b''.join(parts)

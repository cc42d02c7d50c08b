"""Deflate: compressed messages, and how two peers agree on them (RFC 7692, permessage-deflate).

A message is compressed by itself, with what came before as its dictionary (context takeover), or
without (no context takeover). It ends with an empty block whose last four bytes, 00 00 FF FF, are
not sent. `negotiate` chooses one of the client's offers; then `Deflater` makes our messages small,
and `Inflater` makes the client's large again.

A window of 4 KiB and memory level 5 take 32 KiB of memory to compress and 11 KiB to inflate (256
and 40 KiB with zlib's defaults). A client that cannot bound its window is asked to use no context
takeover, so that its window of 32 KiB is ours for one message only.

A client that refers to more than the window it agreed on breaks the protocol, but zlib finds that
only if the bytes are not in its output buffer still. So this fault alone is found or not depending
on how the bytes were cut; the message is right, or it is 1007.
"""

from __future__ import annotations

import zlib

from ..typed import Any
from .handshake import read_extensions

# Bits of the window: 2 ** 12 bytes.
_WINDOW = 12
_MEMORY_LEVEL = 5
_LARGEST_WINDOW = 15
# Messages of fewer bytes are tried rarely where none shrinks.
_TINY = 64
# What a message ends with, and what is not sent of it (section 7.2.1).
_TAIL = b'\x00\x00\xff\xff'
# The same, and another empty block. If a message stopped within a block, these bytes are the rest
# of it: they are wrong there, or bring out more (tried with 27,000 messages that were cut short).
_TAIL_AND_MORE = _TAIL + b'\x00' + _TAIL
# The same, and a last block, also empty: a stream that is whole is at its end then.
_TAIL_AND_END = _TAIL + b'\x03\x00'
_WINDOWS = {b'%d' % bits: bits for bits in range(8, 16)}


class Deflate:
    """What was agreed on. `answer` is the value of Sec-WebSocket-Extensions."""

    __slots__ = ('_client_keeps', '_client_window', '_server_keeps', 'answer', 'server_window')

    def __init__(self, parameters: dict[bytes, bytes | None]) -> None:
        answer = b'permessage-deflate'
        self._server_keeps = b'server_no_context_takeover' not in parameters
        if not self._server_keeps:
            answer += b'; server_no_context_takeover'
        self._client_keeps = (b'client_max_window_bits' in parameters
                              and b'client_no_context_takeover' not in parameters)
        if not self._client_keeps:
            answer += b'; client_no_context_takeover'
        # The bits of our own window; with 8 nothing is compressed (see `deflater`).
        self.server_window = _WINDOW
        bits = parameters.get(b'server_max_window_bits')
        if bits is not None:
            self.server_window = min(_WINDOWS[bits], _WINDOW)
            answer += b'; server_max_window_bits=%d' % self.server_window
        self._client_window = _LARGEST_WINDOW
        if b'client_max_window_bits' in parameters:
            bits = parameters[b'client_max_window_bits']
            self._client_window = min(_WINDOWS[bits], _WINDOW) if bits else _WINDOW
            answer += b'; client_max_window_bits=%d' % self._client_window
        self.answer = answer

    def inflater(self) -> Inflater:
        """Return what inflates the client's messages."""
        return Inflater(self._client_window, self._client_keeps)

    def deflater(self) -> Deflater | None:
        """Return what compresses ours; None if they are sent as they are.

        zlib cannot compress with a window of 2 ** 8 bytes, and nobody has to compress (section 6).
        """
        if self.server_window == 8:
            return None
        return Deflater(self.server_window, self._server_keeps)


def negotiate(offers: bytes) -> Deflate | None:
    """Choose the first offer that can be accepted (section 5.1); None if there is none.

    `offers` is the value of Sec-WebSocket-Extensions.
    """
    for name, parameters in read_extensions(offers) or ():
        if name == b'permessage-deflate':
            agreed = dict(parameters)
            # (Otherwise one of them is there twice.)
            if len(agreed) == len(parameters) and all(map(_is_known, agreed.items())):
                return Deflate(agreed)
    return None


def _is_known(parameter: tuple[bytes, bytes | None]) -> bool:
    """Return whether a parameter and its value may be offered (section 7.1)."""
    name, value = parameter
    if name == b'client_max_window_bits':
        return value is None or value in _WINDOWS
    if name == b'server_max_window_bits':
        return value in _WINDOWS
    return value is None and name in (b'server_no_context_takeover', b'client_no_context_takeover')


class Deflater:
    """Compresses the messages of one socket. What it needs is made when it is needed first."""

    __slots__ = ('_keeps', '_misses', '_zlib', 'window')

    def __init__(self, window: int, keeps: bool) -> None:
        self.window = window    # The bits of the window.
        self._keeps = keeps
        self._misses = 0       # messages since the last one that has shrunk
        self._zlib: Any = None

    def compress(self, payload: bytes) -> bytes | None:
        """Return the payload of a compressed message; None if it would not be smaller."""
        if not payload:
            return None
        self._misses += 1
        if self._misses > 4 and self._misses & 31 and len(payload) < _TINY:
            # One of 32 is tried (measured: 60,000 instructions for one in vain, 3,600 as it is).
            return None
        deflate = self._zlib
        if deflate is None:
            deflate = self._zlib = zlib.compressobj(
                zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self.window, _MEMORY_LEVEL)
        small: bytes = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
        if len(small) - len(_TAIL) >= len(payload):
            # The client does not see this message, so nothing may refer to it.
            self._zlib = None
            return None
        self._misses = 0
        if not self._keeps:
            self._zlib = None
        return small[:-len(_TAIL)]

    def start_afresh(self) -> None:
        """Refer to nothing that was sent until now.

        The client's window holds a message that this object did not compress.
        """
        self._zlib = None


class Inflater:
    """Inflates the messages of one socket. What it needs is made when it is needed first."""

    __slots__ = ('_after', '_begun', '_keeps', '_window', '_zlib')

    def __init__(self, window: int, keeps: bool) -> None:
        # (zlib before 1.2.9 used 9 bits when it was asked to compress with 8.)
        self._window = max(window, 9)
        self._keeps = keeps
        self._zlib: Any = None
        self._begun = False   # bytes of a message have come
        self._after = b''     # what came after a block that says it is the last

    def inflate(self, data: bytes | bytearray, most: int) -> tuple[bytes, int]:
        """Return at most `most` bytes, and how many of `data` were taken for them.

        Raises ValueError if the data are broken.
        """
        self._begun = True
        inflate = self._zlib
        if inflate is None:
            inflate = self._zlib = zlib.decompressobj(-self._window)
        elif inflate.eof:
            self._end_with(data)
            return b'', len(data)
        try:
            plain = inflate.decompress(data, most)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if inflate.eof:
            self._end_with(inflate.unused_data)
            return plain, len(data)
        return plain, len(data) - len(inflate.unconsumed_tail)

    def _end_with(self, data: bytes | bytearray) -> None:
        """Take what follows a last block: a byte 0, the rest of an empty block (section 7.2.3.4).

        More blocks could follow, but no sender makes them, and each would cost a new window.
        """
        self._after += data[:2]
        if self._after not in (b'', b'\x00'):
            raise ValueError('data after the last block')

    def end_message(self) -> None:
        """Expect another message. Raises ValueError if this one is not whole."""
        inflate, keeps = self._zlib, self._keeps
        if not self._begun:
            # An empty message is one byte 0, but of no bytes nothing else can be made.
            return
        self._begun = False
        if inflate.eof:
            whole = self._after == b'\x00'
            self._after = b''
            # (The sender had to begin anew too.)
            keeps = False
        else:
            try:
                # (All that belongs to the message came out before.)
                rest = inflate.decompress(_TAIL_AND_MORE if keeps else _TAIL_AND_END, 1)
                whole = not rest and inflate.eof is not keeps and not inflate.unused_data
            except zlib.error:
                whole = False
        if not keeps:
            self._zlib = None
        if not whole:
            raise ValueError('the last block is not whole')

"""`FrameParser.take` is `feed` and `next_event` in one, whatever comes."""

from __future__ import annotations

import random
import zlib
from typing import Any

import pytest

from tremolo.ws.deflate import negotiate
from tremolo.ws.parser import FrameError, FrameParser


def masked(first: int, payload: bytes, form: int = 0) -> bytes:
    """Make a frame; `form` is 126 or 127 for a size that has more bytes than it needs."""
    size, mask = len(payload), b'\x01\xfe\x80\x7f'
    if form == 127 or size > 65535:
        head = bytes((first, 0xff)) + size.to_bytes(8, 'big')
    elif form == 126 or size > 125:
        head = bytes((first, 0xfe)) + size.to_bytes(2, 'big')
    else:
        head = bytes((first, 0x80 | size))
    return head + mask + bytes(each ^ mask[place & 3] for place, each in enumerate(payload))


def rest(parser: FrameParser, event: Any) -> list[Any]:
    """Give all events, after a first one; an error is the last."""
    events = []
    while event is not None:
        events.append(event)
        event = parser.next_event()
    return events


def told(parser: FrameParser, reads: list[bytes], at_once: bool) -> list[Any]:
    events = []
    try:
        for data in reads:
            if at_once:
                events += rest(parser, parser.take(data))
            else:
                parser.feed(data)
                events += rest(parser, parser.next_event())
    except FrameError as error:
        events.append((error.code, error.reason))
        with pytest.raises(FrameError):
            parser.take(b'\x81\x80\0\0\0\0')
    return [*events, parser.buffered]


def deflated(payload: bytes, end: int = zlib.Z_SYNC_FLUSH) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -9)
    data = deflate.compress(payload) + deflate.flush(end)
    return data[:-4] if end == zlib.Z_SYNC_FLUSH else data + b'\x00'


HELLO = deflated(b'hello')
FRAMES = [
    *(masked(first, b'x' * size) for first in (0x81, 0x82, 1, 2, 0x80, 0, 0x89, 0x8a, 0x88, 0xc1)
      for size in (0, 1, 2, 124, 125, 126, 127, 128, 699, 700, 701, 1000, 1001)),
    *(masked(0x82, b'x' * size, form) for size in (0, 118, 119, 120, 124, 125, 126, 127, 200)
      for form in (126, 127)),
    masked(0x81, 'é€'.encode()), masked(0x81, b'\xff'), masked(0x81, b'x' * 200 + b'\xff'),
    masked(0x81, b'')[:5], masked(0x81, b'a')[:6], masked(0x82, b'x' * 300)[:-1],
    # Compressed: good, over a limit, bad UTF-8 before and after the limit, not whole, broken.
    *(masked(first, deflated(payload)) for first in (0xc1, 0xc2) for payload in (
        b'', b'hello', b'x' * 100, b'x' * 101, b'x' * 1001, b'x\xff' * 3, b'x\xff' + b'x' * 5000,
        b'x' * 5000 + b'\xff', 'é'.encode() * 300)),
    *(masked(first, payload) for first in (0xc1, 0xc2, 0x41) for payload in (
        b'\x00', HELLO[:-1], HELLO[:-2], HELLO + b'x', deflated(b'hello', zlib.Z_FINISH),
        deflated(b'hello', zlib.Z_FINISH)[:-1], deflated(b'hello', zlib.Z_FINISH) + b'x')),
    masked(0xc1, HELLO) * 2, masked(0xc1, HELLO)[:-1], masked(0xc1, HELLO) + b'\x81',
    b'\x81\x05hello', b'\x81', b'', masked(0x81, b'a') + b'\x81', masked(0x81, b'a') * 2,
]


@pytest.mark.parametrize('limit', [100, 1000, 1 << 20])
@pytest.mark.parametrize('deflates', [False, True])
def test_it_takes_what_feed_and_next_event_take(limit: int, deflates: bool) -> None:
    def parser(pieces: bool) -> FrameParser:
        deflate = negotiate(b'permessage-deflate') if deflates else None
        made = FrameParser(limit, deflate.inflater() if deflate is not None else None)
        made.pieces = pieces
        return made

    chance = random.Random(7)
    runs = [[each] for each in FRAMES]
    runs += [[chance.choice(FRAMES) for _ in range(4)] for _ in range(1500)]
    for reads in runs:
        for pieces in False, True:
            assert told(parser(pieces), reads, True) == told(parser(pieces), reads, False), reads

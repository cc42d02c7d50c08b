"""`FrameParser.take` is `feed` and `next_event` in one, whatever comes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tremolo.http.deflate import negotiate
from tremolo.http.websocket import FrameError, FrameParser


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


FRAMES = [
    *(masked(first, b'x' * size) for first in (0x81, 0x82, 1, 2, 0x80, 0, 0x89, 0x8a, 0x88, 0xc1)
      for size in (0, 1, 2, 124, 125, 126, 127, 128, 699, 700, 701, 1000, 1001)),
    *(masked(0x82, b'x' * size, form) for size in (0, 118, 119, 120, 124, 125, 126, 127, 200)
      for form in (126, 127)),
    masked(0x81, 'é€'.encode()), masked(0x81, b'\xff'), masked(0x81, b'x' * 200 + b'\xff'),
    masked(0x81, b'')[:5], masked(0x81, b'a')[:6], masked(0x82, b'x' * 300)[:-1],
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

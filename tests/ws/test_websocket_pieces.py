"""Messages in pieces, as they arrive: for those that read a message as a stream."""

from __future__ import annotations

import random
import sys
import zlib

import pytest
from linear import is_linear
from websocket_wire import client, octets

from tremolo.ws.deflate import negotiate
from tremolo.ws.parser import BINARY, CLOSE, MORE, PIECE, PING, TEXT, FrameError, FrameParser

AGREED = negotiate(b'permessage-deflate; client_max_window_bits')


def small(payload, level=6):
    deflate = zlib.compressobj(level, zlib.DEFLATED, -12)
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def run(pieces, agreed=None, message_size=10):
    """The events with the pieces of a message joined, and the error."""
    parser = FrameParser(message_size, agreed and agreed.inflater())
    parser.pieces = True
    events = []
    begun = []    # The pieces of a message, which are joined once: copying each time is quadratic.
    try:
        for piece in pieces:
            parser.feed(piece)
            while (event := parser.next_event()) is not None:
                if event[0] == MORE:
                    continue
                if event[0] != PIECE:
                    events.append(event)
                    continue
                kind, data, last = event[1]
                assert data or last
                assert len(data) <= max(80_000, len(piece))
                assert not begun or begun[0][0] == kind
                begun.append((kind, data))
                if last:
                    events.append(joined(begun))
                    begun = []
            # Nothing waits for bytes that may never come.
            assert parser.buffered < 14 or not begun
    except FrameError as error:
        return events, joined(begun), (error.code, error.reason)
    return events, joined(begun), None


def joined(pieces):
    """What the pieces of a message are together; None if there are none."""
    if not pieces:
        return None
    kind, first = pieces[0]
    return kind, first[:0].join(data for _, data in pieces)


@pytest.mark.parametrize(('data', 'expected'), [
    (client(0x81, b'Hello'), [(TEXT, 'Hello')]),
    (client(0x82, b'x' * 500) * 2, [(BINARY, b'x' * 500)] * 2),
    (client(0x81) + client(0x82), [(TEXT, ''), (BINARY, b'')]),
    (client(0x01, b'a\xe2') + client(0x89, b'p') + client(0x00, b'\x82') + client(0x80, b'\xac'),
     [(PING, b'p'), (TEXT, 'a€')]),
    (client(0x02, b'ab') + client(0x00) + client(0x80) + client(0x88, b'\x03\xe8'),
     [(BINARY, b'ab'), (CLOSE, (1000, ''))]),
])
def test_messages_in_pieces(data, expected):
    for pieces in [[data], octets(data), *([data[:at], data[at:]] for at in range(len(data)))]:
        assert run(pieces) == (expected, None, None)


@pytest.mark.parametrize('level', [0, 1, 6])
def test_compressed_messages_in_pieces(level):
    for payload in (bytes(3_000_000), random.Random(4).randbytes(200_000), b'', b'ab' * 50_000):
        data = client(0xc2, small(payload, level))
        for size in (len(data), 1000, 4099):
            pieces = [data[at:at + size] for at in range(0, len(data), size)]
            assert run(pieces, AGREED) == ([(BINARY, payload)], None, None)
    # In fragments, with a character in two of them.
    data = small('€uro'.encode() * 20_000, level)
    for at in (1, 100, len(data) // 2, len(data) - 1):
        frames = client(0x41, data[:at]) + client(0x89) + client(0x80, data[at:])
        assert run([frames * 2], AGREED) == (
            [(PING, b''), (TEXT, '€uro' * 20_000)] * 2, None, None)


def test_what_is_wrong_is_wrong_in_pieces_too():
    for data, begun, code in [
            (client(0x81, b'ab\xff'), None, 1007),
            (client(0x01, b'a\xe2') + client(0x80), 'a', 1007),
            (client(0x01, b'a') + client(0x81), 'a', 1002), (client(0xc1, b'a'), None, 1002),
            (client(0x02, b'a') + b'\x80\x01', b'a', 1002)]:
        events, got, error = run([data])
        assert (events, got and got[1], error[0]) == ([], begun, code)
    events, got, error = run([client(0xc2, small(b'x' * 5000, 0)[:-1] + b'xx')], AGREED)
    assert error == (1007, 'a compressed message cannot be inflated')


def test_the_pieces_begin_and_end_where_one_wants():
    parser = FrameParser(10)
    parser.feed(client(0x81, b'one') + client(0x01, b'two') + client(0x00, b'\xe2\x82'))
    assert parser.next_event() == (TEXT, 'one')
    assert parser.next_event() is None
    # What has arrived is the first piece.
    parser.pieces = True
    assert parser.next_event() == (PIECE, (TEXT, 'two', False))
    assert parser.next_event() is None
    parser.feed(client(0x00, b'\xac' + b'x' * 50))
    assert parser.next_event() == (PIECE, (TEXT, '€' + 'x' * 50, False))
    # The rest as a message, and the limit counts again.
    parser.pieces = False
    parser.feed(client(0x00, b'end'))
    assert parser.next_event() is None
    parser.feed(client(0x80) + client(0x81, b'four'))
    assert [parser.next_event() for _ in range(3)] == [(TEXT, 'end'), (TEXT, 'four'), None]
    # Within a frame.
    parser.feed(client(0x82, b'abcdefghi')[:-5])
    assert parser.next_event() is None
    parser.pieces = True
    assert parser.next_event() == (PIECE, (BINARY, b'abcd', False))
    parser.feed(client(0x82, b'abcdefghi')[-5:])
    assert parser.next_event() == (PIECE, (BINARY, b'efghi', True))
    parser.pieces = False
    parser.feed(client(0x81, b'five'))
    assert parser.next_event() == (TEXT, 'five')
    # A frame that was too long for a message, and began as pieces.
    parser.pieces = True
    parser.feed(client(0x82, b'x' * 50)[:20])
    assert parser.next_event() == (PIECE, (BINARY, b'x' * 14, False))
    parser.pieces = False
    parser.feed(client(0x82, b'x' * 50)[20:])
    with pytest.raises(FrameError, match='1009: a message exceeds 10 bytes'):
        parser.next_event()


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='frees nothing at once')
def test_a_long_message_takes_little_memory():
    import tracemalloc

    parser = FrameParser(1000, AGREED.inflater())
    parser.pieces = True
    bomb = client(0xc2, small(bytes(20_000_000)))
    tracemalloc.start()
    try:
        parser.feed(client(0x82, bytes(100_000), size=1 << 40))
        total = 0
        for _ in range(50):
            while (event := parser.next_event()) is not None:
                total += len(event[1][1])
            parser.feed(bytes(100_000))
        assert total == 50 * 100_000
        del event
        parser = FrameParser(1000, AGREED.inflater())
        parser.pieces = True
        parser.feed(bomb)
        total = 0
        while (event := parser.next_event()) is not None:
            total += len(event[1][1])
        assert total == 20_000_000
        assert tracemalloc.get_traced_memory()[1] < 700_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('make', [
    lambda n: client(0x82, bytes(100 * n)), lambda n: client(0xc2, small(bytes(1000 * n))),
    lambda n: client(0x02) + client(0x00, b'x') * n, lambda n: client(0x01) + client(0x00) * n,
    lambda n: client(0xc2, b'\x00\x00\x00\xff\xff' * n + b'\x00'),
], ids=['large', 'a bomb', 'fragments', 'empty fragments', 'empty blocks'])
def test_time_grows_as_the_bytes_do(make):
    assert is_linear(lambda data: run([data], AGREED), make, 1000)

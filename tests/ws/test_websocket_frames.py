"""The frames of a client: what they mean, what is refused, and that no split changes it."""

from __future__ import annotations

import doctest
import gc
import random
import sys
from pathlib import Path

import pytest
from each_case import for_each
from linear import is_linear
from websocket_wire import MASK, client, masked, octets, reference, run, same_however_split, text

import tremolo
from tremolo.ws.frames import unmasked
from tremolo.ws.parser import (
    BINARY,
    CLOSE,
    MORE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameParser,
    close_payload,
    frame,
    frame_head,
)

# Section 5.7 of RFC 6455: "Hello", masked.
HELLO = bytes.fromhex('818537fa213d7f9f4d5158')


def code(data, message_size=1 << 20):
    """The code of the close frame that answers the data; None if nothing is wrong with them."""
    return (run([data], message_size)[1] or [None])[0]


# What is good

@pytest.mark.parametrize(('data', 'events'), [
    (b'', []),
    (HELLO, [(TEXT, 'Hello')]),
    (HELLO * 3, [(TEXT, 'Hello')] * 3),
    (client(0x81), [(TEXT, '')]),
    (client(0x82), [(BINARY, b'')]),
    (client(0x82, b'\x00\xff'), [(BINARY, b'\x00\xff')]),
    (text('κόσμε €𝄞'), [(TEXT, 'κόσμε €𝄞')]),
    (client(0x89), [(PING, b'')]),
    (client(0x8a, b'x' * 125), [(PONG, b'x' * 125)]),
    (client(0x88), [(CLOSE, (1005, ''))]),
    (client(0x88, b'\x03\xe8'), [(CLOSE, (1000, ''))]),
    (client(0x88, b'\x0f\xa0' + '€'.encode() * 41), [(CLOSE, (4000, '€' * 41))]),
    # A message in fragments, with control frames between them, and a character in two.
    (client(0x01, b'a\xe2') + client(0x89, b'p') + client(0x00) + client(0x00, b'\x82')
     + client(0x8a) + client(0x80, b'\xacz'), [(PING, b'p'), (PONG, b''), (TEXT, 'a€z')]),
    # An empty last fragment ends the message: it is not glued to the next.
    (client(0x01, b'he') + client(0x80) + client(0x81, b'x'), [(TEXT, 'he'), (TEXT, 'x')]),
    (client(0x02) + client(0x80), [(BINARY, b'')]),
    (client(0x01) + client(0x00) + client(0x80), [(TEXT, '')]),
    (client(0x02, b'ab') + client(0x80, b'c') + client(0x81), [(BINARY, b'abc'), (TEXT, '')]),
    # Nothing after a close frame is looked at.
    (client(0x88, b'\x03\xe9') + b'\xff\xff', [(CLOSE, (1001, ''))]),
    (client(0x01, b'a') + client(0x88) + client(0x80, b'b'), [(CLOSE, (1005, ''))]),
])
def test_what_frames_mean(data, events):
    assert same_however_split(data) == (events, None)
    assert reference(data) == (events, None)


@for_each('size', [0, 1, 2, 3, 4, 5, 7, 124, 125, 126, 127, 128, 255, 256, 699, 700,
                   701, 702, 703, 1000, 65534, 65535, 65536, 65537, 100_001])
@pytest.mark.parametrize('mask', [MASK, b'\0\0\0\0', b'\xff\xff\xff\xff', b'\0\0\0\x01'])
def test_payloads_of_every_size_are_unmasked(size, mask):
    payload = random.Random(size).choices(range(256), k=size)
    data = client(0x82, bytes(payload), mask)
    assert run([data]) == ([(BINARY, bytes(payload))], None)
    assert bytes(unmasked(bytes(payload), mask)) == masked(payload, mask)
    for step in (1, 3, 1000, 4099) if size > 200 else (1, 2, 3, 5, 6):
        if step < 10 and size > 1000:
            continue
        pieces = [data[at:at + step] for at in range(0, len(data), step)]
        assert run(pieces) == ([(BINARY, bytes(payload))], None)
    ascii_text = bytes(octet & 127 for octet in payload)
    for pieces in ([client(0x81, ascii_text, mask)], [client(0x81, ascii_text, mask) * 2]):
        [event, *more], error = run(pieces)
        assert event == (TEXT, ascii_text.decode()) and type(event[1]) is str and not error
        assert more in ([], [event])


def test_events_are_bytes_and_str():
    for size in (0, 5, 125, 126, 699, 700, 5000):
        data = client(0x82, b'x' * size) + client(0x81, b'x' * size) + client(0x89, b'x' * 3)
        for pieces in ([data], octets(data)):
            assert [type(event[1]) for event in run(pieces)[0]] == [bytes, str, bytes]
        halves = client(0x02, b'x' * size) + client(0x80)
        assert [type(event[1]) for event in run([halves])[0]] == [bytes]


# What is refused

@for_each(('data', 'expected'), [
    (frame(TEXT, b'Hello'), 1002),                        # not masked
    (b'\x88\x00', 1002),
    (client(0x80), 1002), (client(0x00, b'x'), 1002),     # a continuation without a beginning
    (client(0x01) + client(0x81), 1002), (client(0x02) + client(0x01), 1002),
    (client(0x01) + client(0x80) + client(0x80), 1002),
    (client(0x09), 1002), (client(0x08), 1002), (client(0x0a, b'x'), 1002),   # control, in parts
    # Control, too long.
    (client(0x89, b'x' * 126), 1002), (client(0x88, b'x' * 9, size=65536), 1002),
    # A size has no more bytes than it needs, and 63 bits (section 5.2).
    (b'\x82\xfe\x00\x7d' + MASK, 1002), (b'\x82\xfe\x00\x00' + MASK, 1002),
    (b'\x82\xff' + (65535).to_bytes(8, 'big') + MASK, 1002),
    (b'\x82\xff' + bytes(8) + MASK, 1002),
    (b'\x82\xff\x80' + bytes(7) + MASK, 1002), (b'\x82\xff' + b'\xff' * 8, 1002),
    (b'\x82\xff\x7f' + b'\xff' * 7, 1009),
    (client(0x88, b'\x03'), 1002),                        # half a code
    (client(0x88, b'\x03\xe8\xff'), 1007), (client(0x88, b'\x03\xe8\xe2\x82'), 1007),
    (client(0x88, b'\x03\xe8\xed\xa0\x80'), 1007),
    (client(0x81, b'\xff'), 1007), (client(0x81, b'\xe2\x82'), 1007),
    (client(0x81, b'\xed\xa0\x80'), 1007), (client(0x81, b'\xc0\x80'), 1007),
    (client(0x81, b'\xf4\x90\x80\x80'), 1007), (client(0x81, b'\xf8\x88\x80\x80\x80'), 1007),
    (client(0x01, b'\xe2') + client(0x89) + client(0x80, b'x'), 1007),
    (client(0x01, b'\xe2') + client(0x80), 1007),
])
def test_what_is_refused(data, expected):
    events, error = same_however_split(data)
    assert error[0] == expected
    assert reference(data) == (events, expected)
    # The events before are the same, whatever comes after.
    good = HELLO + client(0x89, b'x')
    assert run([good + data + good]) == ([(TEXT, 'Hello'), (PING, b'x'), *events], error)


def test_the_first_two_bytes_of_a_frame_are_as_the_reference_reads_them():
    for begun in (b'', client(0x01, b'a')):
        for first in range(256):
            for second in (0x00, 0x05, 0x7d, 0x7e, 0x7f, 0x80, 0x82, 0x84, 0xfd, 0xfe, 0xff):
                data = begun + bytes((first, second)) + b'\x00\x03\x00\x00\xea' + bytes(9)
                events, error = run([data])
                assert (events, error and error[0]) == reference(data), (first, second)
                assert run(octets(data)) == (events, error)


def test_close_codes():
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    for each in [*range(1200), *range(1990, 2010), *range(2990, 3010), *range(4990, 5010), 32768,
                 65535]:
        data = client(0x88, each.to_bytes(2, 'big') + b'why')
        assert run([data]) == (([(CLOSE, (each, 'why'))], None) if each in allowed else (
            [], (1002, 'a close frame has no code, or one that is not allowed')))


def test_a_fault_is_found_at_its_first_byte():
    for data, at in [
            (b'\x83', 0), (b'\xc1', 0), (b'\x91', 0), (b'\xa1', 0), (b'\x00', 0), (b'\x09', 0),
            (b'\x81\x05', 1), (b'\x89\xfe', 1), (b'\x82\xfe\x00\x05', 3),
            (b'\x82\xff' + bytes(8), 9), (client(0x81, b'ab\xffcd', size=99), 8),
            (client(0x81, b'a\xe2\x82b', size=99), 9), (client(0x81, b'\xed\xa0', size=99), 7),
            (client(0x81, b'\xf4\x90', size=99), 7), (client(0x81, b'\xe0\x9f', size=99), 7),
            (client(0x01, b'\xf0') + client(0x80, b'\x8f', size=3), 13)]:
        for pieces in (octets(data), [data]):
            assert run(pieces)[1], data
        assert run(octets(data[:at])) == run([data[:at]]) == ([], None), data


def test_utf_8_fails_at_the_earliest_byte_in_a_frame_that_is_not_whole():
    rng = random.Random(3629)
    octet = [0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef,
             0xf0, 0xf1, 0xf4, 0xf5, 0xff]
    for _ in range(4000):
        payload = bytes(rng.choices(octet, k=rng.randrange(1, 6)))
        data = client(0x81, payload, size=200)
        events, error = run([data])
        assert (events, error and error[0]) == reference(data), payload
        assert run(octets(data)) == (events, error), payload


def test_an_error_is_for_good_and_close_is_the_end():
    parser = FrameParser(100)
    parser.feed(HELLO + b'\x83' + HELLO)
    assert parser.next_event() == (TEXT, 'Hello')
    for _ in range(3):
        with pytest.raises(FrameError, match=r'^1002: a frame has a reserved opcode$') as caught:
            parser.next_event()
        assert (caught.value.code, caught.value.reason) == (1002, 'a frame has a reserved opcode')
        parser.feed(HELLO)
        parser.feed(HELLO)
    assert parser.buffered <= len(HELLO)
    parser = FrameParser(100)
    parser.feed(client(0x88) + HELLO)
    assert parser.next_event() == (CLOSE, (1005, ''))
    for _ in range(3):
        assert parser.next_event() is None and parser.buffered == 0
        parser.feed(HELLO)
        parser.feed(HELLO)
        assert parser.buffered <= len(HELLO)
    for pieces in (False, True):
        parser.pieces = pieces
        assert parser.next_event() is None


# The limit

def test_a_message_over_the_limit_is_refused_when_it_is_announced():
    assert run([client(0x82, b'x' * 10)], 10) == ([(BINARY, b'x' * 10)], None)
    too_long = 1009, 'a message exceeds 10 bytes (ws_message_size)'
    assert run([b'\x82\x8b'], 10) == ([], too_long)
    assert run([b'\x82\xff' + (1 << 40).to_bytes(8, 'big')], 10) == ([], too_long)
    begun = client(0x02, b'x' * 6) + client(0x89, b'y' * 125) + client(0x00, b'x' * 4)
    assert run([begun + client(0x80)], 10) == (
        [(PING, b'y' * 125), (BINARY, b'x' * 10)], None)
    assert run([begun + b'\x80\x81'], 10) == ([(PING, b'y' * 125)], too_long)
    # Bytes are counted, not characters.
    assert run([text('€€€')], 9)[0] == [(TEXT, '€€€')]
    assert run([text('€€€')], 8) == ([], (1009, 'a message exceeds 8 bytes (ws_message_size)'))
    for limit in (0, 124, 125, 126, 127, 65536):
        for size in (limit, limit + 1):
            error = same_however_split(client(0x81, b'x' * size), limit)[1] if size < 200 else (
                run([client(0x81, b'x' * size)], limit)[1])
            assert (error is None) == (size <= limit)


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='frees nothing at once')
def test_a_flood_of_small_fragments_takes_little_memory():
    import tracemalloc

    for first, fragment in (
            (0x02, client(0x00, b'x')), (0x01, client(0x00, b'x')), (0x02, client(0x00)),
            (0x01, client(0x00, b'\xe2') + client(0x00, b'\x82') + client(0x00, b'\xac')),
            (0x02, client(0x00, b'x') + client(0x00) * 3)):
        parser = FrameParser(1 << 20)
        parser.feed(client(first))
        assert parser.next_event() is None
        data = fragment * (1024 // len(fragment))
        tracemalloc.start()
        sent = 0
        try:
            for _ in range(40):
                parser.feed(data)
                sent += parser.buffered // 7
                while (event := parser.next_event()) is not None:
                    assert event == (MORE, None)
                assert parser.buffered == 0
            assert tracemalloc.get_traced_memory()[0] < 3 * sent + 50_000
        finally:
            tracemalloc.stop()


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='no reference counts')
def test_nothing_is_kept_between_messages_and_nothing_refers_to_itself():
    import tracemalloc

    gc.collect()
    gc.disable()
    try:
        parser = FrameParser(1 << 20)
        large = client(0x82, bytes(500_000))
        tracemalloc.start()
        for data in (large, HELLO * 5000, client(0x02, bytes(500_000)) + client(0x80), large[:-1],
                     large[-1:]):
            parser.feed(data)
            while parser.next_event() is not None:
                pass
            assert parser.buffered == 0
        del data
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept < 5000
        assert run([HELLO, b'\x83'])[1]
        del parser
        assert gc.collect() == 0
    finally:
        gc.enable()


# Time

def parse(pieces):
    parser = FrameParser(1 << 30)
    for piece in pieces:
        parser.feed(piece)
        while parser.next_event() is not None:
            pass


@pytest.mark.parametrize('make', [
    lambda n: [HELLO * n],
    lambda n: [client(0x89) * n],
    lambda n: [client(0x02) + client(0x00, b'x') * n],
    lambda n: [client(0x01) + client(0x00) * n],
    lambda n: [client(0x02)] + [client(0x00, b'x')] * n,
    lambda n: [client(0x82, bytes(n), size=1 << 29)] + [b'x' * 7] * n,
    lambda n: octets(client(0x81, b'\xe2\x82\xac' * n)),
    lambda n: octets(client(0x82, b'x')) * (n // 6),
], ids=['messages', 'pings', 'fragments', 'empty fragments', 'fragments alone', 'pieces',
        'a text byte by byte', 'frames byte by byte'])
def test_time_grows_as_the_bytes_do(make):
    assert is_linear(parse, make, 500)


# Frames of the server

def test_frames_of_the_server():
    # (Section 5.7 of RFC 6455.)
    assert frame(TEXT, b'Hello') == b'\x81\x05Hello'
    assert frame(TEXT, b'Hel', last=False) + frame(0, b'lo') == b'\x01\x03Hel\x80\x02lo'
    assert frame(PONG, b'Hello') == b'\x8a\x05Hello'
    assert frame(BINARY, bytes(256)) == b'\x82\x7e\x01\x00' + bytes(256)
    assert frame_head(BINARY, 65536) == b'\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00'
    assert frame(TEXT, b'x', compressed=True) == b'\xc1\x01x'
    assert frame(TEXT, b'x', compressed=True, last=False) == b'\x41\x01x'
    for size in (0, 1, 125, 126, 127, 65535, 65536, 70_000):
        for opcode in (TEXT, BINARY, 0):
            for compressed in (False, True):
                for last in (False, True):
                    made = frame(opcode, bytes(size), compressed, last)
                    assert made == frame_head(opcode, size, compressed, last) + bytes(size)
                    first = opcode | compressed << 6 | last << 7
                    plain = client(first, bytes(size), bytes(4))
                    assert made[0] == first and made[1] | 0x80 == plain[1]
                    assert made[2:] == plain[2:-4 - size] + bytes(size) if size else True


def test_what_a_close_frame_may_say():
    assert close_payload(1000, '') == b'\x03\xe8'
    assert close_payload(4999, '€') == b'\x13\x87\xe2\x82\xac'
    assert len(close_payload(1000, 'x' * 123)) == 125
    for each in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, -1):
        with pytest.raises(ValueError, match='a close code is 1000 to 1003'):
            close_payload(each, '')
    for reason in ('x' * 124, '€' * 42):
        with pytest.raises(ValueError, match='at most 123 bytes'):
            close_payload(1000, reason)
    with pytest.raises(ValueError, match='surrogate'):
        close_payload(1000, '\ud800')
    for each in (1000, 1003, 1007, 1014, 3000, 4999):
        payload = close_payload(each, 'why')
        assert run([client(0x88, payload)])[0] == [(CLOSE, (each, 'why'))]


@pytest.mark.parametrize('pieces', [False, True])
@pytest.mark.parametrize('fragment', [client(0x00), client(0x00, b'x')])
def test_many_fragments_give_the_caller_its_turn(fragment, pieces):
    parser = FrameParser(1 << 20)
    parser.pieces = pieces
    data = client(0x02) + fragment * 9000 + client(0x80)
    event = parser.take(data)
    before, events = len(data), []
    while event is not None:
        # What is parsed for one event is little.
        assert before - parser.buffered <= 64 * len(fragment)
        before = parser.buffered
        if event[0] != MORE:
            events.append(event)
        event = parser.next_event()
    assert parser.buffered == 0
    size = 9000 * (len(fragment) - 6)
    if pieces:
        assert b''.join(value[1] for _, value in events) == b'x' * size
    else:
        assert events == [(BINARY, b'x' * size)]
    # There is nothing more to come after the last byte: no turn is asked for.
    parser = FrameParser(1 << 20)
    assert parser.take(client(0x02) + client(0x00) * 63) is None


def test_how_much_is_not_parsed_yet():
    parser = FrameParser(100)
    assert parser.buffered == 0
    parser.feed(HELLO + HELLO + HELLO[:3])
    assert parser.buffered == 25
    parser.next_event()
    assert parser.buffered == 14
    parser.feed(HELLO[3:] + client(0x89, b'abc')[:-1])
    assert parser.buffered == 14 + 8 + 8
    assert parser.next_event() == parser.next_event() == (TEXT, 'Hello')
    assert parser.next_event() is None
    # The head of the ping is read, its payload waits for its last byte.
    assert parser.buffered == 2
    parser.feed(client(0x89, b'abc')[-1:])
    assert parser.next_event() == (PING, b'abc')
    assert parser.buffered == 0


def test_the_session_in_the_readme_is_true():
    readme = Path(tremolo.__file__).parent / 'ws' / 'README.md'
    failed, tried = doctest.testfile(str(readme), module_relative=False)
    assert tried > 5
    assert failed == 0

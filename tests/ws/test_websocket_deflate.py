"""permessage-deflate: what is agreed on, and messages that are compressed (RFC 7692)."""

from __future__ import annotations

import itertools
import random
import sys
import zlib

import pytest
from each_case import for_each
from linear import is_linear
from websocket_wire import client, octets, reference, run, same_however_split

from tremolo.ws.deflate import Deflater, Inflater, negotiate
from tremolo.ws.parser import BINARY, PING, TEXT, FrameError, FrameParser, frame

KEEPS = negotiate(b'permessage-deflate; client_max_window_bits')
FORGETS = negotiate(b'permessage-deflate')
TAIL = b'\x00\x00\xff\xff'
NAMES = [b'server_no_context_takeover', b'client_no_context_takeover', b'server_max_window_bits',
         b'client_max_window_bits']


def small(payload, window=12, end=zlib.Z_SYNC_FLUSH, level=6):
    """The payload of a compressed message of a client."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -window)
    data = deflate.compress(payload) + deflate.flush(end)
    return data[:-4] if end == zlib.Z_SYNC_FLUSH else data + b'\x00'


# Agreeing

@for_each(('offers', 'answer'), [
    (b'', None), (b'x', None), (b'permessage-deflat', None), (b'Permessage-Deflate', None),
    (b'permessage-bzip2, x-webkit-deflate-frame', None),
    (b'permessage-deflate', b'client_no_context_takeover'),
    (b'permessage-deflate; client_max_window_bits', b'client_max_window_bits=12'),
    (b'permessage-deflate;client_max_window_bits=15', b'client_max_window_bits=12'),
    (b'permessage-deflate; client_max_window_bits=9', b'client_max_window_bits=9'),
    (b'permessage-deflate; client_max_window_bits=8', b'client_max_window_bits=8'),
    (b'permessage-deflate; client_max_window_bits="10"', b'client_max_window_bits=10'),
    (b'permessage-deflate; client_max_window_bits="1\\0"', b'client_max_window_bits=10'),
    (b'permessage-deflate; client_no_context_takeover; client_max_window_bits=9',
     b'client_no_context_takeover; client_max_window_bits=9'),
    (b'permessage-deflate; server_no_context_takeover; client_max_window_bits',
     b'server_no_context_takeover; client_max_window_bits=12'),
    (b'permessage-deflate; server_max_window_bits=15; client_max_window_bits',
     b'server_max_window_bits=12; client_max_window_bits=12'),
    (b'permessage-deflate; server_max_window_bits=9',
     b'client_no_context_takeover; server_max_window_bits=9'),
    (b'permessage-deflate; server_max_window_bits=8; client_max_window_bits',
     b'server_max_window_bits=8; client_max_window_bits=12'),
    # What is unknown, double or bad declines the offer, and the next is looked at.
    (b'permessage-deflate; x', None), (b'permessage-deflate; x=1', None),
    (b'permessage-deflate; server_max_window_bits', None),
    (b'permessage-deflate; server_no_context_takeover=1', None),
    (b'permessage-deflate; client_no_context_takeover=true', None),
    (b'permessage-deflate; client_max_window_bits; client_max_window_bits', None),
    (b'permessage-deflate; client_max_window_bits; client_max_window_bits=9', None),
    (b'permessage-deflate; server_max_window_bits=9; server_max_window_bits=9', None),
    (b'permessage-deflate; client_no_context_takeover; client_no_context_takeover', None),
    (b'permessage-deflate; Client_Max_Window_Bits', None),
    *((b'permessage-deflate; %b=%b' % (name, bits), None)
      for name in NAMES[2:] for bits in (b'7', b'16', b'08', b'0', b'1', b'-9', b'+9', b'9.0',
                                         b'0x9', b'x', b'99999999999999999999', b'1_0')),
    (b'x, permessage-deflate; x, permessage-deflate; server_max_window_bits=10, permessage-deflate',
     b'client_no_context_takeover; server_max_window_bits=10'),
    (b'permessage-deflate; client_max_window_bits=16,,permessage-deflate',
     b'client_no_context_takeover'),
    # (Such a handshake is refused before: see `read_extensions`.)
    (b'permessage-deflate; =', None), (b'permessage-deflate, "', None),
])
def test_which_offer_is_accepted_and_how(offers, answer):
    agreed = negotiate(offers)
    if answer is None:
        assert agreed is None
    else:
        assert agreed.answer == b'permessage-deflate; ' + answer


def test_every_combination_of_parameters_is_answered_within_the_offer():
    for server, ours, theirs, forgets in itertools.product(
            (False, True), (None, *range(8, 16)), (None, 0, *range(8, 16)), (False, True)):
        offer = b'permessage-deflate'
        offer += b'; server_no_context_takeover' * server
        offer += b'; client_no_context_takeover' * forgets
        offer += b'' if ours is None else b'; server_max_window_bits=%d' % ours
        offer += (b'' if theirs is None else b'; client_max_window_bits' if theirs == 0
                  else b'; client_max_window_bits=%d' % theirs)
        name, *answer = negotiate(offer).answer.split(b'; ')
        assert name == b'permessage-deflate'
        answer = dict(each.partition(b'=')[::2] for each in answer)
        assert (NAMES[0] in answer) == server
        # A client that cannot bound its window is asked to forget it.
        assert (NAMES[1] in answer) == (forgets or theirs is None)
        assert answer.get(NAMES[2]) == (None if ours is None else b'%d' % min(ours, 12))
        assert answer.get(NAMES[3]) == (None if theirs is None else b'%d' % min(theirs or 12, 12))


# Messages of a client

# Section 7.2.3 of RFC 7692: "Hello" in one block, without compression, with BFINAL, in two blocks.
HELLO = bytes.fromhex('f248cdc9c90700')
EXAMPLES = [HELLO, bytes.fromhex('000500faff48656c6c6f00'), bytes.fromhex('f348cdc9c9070000'),
            bytes.fromhex('f24805000000ffffcac9c90700')]


@pytest.mark.parametrize('agreed', [KEEPS, FORGETS])
@pytest.mark.parametrize('payload', EXAMPLES)
def test_the_messages_of_the_rfc(payload, agreed):
    data = client(0xc1, payload) + client(0xc1, payload) + client(0x81, b'x')
    expected = [(TEXT, 'Hello'), (TEXT, 'Hello'), (TEXT, 'x')], None
    assert same_however_split(data, agreed=agreed) == expected
    # In fragments, with a ping between them.
    for at in range(len(payload)):
        data = client(0x41, payload[:at]) + client(0x89) + client(0x80, payload[at:])
        assert run([data * 2], agreed=agreed) == ([(PING, b''), (TEXT, 'Hello')] * 2, None)


def test_a_window_is_kept_only_if_that_was_agreed_on():
    # Section 7.2.3.2: the second message refers to the first.
    data = client(0xc1, HELLO) + client(0xc1, bytes.fromhex('f200110000'))
    assert same_however_split(data, agreed=KEEPS) == ([(TEXT, 'Hello')] * 2, None)
    assert same_however_split(data, agreed=FORGETS) == (
        [(TEXT, 'Hello')], (1007, 'a compressed text message cannot be inflated, or is not UTF-8'))
    assert reference(data, window=15, keeps=False) == ([(TEXT, 'Hello')], 1007)


def test_a_client_that_keeps_a_larger_window_than_was_agreed_on():
    # (zlib does not always find that. But it never makes another message of it.)
    payload = random.Random(1).randbytes(6000)
    payload += payload[:300]
    data = client(0xc2, small(payload, 15))
    assert run(octets(data), agreed=KEEPS) == (
        [], (1007, 'a compressed message cannot be inflated'))
    for size in (100, 1000, 4000, len(data)):
        pieces = [data[at:at + size] for at in range(0, len(data), size)]
        assert run(pieces, agreed=KEEPS) in (
            ([(BINARY, payload)], None), ([], (1007, 'a compressed message cannot be inflated')))
    # Over messages it is always found: the window of the one before is what was agreed on.
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    first, second = [(deflate.compress(each) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
                     for each in (payload, payload[300:600])]
    events, error = run([client(0xc2, first) + client(0xc2, second)], agreed=KEEPS)
    assert events == [(BINARY, payload)] and error[0] == 1007


def test_empty_messages():
    for payload in (b'\x00', b'', small(b'')):
        data = client(0xc2, payload) + client(0xc1, HELLO) + client(0x41, payload) + client(0x80)
        for agreed in (KEEPS, FORGETS):
            assert same_however_split(data, agreed=agreed) == (
                [(BINARY, b''), (TEXT, 'Hello'), (TEXT, '')], None)


def test_compression_is_a_choice_for_each_message():
    data = client(0x82, b'\x00') + client(0xc2, small(b'ab' * 50)) + client(0x02, b'\x01') + (
        client(0x80, b'\x02')) + client(0xc2, small(b'cd' * 50))
    assert same_however_split(data, agreed=FORGETS) == (
        [(BINARY, b'\x00'), (BINARY, b'ab' * 50), (BINARY, b'\x01\x02'), (BINARY, b'cd' * 50)],
        None)


@pytest.mark.parametrize('data', [
    client(0xc9), client(0xc8), client(0xca, b'x'),       # a compressed control frame
    client(0x41, HELLO[:2]) + client(0xc0, HELLO[2:]),    # RSV1 belongs to the first fragment
    client(0x01) + client(0xc0), client(0xe1), client(0xd1), client(0xc0),
])
def test_where_rsv1_may_not_be(data):
    events, error = same_however_split(data, agreed=KEEPS)
    assert events == [] and error[0] == 1002
    assert reference(data, window=12) == ([], 1002)


def test_without_an_agreement_nothing_is_compressed():
    assert same_however_split(client(0xc1, HELLO)) == ([], (1002, 'a frame has a reserved bit set'))


@pytest.mark.parametrize('agreed', [KEEPS, FORGETS])
@for_each('payload', [
    b'\xff', b'\x07', HELLO[:1], HELLO[:-1], HELLO[:-2], HELLO + b'\x00', HELLO + b'x', b'\x00' * 2,
    b'\x00\x05\x00\xfa\xffHel', b'\x00\x05\x00\xfa\xfeHello\x00', small(b'x' * 99)[:-3],
    # After the last block: nothing, two bytes, another block, garbage.
    EXAMPLES[2][:-1], EXAMPLES[2] + b'\x00', EXAMPLES[2][:-1] + HELLO, EXAMPLES[2][:-1] + b'x',
    EXAMPLES[2] * 2, EXAMPLES[2][:-1] + TAIL, HELLO + TAIL, b'\x03', b'\x03\x00\x03\x00\x00',
])
def test_broken_data_are_1007(payload, agreed):
    # (Frames and flags are as they must be. What they carry is not what it says it is.)
    events, error = same_however_split(client(0xc1, payload), agreed=agreed)
    assert (events, error) == (
        [], (1007, 'a compressed text message cannot be inflated, or is not UTF-8'))
    assert reference(client(0xc1, payload), window=15, keeps=agreed is KEEPS) == ([], 1007)
    error = run([client(0xc2, payload)], agreed=agreed)[1]
    assert error == (1007, 'a compressed message cannot be inflated')


def test_a_message_cut_short_is_found():
    for payload in (b'{"user": "anna", "text": "hello hello"}', random.Random(1).randbytes(300),
                    b'lorem ipsum dolor sit amet ' * 30):
        for level in (0, 1, 9):
            whole = small(payload, level=level)
            # (One byte 0 is an empty message.)
            for at in range(2, len(whole)):
                for agreed in (FORGETS, KEEPS):
                    assert run([client(0xc2, whole[:at])], agreed=agreed)[1], (payload, level, at)


def test_bad_utf_8_is_found_as_it_is_inflated():
    payload = b'a' * 5000 + b'\xff' + b'b' * 5000
    data = client(0xc1, small(payload, level=0))
    at = data.index(bytes([0xff ^ b'\xa1\x07\x80\x3c'[(5005 + 3) % 4]]), 4900)
    good, bad = run([data[:4990]], agreed=KEEPS), run([data[:5030]], agreed=KEEPS)
    assert good == ([], None) and bad[1][0] == 1007, at
    assert run(octets(data), agreed=KEEPS) == bad
    assert run([client(0xc1, small('€'.encode()[:2]))], agreed=KEEPS)[1][0] == 1007
    euro = small('€'.encode() * 9, level=0)
    assert same_however_split(client(0xc1, euro), agreed=KEEPS) == ([(TEXT, '€' * 9)], None)


# The limit

class Counting(Inflater):
    """Counts what it has inflated."""

    __slots__ = ('total',)

    def inflate(self, data, most):
        plain = super().inflate(data, most)
        self.total += len(plain[0])
        return plain


def inflated(pieces, message_size, pieces_wanted=False):
    inflater = Counting(15, False)
    inflater.total = 0
    parser = FrameParser(message_size, inflater)
    parser.pieces = pieces_wanted
    events, error = [], None
    try:
        for piece in pieces:
            parser.feed(piece)
            while (event := parser.next_event()) is not None:
                events.append(event)
    except FrameError as caught:
        error = caught.code
    return events, error, inflater.total


def test_a_bomb_is_never_inflated_beyond_the_limit():
    bomb = small(bytes(10_000_000))
    assert len(bomb) < 10_000
    whole = client(0xc2, bomb)
    fragments = client(0x42, bomb[:9]) + b''.join(
        client(0x00, bomb[at:at + 9]) for at in range(9, len(bomb), 9))
    for data in (whole, fragments):
        for pieces in ([data], [data[at:at + 1000] for at in range(0, len(data), 1000)]):
            events, error, total = inflated(pieces, 100_000)
            assert (events, error) == ([], 1009)
            assert total <= 100_001
    # Several messages are each within the limit.
    some = client(0xc2, small(bytes(99_999)))
    assert inflated([some * 20], 100_000)[1:] == (None, 20 * 99_999)


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='frees nothing at once')
def test_a_bomb_takes_little_memory():
    import tracemalloc

    whole = client(0xc2, small(bytes(10_000_000)))
    tracemalloc.start()
    try:
        assert inflated([whole], 100_000)[1] == 1009
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('size', [0, 1, 99, 100, 101, 102, 500])
def test_the_limit_is_that_of_the_inflated_message(size):
    for payload in (b'x' * size, random.Random(2).randbytes(size)):
        for level in (0, 6):
            data = client(0xc2, small(payload, level=level))
            expected = ([(BINARY, payload)], None) if size <= 100 else (
                [], (1009, 'a message exceeds 100 bytes (ws_message_size)'))
            assert same_however_split(data, 100, KEEPS) == expected
    # (A frame may be larger than the limit if the message is not: nothing here shrinks.)
    assert len(small(b'x' * 100, level=0)) > 100


def test_bad_utf_8_before_the_limit_counts_as_if_it_had_come_alone():
    for at, expected in ((50, 1007), (99, 1007), (100, 1009), (101, 1009)):
        data = client(0xc1, small(b'a' * at + b'\xff' + b'a' * 500))
        assert same_however_split(data, 100, KEEPS)[1][0] == expected
        assert reference(data, 100, 12) == ([], expected)


@pytest.mark.parametrize('make', [
    lambda n: client(0xc2, b'\x00\x00\x00\xff\xff' * n + b'\x00'),
    lambda n: client(0xc2, small(bytes(40 * n))),
    lambda n: client(0x42) + client(0x00, b'\x00\x00\x00\xff\xff') * (n // 8),
    lambda n: client(0xc2, HELLO) * (n // 8),
    lambda n: client(0xc2, EXAMPLES[2]) * (n // 8),
    lambda n: client(0xc2, b'\x03\x00' * n),
], ids=['empty blocks', 'a bomb', 'empty fragments', 'messages', 'last blocks', 'many last blocks'])
def test_time_grows_as_the_bytes_do(make):
    def parse(data):
        inflated([data], 1 << 30)
    assert is_linear(parse, make, 2000)


# Messages of the server

def received(agreed, messages):
    """What a client with the window that was agreed on makes of our messages."""
    inflate = zlib.decompressobj(-max(agreed.server_window, 9))
    events = []
    for message, small_message in messages:
        if small_message is None:
            events.append(message)
            continue
        assert len(small_message) < len(message)
        events.append(inflate.decompress(small_message + TAIL))
        assert not inflate.unused_data
        if b'server_no_context_takeover' in agreed.answer:
            inflate = zlib.decompressobj(-max(agreed.server_window, 9))
    return events


@pytest.mark.parametrize('offer', [
    b'', b'; client_max_window_bits', b'; server_no_context_takeover',
    b'; server_max_window_bits=9', b'; server_max_window_bits=15',
    b'; server_max_window_bits=10; server_no_context_takeover'])
def test_the_window_of_the_client_stays_right(offer):
    agreed = negotiate(b'permessage-deflate' + offer)
    rng = random.Random(7692)
    words = [rng.randbytes(rng.randrange(1, 2000)) for _ in range(6)]
    messages = []
    deflater = agreed.deflater()
    for _ in range(300):
        # Some shrink, some do not, and some are another compressor's (a group's).
        message = rng.choice([
            rng.randbytes(rng.randrange(60)), b'', b'x' * rng.randrange(9000),
            b''.join(rng.choices(words, k=3))])
        if rng.random() < 0.1:
            other = agreed.deflater().compress(message)
            messages.append((message, other))
            deflater.start_afresh()
        else:
            messages.append((message, deflater.compress(message)))
    assert received(agreed, messages) == [message for message, _ in messages]
    assert 50 < sum(each is None for _, each in messages) < 250


def test_what_does_not_shrink_is_sent_as_it_is():
    deflater = KEEPS.deflater()
    for payload in (b'', b'x', b'abc', random.Random(3).randbytes(10_000)):
        assert deflater.compress(payload) is None
    text = b'{"user": "anna", "text": "hello"}'
    first, second = deflater.compress(text * 2), deflater.compress(text * 2)
    assert len(second) < len(first) < 2 * len(text)
    deflater.start_afresh()
    assert deflater.compress(text * 2) == first
    forgets = negotiate(b'permessage-deflate; server_no_context_takeover').deflater()
    assert forgets.compress(text * 2) == forgets.compress(text * 2) == first


def test_tiny_messages_that_never_shrink_are_tried_rarely():
    deflater = KEEPS.deflater()
    rng = random.Random(5)
    for _ in range(20):
        assert deflater.compress(rng.randbytes(20)) is None
    # Larger ones are always tried; one that shrinks is a new beginning for tiny ones.
    line = b'{"user": "anna", "text": "anna"}'
    assert deflater.compress(line) is None
    assert deflater.compress(rng.randbytes(500)) is None
    assert deflater.compress(line * 2)
    assert len(deflater.compress(line)) < 12
    # So is the one of 32 that is tried, if it shrinks.
    for _ in range(20):
        deflater.compress(rng.randbytes(20))
    sent = [deflater.compress(b'ab' * 20) for _ in range(33)]
    assert sent[0] is None and sent[-1] is not None
    assert sent == sorted(sent, key=lambda each: each is not None)
    assert received(KEEPS, [(b'ab' * 20, each) for each in sent]) == [b'ab' * 20] * 33


def test_a_window_of_8_bits_is_agreed_on_and_not_used():
    agreed = negotiate(b'permessage-deflate; server_max_window_bits=8; client_max_window_bits=8')
    assert agreed.deflater() is None
    # A client with 9 bits that says 8, as old versions of zlib do, is understood.
    payload = bytes(range(256)) * 4
    data = client(0xc2, small(payload, 9)) * 2
    assert run([data], agreed=agreed) == ([(BINARY, payload)] * 2, None)


def test_both_ways():
    agreed = KEEPS
    deflater, parser = agreed.deflater(), FrameParser(1 << 20, agreed.inflater())
    for size in (50, 500, 5000, 100_000):
        payload = b'tremolo ' * (size // 8 + 1)
        small_payload = deflater.compress(payload)
        made = frame(TEXT, small_payload, compressed=True)
        assert made[0] == 0xc1
        parser.feed(client(0xc1, small_payload))
        assert parser.next_event() == (TEXT, payload.decode())


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='no reference counts')
def test_what_a_socket_needs_is_made_late_and_given_back():
    import tracemalloc

    def kept(work):
        tracemalloc.start()
        try:
            result = work()
            return tracemalloc.get_traced_memory()[0], result
        finally:
            tracemalloc.stop()

    def used(agreed):
        deflater, parser = agreed.deflater(), FrameParser(1 << 20, agreed.inflater())
        deflater.compress(b'x' * 100)
        parser.feed(client(0xc2, small(bytes(50_000))))
        assert parser.next_event()
        return deflater, parser

    used(KEEPS)
    assert kept(lambda: [(KEEPS.deflater(), KEEPS.inflater()) for _ in range(10)])[0] < 3000
    # Of the memory only what Python knows of is counted here; zlib's own is on top for the first.
    forgets = negotiate(b'permessage-deflate; server_no_context_takeover')
    assert kept(lambda: used(forgets))[0] < 3000


def test_a_deflater_is_given_a_window():
    assert len(Deflater(12, True).compress(b'x' * 100)) < 10

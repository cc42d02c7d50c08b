"""Good frames, mutated: the parser says what the reference says, however the bytes are split.

A few of them are in the suite. `python tests/ws/test_websocket_mutation.py 1000000 SEED` makes a
million frames, which takes some minutes (tests/interop/test_websocket_million.py).
"""

from __future__ import annotations

import collections
import itertools
import random
import sys
import zlib

from websocket_wire import client, reference, run

from tremolo.ws.deflate import negotiate
from tremolo.ws.parser import MORE, PIECE, FrameError, FrameParser

AGREED = [
    (None, None, True),
    (negotiate(b'permessage-deflate; client_max_window_bits'), 12, True),
    (negotiate(b'permessage-deflate; client_max_window_bits=9; client_no_context_takeover'), 9,
     False),
    (negotiate(b'permessage-deflate'), 15, False)]
TEXTS = ['', 'a', 'hello', 'é', '€uro', '𝄞 clef', '{"user": "anna", "text": "hello hello hello"}',
         'x' * 124 + 'é', 'κόσμε ' * 30]
# Second bytes and sizes that lie, and bytes with which UTF-8 goes wrong.
OCTETS = [bytes([octet]) for octet in
          b'\x00\x01\x03\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xa0\xbf\xc0\xc1\xc2\xed\xf4\xfe\xff']


class Sender:
    """A client that sends random good frames, and compresses some messages if that is agreed on."""

    def __init__(self, rng, window, keeps):
        self.rng, self.window, self.keeps = rng, window, keeps
        self.deflate = None

    def payload(self, payload):
        if self.deflate is None or not self.keeps:
            self.deflate = zlib.compressobj(
                self.rng.choice((0, 1, 6)), zlib.DEFLATED, -max(self.window, 9))
        return (self.deflate.compress(payload) + self.deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def control(self):
        rng = self.rng
        if rng.random() < 0.03:
            return [client(0x88, rng.choice((1000, 1001, 1011, 3000, 4999)).to_bytes(2, 'big')
                           + b'why', rng.randbytes(4))]
        return [client(rng.choice((0x89, 0x8a)), rng.randbytes(rng.choice((0, 1, 4, 125))),
                       rng.randbytes(4))]

    def message(self):
        rng = self.rng
        if rng.random() < 0.6:
            opcode, payload = 1, rng.choice(TEXTS).encode()
        else:
            opcode, payload = 2, rng.randbytes(rng.choice((0, 1, 3, 20, 126, 200)))
        rsv1 = 0
        if self.window is not None and rng.random() < 0.6:
            payload, rsv1 = self.payload(payload), 0x40
        frames = []
        first = opcode | rsv1
        while rng.random() < 0.3:
            at = rng.randrange(len(payload) + 1)
            frames.append(client(first, payload[:at], rng.randbytes(4)))
            payload, first = payload[at:], 0
            if rng.random() < 0.2:
                frames += self.control()
        return [*frames, client(first | 0x80, payload, rng.randbytes(4))]

    def frames(self):
        frames = []
        for _ in range(self.rng.randrange(1, 6)):
            frames += self.control() if self.rng.random() < 0.2 else self.message()
        return frames


def mutated(rng, data):
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:at] + rng.choice(OCTETS) + data[at:]
        elif kind in (1, 2):
            data = data[:at] + rng.choice(OCTETS) + data[at + 1:]
        elif kind == 3:
            data = data[:at] + data[at + rng.randrange(1, 4):]
        elif kind == 4:
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:] if (
                at < len(data)) else data
        else:
            data = data[:at]
    return data


def split(rng, data):
    """The data in pieces: two, several, or many."""
    count = rng.choice((1, 1, 3, max(1, len(data) // 2)))
    places = sorted(rng.randrange(len(data) + 1) for _ in range(count))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)])]


def in_pieces(pieces, agreed):
    """What `run` returns, of a parser that gives pieces now and then."""
    parser = FrameParser(1 << 20, agreed and agreed.inflater())
    events, begun = [], []
    try:
        for place, piece in enumerate(pieces):
            parser.feed(piece)
            parser.pieces = place % 3 != 2
            while (event := parser.next_event()) is not None:
                kind, value = event
                if kind == MORE:
                    continue
                if kind == PIECE:
                    kind, data, last = value
                    begun.append(data)
                    if not last:
                        continue
                    value = data[:0].join(begun)
                    begun = []
                elif kind in (1, 2):
                    value = value[:0].join([*begun, value])
                    begun = []
                events.append((kind, value))
    except FrameError as error:
        return events, (error.code, error.reason)
    return events, None


def attack(frames, seed):
    """Mutate so many frames. Returns how often each code was the answer."""
    rng = random.Random(seed)
    seen = collections.Counter()
    made = 0
    while made < frames:
        agreed, window, keeps = rng.choice(AGREED)
        sent = Sender(rng, window, keeps).frames()
        made += len(sent)
        data = mutated(rng, b''.join(sent))
        limit = rng.choice((1 << 20, 150, 20))
        whole = events, error = run([data], limit, agreed)
        seen[error and error[0]] += 1
        for _ in range(2):
            pieces = split(rng, data)
            assert run(pieces, limit, agreed) == whole, (seed, made, data, pieces)
        # Each frame alone, as far as the mutations have left it so.
        ends = [0, *itertools.accumulate(map(len, sent))]
        alone = [data[begin:end] for begin, end in zip(ends, [*ends[1:-1], None])]
        assert run(alone, limit, agreed, takes=True) == whole, (seed, made, data, alone)
        # (Pieces have no limit.)
        if not error or error[0] != 1009:
            assert in_pieces(pieces, agreed) == whole, (seed, made, data, pieces)
        # The reference is slow.
        if rng.random() < 0.2:
            assert reference(data, limit, window, keeps) == (
                events, error and error[0]), (seed, made, data)
    return seen


def test_mutated_frames_are_read_alike_however_they_are_split():
    assert set(attack(10_000, 6455)) == {None, 1002, 1007, 1009}


if __name__ == '__main__':
    print(dict(attack(int(sys.argv[1]), int(sys.argv[2]))))

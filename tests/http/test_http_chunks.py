"""Many chunks that arrive together: taken in few steps, as strictly as one by one, and counted.

By hand, so many random bodies of a seed: `test_http_chunks.py COUNT SEED`.
"""

from __future__ import annotations

import random
import sys
import time

import pytest
from http_cases import chunked, get
from http_reference import reference
from http_runner import run
from test_http_differential import mutated

from tremolo.http import EndOfBody, Limits, ProtocolError, RequestParser

TOGETHER = 256 + 256    # The most chunks of one step: those of the loop, and those of a run.


def parser_of(body, limits=None):
    parser = RequestParser(limits or Limits())
    parser.feed(chunked(body))
    parser.next_event()
    return parser


def in_chunks(sizes):
    return b''.join(b'%x\r\n%b\r\n' % (size, b'x' * size) for size in sizes) + b'0\r\n\r\n'


@pytest.mark.parametrize('sizes', [
    [1] * 250, [5] * 250, [15, 16, 47, 48] * 60, [1024] * 64, [*range(1, 64)], [3]])
def test_chunks_that_arrived_together_are_one_piece(sizes):
    parser = parser_of(in_chunks(sizes))
    assert parser.next_event() == b'x' * sum(sizes)
    assert parser.next_event() == EndOfBody([])


@pytest.mark.parametrize('size', [1, 5, 47, 48])
def test_one_step_takes_a_bounded_number_of_chunks(size):
    parser = parser_of(in_chunks([size] * 10_000))
    pieces = []
    while type(piece := parser.next_event()) is bytes:
        pieces.append(piece)
    assert b''.join(pieces) == b'x' * size * 10_000
    assert max(map(len, pieces)) <= size * TOGETHER
    assert len(pieces) <= 10_000 // 256 + 1


def test_what_is_not_whole_follows_what_is():
    parser = parser_of(b'2\r\nab\r\n' * 20 + b'4\r\ncd')
    assert [parser.next_event() for _ in range(3)] == [b'ab' * 20, b'cd', None]
    parser.feed(b'ef\r\n1\r\ng\r\n0\r\n\r\n')
    events = []
    while (event := parser.next_event()) is not None:
        events.append(event)
    assert events == [b'ef', b'g', EndOfBody([])]


@pytest.mark.parametrize('fault', [
    b'1\r\nab\r\n', b'1\r\na\n', b'+1\r\na\r\n', b'1 \r\na\r\n', b'1\na\r\n', b'\r\n', b'g\r\n'])
@pytest.mark.parametrize('before', [0, 1, 8, 9, 10, 600])
def test_a_fault_comes_behind_the_good_chunks_before_it(before, fault):
    good, limits = b'1\r\nx\r\n' * before, Limits()
    data = chunked(good + fault + b'0\r\n\r\n')
    events, error = run([data], limits)
    assert error is not None and error[0] == 400
    assert (events, error) == run([data[at:at + 1] for at in range(len(data))], limits)
    assert b''.join(event[1] for event in events if event[0] == 'data').startswith(b'x' * before)


def many_chunks(rng):
    """A body of many small chunks, most of them plain."""
    parts = []
    for _ in range(rng.randrange(60)):
        size = rng.choice([1, 1, 2, 5, 9, 10, 15, 16, 17, 31, 47, 48, 60])
        line = rng.choice([b'%x', b'%x', b'%x', b'%X', b'0%x', b'%x;a', b'%x ; a="b;\\""']) % size
        parts.append(line + b'\r\n' + rng.choice([b'x', b'\r', b'\n', b'0']) * size + b'\r\n')
    return b''.join(parts) + rng.choice([b'0', b'00', b'0;a']) + b'\r\n' + rng.choice(
        [b'\r\n', b'A: b\r\nC: d\r\n\r\n'])


def bodies(count, seed):
    rng = random.Random(seed)
    statuses = set()
    for _ in range(count):
        limits = Limits(body_size=rng.choice([None, None, 300]),
                        chunk_overhead=rng.choice([20, 60, 130, 65536]))
        data = chunked(mutated(rng, many_chunks(rng))) + get()
        events, error = run([data], limits)
        assert (events, error and error[0]) == reference(data, limits), data
        cuts = sorted(rng.choices(range(len(data) + 1), k=rng.randrange(1, 30)))
        pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)])]
        assert run(pieces, limits) == (events, error), (data, cuts)
        assert run([data[at:at + 1] for at in range(len(data))], limits) == (events, error), data
        statuses.add(error and error[0])
    assert statuses == {None, 400, 413}


def test_random_bodies_of_many_chunks_are_read_as_the_reference_does():
    bodies(300, 1)


def refused(sizes, limits=None):
    """How many chunks are let pass, and the reason that refuses the next; None: all are fine."""
    parser, size = parser_of(in_chunks(sizes), limits), 0
    try:
        while type(piece := parser.next_event()) is bytes:
            size += len(piece)
    except ProtocolError as error:
        return size // sizes[0], error.reason
    return None


def test_tiny_chunks_are_counted_against_the_body_that_they_carry():
    # Of one byte as many as ever: the bytes of their framing are the bound.
    assert refused([1] * 16_383) is None
    assert refused([1] * 20_000)[0] == 16_383
    passed, reason = refused([5] * 40_000)
    # 16 bytes are counted for each: (65,536 x 4 - 5) / 11.
    assert passed == 23_830 and '(chunk_overhead)' in reason
    assert '16384 chunks' in reason
    assert refused([8] * 40_000)[0] == (4 * 65536 - 8) // 8
    # Lines of JSON, and all of 16 bytes and more, pass for ever.
    assert refused([16] * 100_000) is None
    assert refused([20, 100] * 20_000) is None
    # Who has sent much may send tiny ones behind it.
    assert refused([1_000_000] + [5] * 60_000) is None


def test_trailers_count_as_framing():
    limits = Limits(chunk_overhead=60)
    good = b'4\r\nabcd\r\n0\r\n' + b'A: b\r\n' * 9 + b'\r\n'
    assert run([chunked(good)], limits)[1] is None
    status, reason = run([chunked(good.replace(b'0\r\n', b'0\r\nC:\r\n'))], limits)[1]
    assert status == 400 and '(chunk_overhead)' in reason


def seconds_for(size, count, piece=65536):
    data = in_chunks([size] * count)
    parser = RequestParser(Limits(chunk_overhead=1 << 40))
    parser.feed(chunked(b''))
    parser.next_event()
    begun = time.process_time()
    for at in range(0, len(data), piece):
        parser.feed(data[at:at + piece])
        while parser.next_event() is not None:
            pass
    return time.process_time() - begun


@pytest.mark.parametrize('piece', [65536, 1 << 30])
def test_chunks_take_time_as_they_are_many(piece):
    # (Also where all of them lie in one buffer of a megabyte: it is not copied for each step.)
    short = min(seconds_for(5, 10_000, piece) for _ in range(3))
    assert min(seconds_for(5, 40_000, piece) for _ in range(3)) < 12 * short + 0.005


if __name__ == '__main__':
    bodies(int(sys.argv[1]), int(sys.argv[2]))

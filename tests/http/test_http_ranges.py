"""Which bytes a Range asks for, by the grammar of RFC 9110 section 14 and by a plainer reader."""

from __future__ import annotations

import random
import time

import pytest
from each_case import for_each

from tremolo.http.ranges import content_range, ranges_of

WHOLE = None
NOTHING: list[tuple[int, int]] = []

# (the field, the size, what is meant)
CASES = [
    (b'bytes=0-0', 10, [(0, 1)]),
    (b'bytes=0-9', 10, [(0, 10)]),
    (b'bytes=3-', 10, [(3, 10)]),
    (b'bytes=-3', 10, [(7, 10)]),
    (b'BYTES=1-2', 10, [(1, 3)]),                     # units are case-insensitive (14.1)
    (b'bytes=0003-0004', 10, [(3, 5)]),
    # More than there is: what there is of it (14.1.2).
    (b'bytes=5-99', 10, [(5, 10)]),
    (b'bytes=-99', 10, [(0, 10)]),
    # Several, in the order in which they are asked for (15.3.7.2).
    (b'bytes=8-9,0-1', 10, [(8, 10), (0, 2)]),
    (b'bytes=0-1 ,\t4-5', 10, [(0, 2), (4, 6)]),
    (b'bytes=,0-1,,', 10, [(0, 2)]),                  # empty elements (5.6.1.2)
    (b'bytes= 0-1', 10, [(0, 2)]),
    (b'bytes=0-1,50-60', 10, [(0, 2)]),               # one of them is there
    # None of them is there: 416.
    (b'bytes=10-', 10, NOTHING),
    (b'bytes=10-20,30-', 10, NOTHING),
    (b'bytes=-0', 10, NOTHING),
    (b'bytes=-0,-000', 10, NOTHING),
    # An empty file has no range.
    (b'bytes=0-0', 0, WHOLE),
    (b'bytes=-5', 0, WHOLE),
    # What is no range by the grammar is no range at all (14.2), and makes the others none (14.1.1).
    (b'', 10, WHOLE),
    (b'bytes', 10, WHOLE),
    (b'bytes=', 10, WHOLE),
    (b'bytes=,', 10, WHOLE),
    (b'bytes=-', 10, WHOLE),
    (b'bytes=--5', 10, WHOLE),
    (b'bytes=5', 10, WHOLE),
    (b'bytes=2-1', 10, WHOLE),
    (b'bytes=0-1,2-1', 10, WHOLE),
    (b'bytes=0-1,x', 10, WHOLE),
    (b'bytes=a-0', 10, WHOLE),
    (b'bytes=0-0x5', 10, WHOLE),
    (b'bytes=+1-2', 10, WHOLE),
    (b'bytes=1-+2', 10, WHOLE),
    (b'bytes=1_0-20', 10, WHOLE),
    (b'bytes=1-2-3', 10, WHOLE),
    (b'bytes=1 - 2', 10, WHOLE),
    (b'bytes=\xb2-\xb3', 10, WHOLE),                  # digits of other alphabets
    (b'bytes = 0-1', 10, WHOLE),
    (b'bytes:0-1', 10, WHOLE),
    (b'bytes=0-1;2-3', 10, WHOLE),
    (b'lines=0-1', 10, WHOLE),
    (b'none=0-1', 10, WHOLE),
    (b'bytes =0-1', 10, WHOLE),
    (b' bytes=0-1', 10, WHOLE),
    # More than is reasonable.
    (b'bytes=' + b','.join(b'%d-%d' % (n, n) for n in range(0, 32, 2)), 99,
     [(n, n + 1) for n in range(0, 32, 2)]),
    (b'bytes=' + b','.join(b'%d-%d' % (n, n) for n in range(0, 34, 2)), 99, WHOLE),
    (b'bytes=0-5,3-8', 10, [(0, 6), (3, 9)]),
    (b'bytes=0-5,0-5', 10, [(0, 6), (0, 6)]),
    (b'bytes=0-5,5-6,6-7', 10, WHOLE),
    (b'bytes=0-,0-,0-', 10, WHOLE),
    (b'bytes=0-1,2-3,4-5,6-7', 10, [(0, 2), (2, 4), (4, 6), (6, 8)]),
]


@for_each('value, size, meant', CASES, ids=[repr(case[0][:24]) for case in CASES])
def test_a_range_is(value, size, meant):
    assert ranges_of(value, size) == meant


@pytest.mark.parametrize('value, meant', [
    (b'bytes=%s-', NOTHING), (b'bytes=0-%s', [(0, 1000)]), (b'bytes=-%s', [(0, 1000)]),
    (b'bytes=%s-1', WHOLE), (b'bytes=0-1,%s-', [(0, 2)]), (b'bytes=%s-0,0-1', WHOLE)])
def test_a_number_of_5000_digits_costs_nothing(value, meant):
    before = time.thread_time()
    for _ in range(100):
        assert ranges_of(value % (b'9' * 5000), 1000) == meant
    assert time.thread_time() - before < 0.5
    zeros = b'0' * 5000
    assert ranges_of(b'bytes=%s3-%s4' % (zeros, zeros), 1000) == [(3, 5)]


def test_long_numbers_are_compared_to_the_last_digit():
    much = b'9' * 5000
    assert ranges_of(b'bytes=0-0,%s0-%s1' % (much, much), 10) == [(0, 1)]
    assert ranges_of(b'bytes=0-0,%s1-%s0' % (much, much), 10) is WHOLE


def test_sizes_beyond_64_bits_are_numbers_too():
    size = 2 ** 63 - 1
    assert ranges_of(b'bytes=%d-%d' % (size - 1, size + 5), size) == [(size - 1, size)]
    assert ranges_of(b'bytes=-%d' % 10 ** 30, size) == [(0, size)]
    assert ranges_of(b'bytes=%d-' % 10 ** 19, size) == NOTHING


def test_the_field_of_the_answer():
    assert content_range((0, 1), 10) == 'bytes 0-0/10'
    assert content_range(None, 10) == 'bytes */10'


def plainly(text: str, size: int) -> list[tuple[int, int]] | None:
    """Read a Range as a person would, character by character."""
    if not text.startswith('bytes=') or not size:
        return None
    wanted = [each.strip(' \t') for each in text[6:].split(',')]
    wanted = [each for each in wanted if each]
    if not wanted or len(wanted) > 16:
        return None
    found = []
    for each in wanted:
        if each.count('-') != 1 or each == '-' or set(each) - set('0123456789-'):
            return None
        first, last = each.split('-')
        if first and last and int(first) > int(last):
            return None
        asked = set(range(int(first), min(int(last) + 1 if last else size, size))) if first \
            else set(range(max(0, size - int(last)), size))
        if asked:
            found.append(asked)
    crowded = [one for number, one in enumerate(found)
               if any(one & other for place, other in enumerate(found) if place != number)]
    return None if len(crowded) > 2 else [(min(each), max(each) + 1) for each in found]


def test_it_agrees_with_a_plain_reader(count: int = 3000):
    dice = random.Random(1)
    alphabet = ['-', ',', ' ', '0', '1', '5', '9', '12', '20', 'x', '1-3', '0-', '-2', '5-9', ', ']
    for _ in range(count):
        text = 'bytes=' + ''.join(dice.choices(alphabet, k=dice.randrange(9)))
        size = dice.choice((0, 1, 10, 15))
        # (A blank within a number is kept by the field's value, and is no digit.)
        assert ranges_of(text.encode(), size) == plainly(text, size), (text, size)

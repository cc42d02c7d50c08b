"""The conditions of a request, by RFC 9110 sections 8.8.3.2 and 13."""

from __future__ import annotations

import random
import time

import pytest
from each_case import for_each

from tremolo.http import RequestHead, http_date
from tremolo.http.conditions import may_be_part, outcome, parse_date

NOW = 1_790_000_000.0    # In September 2026.
ETAG = '"12-34"'
DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'
EARLIER = 'Sun, 06 Nov 1994 08:49:36 GMT'
LATER = 'Sun, 06 Nov 1994 08:49:38 GMT'
MOMENT = 784111777


def head(*lines: str, method: str = 'GET') -> RequestHead:
    found = RequestHead()
    found.method = method
    pairs = (line.encode('latin-1').partition(b': ') for line in lines)
    found.block = [(name.lower(), value) for name, _, value in pairs]
    return found


# (lines, what is answered for an ETag and a date)
CASES: list[tuple[tuple[str, ...], int]] = [
    ((), 0),
    # If-Match: the strong comparison (13.1.1).
    (('If-Match: "12-34"',), 0),
    (('If-Match: *',), 0),
    (('If-Match: "a", "12-34"',), 0),
    (('If-Match: "a","b,c" , ,"12-34",',), 0),
    (('If-Match: "a"', 'If-Match: "12-34"'), 0),
    (('If-Match: "a"',), 412),
    (('If-Match: W/"12-34"',), 412),
    (('If-Match: 12-34',), 412),
    (('If-Match: ',), 412),
    (('If-Match: "12-34" junk',), 412),
    (('If-Match: "a"b"12-34"',), 412),
    # If-None-Match: the weak one (13.1.2).
    (('If-None-Match: "12-34"',), 304),
    (('If-None-Match: W/"12-34"',), 304),
    (('If-None-Match: *',), 304),
    (('If-None-Match: "a", W/"12-34"',), 304),
    (('If-None-Match: "a"', 'If-None-Match: "12-34"'), 304),
    (('If-None-Match: "a"',), 0),
    (('If-None-Match: w/"12-34"',), 0),    # weak is W/ (8.8.3)
    (('If-None-Match: 12-34',), 0),
    (('If-None-Match: "12-34',), 0),
    (('If-None-Match: *, "a"',), 0),
    # If-Modified-Since: not later is not modified (13.1.3).
    ((f'If-Modified-Since: {DATE}',), 304),
    ((f'If-Modified-Since: {LATER}',), 304),
    ((f'If-Modified-Since: {EARLIER}',), 0),
    (('If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT',), 304),
    # If-Unmodified-Since (13.1.4).
    ((f'If-Unmodified-Since: {DATE}',), 0),
    ((f'If-Unmodified-Since: {LATER}',), 0),
    ((f'If-Unmodified-Since: {EARLIER}',), 412),
    # What is no date is no condition.
    (('If-Modified-Since: yesterday',), 0),
    (('If-Unmodified-Since: 0',), 0),
    (('If-Unmodified-Since: ',), 0),
    (('If-Modified-Since: Sun, 06 Nov 1994 08:49:37 CET',), 0),
    # Which one counts (13.2.2).
    (('If-Match: "12-34"', f'If-Unmodified-Since: {EARLIER}'), 0),
    (('If-Match: "a"', f'If-Unmodified-Since: {DATE}'), 412),
    (('If-Match: "a"', 'If-None-Match: "12-34"'), 412),
    (('If-Match: "12-34"', 'If-None-Match: "12-34"'), 304),
    ((f'If-Unmodified-Since: {EARLIER}', 'If-None-Match: "12-34"'), 412),
    (('If-None-Match: "a"', f'If-Modified-Since: {DATE}'), 0),
    (('If-None-Match: "12-34"', f'If-Modified-Since: {EARLIER}'), 304),
    (('If-Match: "12-34"', f'If-Modified-Since: {DATE}'), 304),
    ((f'If-Unmodified-Since: {DATE}', f'If-Modified-Since: {DATE}'), 304),
]


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@for_each('lines, status', CASES, ids=[' '.join(case[0]) for case in CASES])
def test_a_condition_is_answered(lines, status, method):
    assert outcome(head(*lines, method=method), ETAG, DATE, NOW) == status


@for_each('lines, status', CASES)
def test_another_method_has_done_its_work_already(lines, status):
    assert outcome(head(*lines, method='PUT'), ETAG, DATE, NOW) == 0


@pytest.mark.parametrize('etag, modified, line, status', [
    # A condition on what the answer does not have: no ETag is named, no date is compared.
    (None, DATE, 'If-Match: "12-34"', 412),
    (None, DATE, 'If-Match: *', 0),
    (None, DATE, 'If-None-Match: "12-34"', 0),
    (None, DATE, 'If-None-Match: *', 304),
    (ETAG, None, f'If-Modified-Since: {DATE}', 0),
    (ETAG, None, f'If-Unmodified-Since: {EARLIER}', 0),
    (ETAG, 'yesterday', f'If-Unmodified-Since: {EARLIER}', 0),
    # A weak ETag of ours is never the same by the strong comparison.
    ('W/"a"', None, 'If-Match: "a"', 412),
    ('W/"a"', None, 'If-Match: W/"a"', 412),
    ('W/"a"', None, 'If-None-Match: "a"', 304),
    ('W/"a"', None, 'If-None-Match: W/"a"', 304),
    # An application may set what is none.
    ('a', None, 'If-None-Match: a', 0),
    ('"\u20ac"', None, 'If-None-Match: "?"', 304),
    ('""', None, 'If-None-Match: ""', 304),
    ('"\xe9"', None, 'If-None-Match: "\xe9"', 304),
])
def test_of_the_validators_one_may_be_missing(etag, modified, line, status):
    assert outcome(head(line), etag, modified, NOW) == status


@pytest.mark.parametrize('value, etag, modified, whole', [
    ('"12-34"', ETAG, DATE, False),
    ('"a"', ETAG, DATE, True),
    ('W/"12-34"', ETAG, DATE, True),        # the strong comparison (13.1.5)
    ('"12-34"', 'W/"12-34"', DATE, True),
    ('"12-34", "a"', ETAG, DATE, True),     # one ETag, no list
    ('"12-34"x', ETAG, DATE, True),
    ('*', ETAG, DATE, True),
    ('', ETAG, DATE, True),
    (DATE, ETAG, DATE, False),
    (EARLIER, ETAG, DATE, True),            # exactly that date
    (LATER, ETAG, DATE, True),
    ('Sunday, 06-Nov-94 08:49:37 GMT', ETAG, DATE, False),
    ('yesterday', ETAG, 'yesterday', True),
    (DATE, ETAG, None, True),
    ('"12-34"', None, DATE, True),
])
def test_if_range_lets_a_part_be_sent(value, etag, modified, whole):
    assert may_be_part(head(f'If-Range: {value}'), etag, modified, NOW) is not whole


def test_without_if_range_a_part_may_be_sent():
    assert may_be_part(head('If-Match: "a"'), ETAG, DATE, NOW)


@for_each('text, seconds', [
    (DATE, MOMENT),
    ('Sunday, 06-Nov-94 08:49:37 GMT', MOMENT),
    ('Sun Nov  6 08:49:37 1994', MOMENT),
    ('Sun Nov 06 08:49:37 1994', MOMENT),
    ('Sat, 31 Dec 2016 23:59:60 GMT', 1483228800),    # a leap second
    ('Thu, 01 Jan 1970 00:00:00 GMT', 0),
    ('Mon, 01 Jan 1900 00:00:00 GMT', -2208988800),
    # Two digits: at most 50 years ahead (5.6.7).
    ('Wednesday, 01-Jan-76 00:00:00 GMT', 3345062400),
    ('Saturday, 01-Jan-77 00:00:00 GMT', 220924800),
    ('Saturday, 01-Jan-00 00:00:00 GMT', 946684800),
    # No dates.
    ('', None), ('0', None), ('Sun', None), (DATE + ' ', None), (' ' + DATE, None),
    (DATE.lower(), None), (DATE[:-4], None), (DATE[:-3] + 'UTC', None), (DATE[5:], None),
    ('Sun, 6 Nov 1994 08:49:37 GMT', None), ('Sun, 06 Nov 94 08:49:37 GMT', None),
    ('Sun, 06 Nov 1994 8:49:37 GMT', None), ('Xxx, 06 Nov 1994 08:49:37 GMT', None),
    ('Sun, 06 Nvm 1994 08:49:37 GMT', None), ('Sun, 31 Feb 1994 08:49:37 GMT', None),
    ('Sun, 00 Nov 1994 08:49:37 GMT', None), ('Sun, 06 Nov 0000 08:49:37 GMT', None),
    ('Sun, 06 Nov 1994 24:49:37 GMT', None), ('Sun, 06 Nov 1994 08:60:37 GMT', None),
    ('Sun, 06 Nov 1994 08:49:61 GMT', None), ('Sun, 06 Nov 1994 08:49:37', None),
    ('Sun, 06 Nov 1994 08:49:37 GMT; length=3', None),
    ('Sun, 06 Nov 19\xb94 08:49:37 GMT', None), ('Sun Nov   08:49:37 1994', None),
    (DATE + '9' * 5000, None),
])
def test_a_date_is_read_in_three_forms(text, seconds):
    assert parse_date(text.encode('latin-1'), NOW) == seconds


def test_a_date_of_ours_is_read_as_what_it_was():
    dice = random.Random(1)
    for _ in range(500):
        seconds = dice.randrange(-60_000_000_000, 250_000_000_000)
        assert parse_date(http_date(seconds).encode(), NOW) == seconds


def test_long_lists_take_linear_time():
    def seconds(value: str) -> float:
        asked = head(f'If-None-Match: {value}')
        before = time.thread_time()
        for _ in range(20):
            outcome(asked, ETAG, DATE, NOW)
        return time.thread_time() - before

    for unit in ('"a",', ' , ', 'W/', '"', '\t', '"a" ', ','):
        once = min(seconds(unit * 2000) for _ in range(3))
        twice = min(seconds(unit * 4000) for _ in range(3))
        assert twice < 3 * once + 0.005, unit

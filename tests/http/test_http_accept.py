"""Accept and Accept-Encoding: the client's weights, and what is malformed."""

from __future__ import annotations

import time

import pytest
from each_case import for_each

from tremolo.files.static import best_coding
from tremolo.http.accept import best_type, read_elements

HTML, JSON, PLAIN = 'text/html', 'application/json', 'text/plain'

# The example of RFC 9110 section 12.5.1.
EXAMPLE = ('text/*;q=0.3, text/plain;q=0.7, text/plain;format=flowed, '
           'text/plain;format=fixed;q=0.4, */*;q=0.5')


@pytest.mark.parametrize(('kind', 'weight'), [
    ('text/plain;format=flowed', 1), ('text/plain', .7), ('text/html', .3), ('image/jpeg', .5),
    ('text/plain;format=fixed', .4), ('text/html;level=3', .3)])
def test_the_most_specific_range_gives_the_weight(kind, weight):
    # (Beside an offer that has a weight for certain, one is better up to its own weight.)
    for other, better in (weight + .05, False), (weight - .05, True):
        accept = f'{EXAMPLE}, x/y;q={other:.2f}' if other <= 1 else EXAMPLE
        if other <= 1:
            assert (best_type(accept, ['x/y', kind]) == kind) is better


@for_each(('accept', 'offers', 'best'), [
    # No Accept, and an empty one, give the first.
    (None, [HTML, JSON], HTML), ('', [HTML, JSON], HTML), (None, [], None),
    ('*/*', [JSON, HTML], JSON), ('text/html', [JSON, HTML], HTML), ('text/html', [JSON], None),
    # The weight decides, and of equals the order of the offers.
    ('text/html;q=0.5, application/json', [HTML, JSON], JSON),
    ('text/html, application/json', [JSON, HTML], JSON),
    ('application/json;q=0.500, text/html;q=0.5', [HTML, JSON], HTML),
    # 0 is "not acceptable", also within a wider range that is.
    ('text/html;q=0', [HTML], None), ('text/html;q=0, */*', [HTML, JSON], JSON),
    ('*/*;q=0', [HTML], None), ('text/*;q=0.000, */*;q=0.001', [HTML, JSON], JSON),
    # Case, spaces, empty elements.
    ('TEXT/HTML;Q=0.1', [HTML], HTML), (' ,, text/html \t;\tq=1.000 ,', [HTML], HTML),
    ('text/html;;q=0.2;', [HTML], HTML),
    # Parameters belong to the type; what follows the weight does not.
    ('text/html;level=1', [HTML], None), ('text/html;level=1', ['text/html;level=1'],
                                          'text/html;level=1'),
    ('text/html;q=1;level=1', [HTML], HTML), ('text/html;a="1,;\\"q=0"', [HTML], None),
    ('text/html;charset="UTF-8"', ['text/html;charset=utf-8'], 'text/html;charset=utf-8'),
    # Malformed elements are left out, and the others hold.
    ('text, application/json', [HTML, JSON], JSON), ('text/html;q=1.5, */*;q=0.1', [HTML], HTML),
    ('text/html;q=, application/json', [HTML, JSON], JSON), ('text/html;q=a', [HTML], None),
    ('text/html;q=-1', [HTML], None), ('text/html;q=0.1234', [HTML], None),
    ('text/html q=1', [HTML], None), ('text/ html', [HTML], None), ('/html', [HTML], None),
    ('text/html;level', [HTML], None), ('text/html; q = 1', [HTML], None),
    ('a/b;c="d, text/html', [HTML], None), ('text/html, a/b;c="d', [HTML], HTML),
    ('*/html', [HTML], None), ('\u0661/html', [HTML], None), ('text/html;q=\u0661', [HTML], None),
    # What the HTTP client of Java sent for twenty years.
    ('text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', [JSON], JSON),
    # Browsers.
    ('text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
     [JSON, HTML], HTML)])
def test_the_best_offer_or_none(accept, offers, best):
    assert best_type(accept, offers) == best


@pytest.mark.parametrize('offer', ['html', '*/*', 'text/*', '', 'text/html;q=2', 'a/b, c/d'])
def test_what_is_no_offer_is_told(offer):
    with pytest.raises(ValueError, match="write 'text/html'"):
        best_type(None, [offer])


@for_each(('accept', 'best'), [
    (None, ''), ('', ''), ('br', 'br'), ('gzip', 'gzip'), ('gzip, br', 'br'), ('br, gzip', 'br'),
    ('gzip, deflate, br, zstd', 'br'), ('br;q=0.5, gzip', 'gzip'), ('br;q=0', ''), ('*', 'br'),
    ('*;q=0', ''), ('br;q=0, *', 'gzip'), ('gzip;q=0, br;q=0', ''), ('x-gzip', 'gzip'),
    ('GZIP', 'gzip'), ('identity', ''), ('identity;q=0', ''), ('identity, gzip;q=0.5', ''),
    ('identity;q=0.5, gzip;q=0.7', 'gzip'), ('gzip;q=0.5, identity;q=0.5', 'gzip'),
    ('deflate', ''), ('brr', ''), ('gzip;q=2, br;q=0.001', 'br'), ('gzip q=1', ''),
    ('"br"', ''), ('*;q=0, gzip;q=0.1', 'gzip')])
def test_the_best_coding(accept, best):
    assert best_coding(accept, ['br', 'gzip']) == best


def test_only_what_is_offered_is_chosen():
    assert best_coding('br, gzip;q=0.1', ['gzip']) == 'gzip'
    assert best_coding('br', ['gzip']) == best_coding('br', []) == ''


def test_after_a_hundred_elements_nothing_more_is_read():
    assert len(read_elements('a/b,' * 5000)) == 100
    assert best_type('a/b,' * 99 + HTML, [HTML]) == HTML
    assert best_type('a/b,' * 100 + HTML, [HTML]) is None


@pytest.mark.parametrize('flood', ['a/b,', ';', '"', '\\"', '"\\', ',', ' ', 'a;a="', '"",', 'q=;',
                                   '; ', 'a/b;q=1', '",\\'])
def test_no_field_takes_long(flood):
    for prefix in '', 'text/html;a=', 'text/html':
        value = (prefix + flood * 16384)[:32768]
        before = time.thread_time()
        best_type(value, [HTML, JSON])
        best_coding(value, ['br', 'gzip'])
        assert time.thread_time() - before < 0.2

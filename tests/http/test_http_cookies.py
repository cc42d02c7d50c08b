"""Cookies: read whatever comes, set only what RFC 6265 allows."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta, timezone

import pytest
from each_case import for_each

from tremolo.http import HeaderError, format_cookie, parse_cookies
from tremolo.http.cookies import read_cookies


@pytest.mark.parametrize(('value', 'cookies'), [
    ('', {}),
    ('a=b', {'a': 'b'}),
    ('a=b; c=d', {'a': 'b', 'c': 'd'}),
    ('a=b;c=d;', {'a': 'b', 'c': 'd'}),
    (' a = b ;\tc\t=\td ', {'a': 'b', 'c': 'd'}),
    ('a=1; a=2; A=3', {'a': '1', 'A': '3'}),
    ('a=', {'a': ''}),
    ('a=b=c', {'a': 'b=c'}),
    ('a="b c"', {'a': 'b c'}),
    ('a="b', {'a': '"b'}),
    ('a="', {'a': '"'}),
    ('a=""', {'a': ''}),
    ('a="b"c"', {'a': 'b"c'}),
    ('a=%41+%3B', {'a': '%41+%3B'}),
    ('a; =b; ; c=d', {'c': 'd'}),
    ('$Version=1; a=b', {'$Version': '1', 'a': 'b'}),
    ('a=\xe9', {'a': '\xe9'}),
    ('a={"b": 1, "c": 2}', {'a': '{"b": 1, "c": 2}'}),
])
def test_cookies_are_read(value, cookies):
    assert parse_cookies(value) == cookies


def test_the_number_of_cookies_is_bounded():
    cookies = parse_cookies(';'.join(f'a{at}=b' for at in range(5000)))
    assert list(cookies) == [f'a{at}' for at in range(200)]
    assert cookies['a199'] == 'b'


def by_the_letter(value):
    """What RFC 6265 section 4.2.1 lets a client send, and what is left of all else."""
    cookies = {}
    for pair in value.split(';')[:200]:
        if '=' in pair:
            name, content = (each.strip(' \t') for each in pair.split('=', 1))
            quoted = len(content) >= 2 and content.startswith('"') and content.endswith('"')
            if name and name not in cookies:
                cookies[name] = content[1:-1] if quoted else content
    return cookies


def test_cookies_never_raise():
    """All that can be written with a few characters, and octets of any kind."""
    for size in range(6):
        for characters in itertools.product('a=; "', repeat=size):
            value = ''.join(characters)
            assert parse_cookies(value) == by_the_letter(value), value
    rng = random.Random(6265)
    for _ in range(3000):
        value = ''.join(rng.choices('ab=;, "\t\\\x00\x7f\x80\xff%', k=rng.randrange(30)))
        assert parse_cookies(value) == by_the_letter(value), value
        fields = [rng.randbytes(rng.randrange(20)) for _ in range(rng.randrange(4))]
        for name, content in read_cookies(fields).items():
            assert name and isinstance(content, str)


@pytest.mark.parametrize(('fields', 'cookies'), [
    ([], {}),
    ([b''], {}),
    ([b'a=b', b'c=d'], {'a': 'b', 'c': 'd'}),
    ([b'a', b'=b', b';', b'c=d'], {'c': 'd'}),
    ([b'no pair', b'a=b'], {'a': 'b'}),
    ([b'a=\xc3\xbc; \xc3\xbc=b'], {'a': 'ü', 'ü': 'b'}),
    ([b'a=\xfc; \xfc=\xc3\xbc'], {'a': 'ü', 'ü': 'ü'}),
    ([b'a=\xed\xa0\x80'], {'a': '\xed\xa0\x80'}),
    ([b'\xff\xfe=\x00'], {'\xff\xfe': '\x00'}),
    ([b'\xc3\xbc=1; \xfc=2'], {'ü': '1'}),
    ([b'\xfc=1; \xc3\xbc=2'], {'ü': '1'}),
])
def test_octets_of_cookies_are_read(fields, cookies):
    assert read_cookies(fields) == cookies


def test_a_cookie_without_more_lasts_a_session():
    assert format_cookie('a', 'b') == 'a=b; Path=/'
    assert format_cookie('a', '', path=None) == 'a='
    assert format_cookie('a', '"b"') == 'a="b"; Path=/'


def test_all_attributes_are_written():
    assert format_cookie(
        'a', 'b', max_age=60, expires=784111777.0, path='/x', domain='example.com', secure=True,
        httponly=True, samesite='none', partitioned=True) == (
        'a=b; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Domain=example.com; Path=/x; '
        'Secure; HttpOnly; SameSite=None; Partitioned')


@pytest.mark.parametrize('expires', [
    784111777, 784111777.5, datetime(1994, 11, 6, 8, 49, 37),
    datetime(1994, 11, 6, 8, 49, 37, tzinfo=timezone.utc),
    datetime(1994, 11, 6, 10, 49, 37, tzinfo=timezone(timedelta(hours=2))),
    'Sun, 06 Nov 1994 08:49:37 GMT'])
def test_expires_takes_dates_in_several_forms(expires):
    assert format_cookie('a', 'b', expires=expires, path=None) \
        == 'a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT'


@pytest.mark.parametrize(('samesite', 'written'), [('strict', 'Strict'), ('LAX', 'Lax')])
def test_samesite_is_written_as_it_should_be(samesite, written):
    assert format_cookie('a', 'b', samesite=samesite).endswith(f'; SameSite={written}')


def test_a_leading_dot_of_the_domain_is_dropped():
    assert format_cookie('a', 'b', domain='.a.example', path=None) == 'a=b; Domain=a.example'


def test_max_age_0_removes_a_cookie():
    assert format_cookie('a', '', max_age=0, path=None) == 'a=; Max-Age=0'


def test_prefixes_keep_their_promise():
    assert format_cookie('__Host-a', 'b', secure=True) == '__Host-a=b; Path=/; Secure'
    assert format_cookie('__Secure-a', 'b', secure=True, domain='c', path='/d') \
        == '__Secure-a=b; Domain=c; Path=/d; Secure'


@for_each(('name', 'value', 'attributes'), [
    ('', 'b', {}),
    ('a b', 'b', {}),
    ('a=', 'b', {}),
    ('a;', 'b', {}),
    ('a\n', 'b', {}),
    ('\xe9', 'b', {}),
    (b'a', 'b', {}),
    ('a', b'b', {}),
    ('a', 1, {}),
    ('a', 'b c', {}),
    ('a', 'b;c', {}),
    ('a', 'b,c', {}),
    ('a', 'b"c', {}),
    ('a', '"b', {}),
    ('a', 'b\\c', {}),
    ('a', 'b\r\nc', {}),
    ('a', 'b\x00', {}),
    ('a', '\xe9', {}),
    ('a', 'b' * 4096, {}),
    ('a', 'b', {'max_age': -1}),
    ('a', 'b', {'max_age': 1.5}),
    ('a', 'b', {'max_age': '1'}),
    ('a', 'b', {'max_age': True}),
    ('a', 'b', {'expires': 'tomorrow'}),
    ('a', 'b', {'expires': ''}),
    ('a', 'b', {'expires': 'Sun, 06 Nov 1994 08:49:37 GMT; Secure'}),
    ('a', 'b', {'expires': 'Sun, 06 Nov 1994 08:49:37 GMT\r\n'}),
    ('a', 'b', {'expires': float('inf')}),
    ('a', 'b', {'expires': float('nan')}),
    ('a', 'b', {'expires': [1]}),
    ('a', 'b', {'path': 'x'}),
    ('a', 'b', {'path': ''}),
    ('a', 'b', {'path': '/;Secure'}),
    ('a', 'b', {'path': '/\r\n'}),
    ('a', 'b', {'path': '/\xe9'}),
    ('a', 'b', {'domain': ''}),
    ('a', 'b', {'domain': '..a'}),
    ('a', 'b', {'domain': 'a;b'}),
    ('a', 'b', {'domain': 'a:80'}),
    ('a', 'b', {'domain': 'a b'}),
    ('a', 'b', {'domain': 'a\n'}),
    ('a', 'b', {'domain': 'a' * 64}),
    ('a', 'b', {'domain': 'a.' * 130 + 'a'}),
    ('a', 'b', {'samesite': 'None'}),
    ('a', 'b', {'samesite': 'maybe'}),
    ('a', 'b', {'samesite': 'Lax; Secure'}),
    ('a', 'b', {'partitioned': True}),
    ('__Secure-a', 'b', {}),
    ('__secure-a', 'b', {}),
    ('__Host-a', 'b', {}),
    ('__Host-a', 'b', {'secure': True, 'path': '/x'}),
    ('__Host-a', 'b', {'secure': True, 'path': None}),
    ('__Host-a', 'b', {'secure': True, 'domain': 'c'}),
])
def test_what_is_no_good_cookie_is_refused(name, value, attributes):
    with pytest.raises(HeaderError) as caught:
        format_cookie(name, value, **attributes)
    assert len(str(caught.value)) < 200


def test_what_is_set_is_what_is_read():
    value = ''.join(chr(code) for code in range(33, 127) if chr(code) not in '",;\\')
    assert parse_cookies(format_cookie('a', value, path=None)) == {'a': value}

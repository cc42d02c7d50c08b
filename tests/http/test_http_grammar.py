"""The expressions: none is slower than its input is long, and none takes what it should not."""

from __future__ import annotations

import re
import sys

import pytest
from http_cases import chunked, get, post
from linear import is_linear

from tremolo.http import (
    HeaderError,
    Limits,
    ProtocolError,
    RequestParser,
    encode_fields,
    format_cookie,
    grammar,
    parse_cookies,
)
from tremolo.late import Late

LINE = b'GET / HTTP/1.1\r\n'


@pytest.mark.parametrize(('function', 'make', 'size'), [
    (re.compile(rb'[ \t]+\n').search, lambda n: b' ' * n, 180),
    (re.compile(rb'(?:a|b)+c').search, lambda n: b'ab' * (n // 2), 180),
], ids=['a run of spaces', 'alternatives'])
def test_what_is_quadratic_is_found_out(function, make, size):
    assert not is_linear(function, make, size)


# Inputs on which a careless expression would try again and again: long runs of what two of its
# parts could take, and a fault at the very end.
WORST = {
    'REQUEST_LINE': [
        lambda n: b'A' * n, lambda n: b'A ' + b'/' * n, lambda n: b'A / ' * n,
        lambda n: b'A ' + b'/' * n + b' HTTP/1.1\n', lambda n: b'A' * n + b' '],
    'FIELD': [
        lambda n: b'a' * n, lambda n: b'a:' + b' ' * n, lambda n: b'a:' + b' \t' * n + b'\n',
        lambda n: b'a:' * n, lambda n: b' ' * n],
    'LINES': [
        lambda n: b'\r\n' * n + b'\n', lambda n: b' ' * n + b'\r', lambda n: b'a\r\n' * n + b'\x00',
        lambda n: b'\r' * n],
    'CONTENT_LENGTH': [lambda n: b'1' * n, lambda n: b' ' * n],
    'CODING': [
        lambda n: b'a' * n + b' ', lambda n: b'a' + b' ' * n, lambda n: b'a' + b';b=c' * n + b';',
        lambda n: b'a;b="' + b'\\"' * n, lambda n: b'a;b="' + b'c' * n, lambda n: b'a' + b' ;' * n,
        lambda n: b'a;b' + b' ' * n, lambda n: b'a;b=c' + b' ' * n + b'"'],
    'PARAMETER': [
        lambda n: b';' * n, lambda n: b'; ' * n, lambda n: b';' + b' ' * n + b'"',
        lambda n: b';' + b'a' * n, lambda n: b';a' + b' ' * n, lambda n: b';a=' + b' ' * n + b'"',
        lambda n: b';a="' + b'b' * n, lambda n: b';a="' + b'\\"' * n, lambda n: b';a="' + b'\\' * n,
        lambda n: b';a=' + b'b ' * n + b'"', lambda n: b';a=b' + b' ' * n + b'"'],
    'ESCAPED': [lambda n: b'\\' * n, lambda n: b'\\a' * n],
    'BOUNDARY': [lambda n: b'a' * n, lambda n: b' ' * n, lambda n: b'a ' * n],
    'DELIMITER_END': [
        lambda n: b' ' * n, lambda n: b'-' * n, lambda n: b'--' + b' \t' * n + b'x',
        lambda n: b'\r' * n, lambda n: b'--\r\n' * n],
    'FOLD': [
        lambda n: b'\r\n' * n, lambda n: b'\r\n' + b' ' * n, lambda n: b'\r\n ' * n,
        lambda n: b'\r' * n],
    'CHUNK_LINE': [
        lambda n: b'1' * n, lambda n: b'1' + b' ' * n, lambda n: b'1' + b';a' * n + b' ',
        lambda n: b'1;a="' + b'\\"' * n, lambda n: b'1;a="' + b'b' * n, lambda n: b'1;a' + b' ' * n,
        lambda n: b'1' + b' ;a = b' * n + b'\n', lambda n: b'1;a=' + b' ' * n,
        lambda n: b'1' + b';a="b"' * n + b'"', lambda n: b'1;' + b'a' * n + b'\r'],
    'TINY_CHUNK': [lambda n: b'1' * n, lambda n: b'2f\r\n' * n, lambda n: b'1\r\na\r\n' * n],
    'TINY_CHUNKS': [
        lambda n: b'1\r\na\r\n' * n, lambda n: b'1\r\na\r\n10\r\n' * n, lambda n: b'a\r\n' * n],
    'HOST': [
        lambda n: b'a' * n + b'@', lambda n: b'%41' * n + b'%', lambda n: b'[' + b':' * n,
        lambda n: b'a:' * n, lambda n: b'a' + b':' * n, lambda n: b'a%41' * n + b'%4'],
    'AUTHORITY': [
        lambda n: b'a' * n, lambda n: b'%41' * n + b':', lambda n: b'[' + b':' * n,
        lambda n: b'a:' * n],
    'ABSOLUTE': [
        lambda n: b'http://' + b'a' * n + b' ', lambda n: b'http://' + b'/' * n + b' ',
        lambda n: b'http://a' + b'/?' * n + b'#', lambda n: b'http' * n],
    'TOKEN': [lambda n: b'a' * n + b' '],
    'TOKEN_STR': [lambda n: 'a' * n + ' '],
    'TEXT_STR': [lambda n: ' ' * n + '\n', lambda n: 'a\t' * n + '\u20ac'],
    'COOKIE_VALUE': [lambda n: '"' + 'a' * n, lambda n: 'a' * n + '"', lambda n: '"' * n],
    'COOKIE_ATTRIBUTE': [lambda n: '/' * n + ';'],
    'DOMAIN': [
        lambda n: 'a' * n, lambda n: 'a.' * n, lambda n: '.' * n, lambda n: 'a-' * n + '.',
        lambda n: ('a' * 63 + '.') * n],
}


def test_every_expression_has_its_worst_inputs():
    patterns = {name for name, value in vars(grammar).items()
                if isinstance(value, (re.Pattern, Late))}
    assert patterns == set(WORST)


@pytest.mark.parametrize('name', sorted(WORST))
def test_the_expression_takes_time_as_its_input_is_long(name):
    pattern = getattr(grammar, name)
    for make in WORST[name]:
        for function in (pattern.match, pattern.fullmatch):
            assert is_linear(function, make), (name, make(3))


def feed(pieces, field_count=10 ** 9):
    """Parse all, and do not mind what comes of it."""
    size = 10 ** 9
    parser = RequestParser(Limits(head_size=size, field_count=field_count, trailer_size=size,
                                  chunk_overhead=size))
    try:
        for piece in pieces:
            parser.feed(piece)
            event = parser.next_event()
            while event is not None:
                getattr(event, 'headers', None)
                event = parser.next_event()
    except ProtocolError:
        return


@pytest.mark.parametrize('make', [
    lambda n: LINE + b'a:\r\n' * n + b'b\r\n\r\n',
    lambda n: LINE + b'a:' + b' ' * n + b'\n\r\n',
    lambda n: LINE + b'a' * n,
    lambda n: LINE + b'a: b\r\n' * n,
    lambda n: b'A ' * n,
    lambda n: b'\r\n' * n,
])
@pytest.mark.parametrize('field_count', [100, 10 ** 6])
@pytest.mark.parametrize('end', [b'', b'\r\n\r\n'])
def test_a_head_takes_time_as_it_is_long(make, end, field_count):
    assert is_linear(lambda data: feed([data + end], field_count), make)


@pytest.mark.parametrize('make', [
    lambda n: LINE + b'a:' + b' ' * n + b'\r\n\r\n',
    lambda n: LINE + b'a:' + b' ' * n + b'\n',
    lambda n: LINE + b'a:b\r\n' * n + b'\r\n',
    lambda n: LINE + b'host:b\r\n' * n + b'\r\n',
    lambda n: LINE + b'connection:b\r\n' * n + b'\r\n',
    lambda n: LINE + b'a\r\n' * n + b'\r\n',
    lambda n: get(b'connection: ' + b',' * n + b'\r\n'),
    lambda n: post(b'transfer-encoding: ' + b'a,' * n + b'chunked\r\n'),
    lambda n: post(b'transfer-encoding: ' + b' ' * n + b'chunked\r\n'),
    lambda n: get() * n,
    lambda n: b'\r\n' + (get() + b'\r\n') * n,
    lambda n: chunked(b'1\r\na\r\n' * n + b'0\r\n\r\n'),
    lambda n: chunked(b'0\r\n' + b'a:b\r\n' * n + b'\r\n'),
    lambda n: chunked(b'0\r\n' + b'a' * n),
    lambda n: chunked(b'%x\r\n%s\r\n0\r\n\r\n' % (n, b'\r\n' * (n // 2))),
])
def test_the_parser_takes_time_as_its_input_is_long(make):
    assert is_linear(lambda data: feed([data]), make)


@pytest.mark.parametrize('make', [
    lambda n: LINE + b'a:' + b' ' * n,
    lambda n: LINE + b'a:b\r\n' * (n // 5),
    lambda n: b'G' * n,
    lambda n: chunked(b'1;' + b'a' * n),
    lambda n: chunked(b'0\r\n' + b'a:b\r\n' * (n // 5)),
    lambda n: chunked(b'1\r\na\r\n' * (n // 6)),
    lambda n: post(b'content-length: %d\r\n' % n, b'a' * n),
])
def test_the_parser_takes_time_as_its_pieces_are_many(make):
    # Within the default limits: what waits is copied with each piece, which shows in megabytes. (On
    # PyPy, whose pieces cost less, in tens of kilobytes: the larger sizes are no second chance.)
    size = 3_500 if sys.implementation.name == 'cpython' else 1_000
    assert is_linear(lambda data: feed([data[at:at + 1] for at in range(len(data))]), make, size)


@pytest.mark.parametrize('make', [
    lambda n: 'a=b;' * n, lambda n: ';' * n, lambda n: '=' * n, lambda n: 'a="' + '\\"' * n,
    lambda n: 'a=' + ' ' * n, lambda n: ' ' * n + 'a',
    lambda n: ''.join(f'a{i}=b; ' for i in range(n))])
def test_cookies_take_time_as_they_are_long(make):
    assert is_linear(parse_cookies, make)


def test_what_is_set_takes_time_as_it_is_long():
    def refused(value):
        with pytest.raises(HeaderError):
            encode_fields([('A', value)])
        with pytest.raises(HeaderError):
            format_cookie('a', value)
    assert is_linear(refused, lambda n: ' ' * n + '\n')

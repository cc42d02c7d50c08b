"""The expressions: none is slower than its input is long, and none takes what it should not."""

from __future__ import annotations

import gc
import re
import time

import pytest
from http_cases import chunked, get, post

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

# Small enough that what sre notes down does not outgrow the cache. Four times the input may take
# nine times the time: what is linear takes four, and what is quadratic sixteen.
SIZE = 2_500
FACTOR = 9
LINE = b'GET / HTTP/1.1\r\n'


def seconds(function, data):
    """The best of several runs, in processor time: what others do meanwhile does not count."""
    best = 1e9
    for _ in range(7):
        begun = time.thread_time()
        function(data)
        best = min(best, time.thread_time() - begun)
    return best


def is_linear(function, make, size=SIZE):
    """Whether work on four times the input takes about four times as long; noise gets chances."""
    # The collector looks through all that the tests before have left, now and then.
    gc.disable()
    try:
        return any(
            seconds(function, make(4 * size)) < FACTOR * seconds(function, make(size)) + 5e-5
            for _ in range(6))
    finally:
        gc.enable()


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
    'FRAMING': [
        lambda n: b'\n' * n, lambda n: b'\nhost:' + b' ' * n, lambda n: b'\nhost:' * n,
        lambda n: b'\ncontent-' * n, lambda n: b'\nhost: a\r' * n],
    'CONTENT_LENGTH': [lambda n: b'1' * n, lambda n: b' ' * n],
    'CODING': [
        lambda n: b'a' * n + b' ', lambda n: b'a' + b' ' * n, lambda n: b'a' + b';b=c' * n + b';',
        lambda n: b'a;b="' + b'\\"' * n, lambda n: b'a;b="' + b'c' * n, lambda n: b'a' + b' ;' * n,
        lambda n: b'a;b' + b' ' * n, lambda n: b'a;b=c' + b' ' * n + b'"'],
    'CHUNK_LINE': [
        lambda n: b'1' * n, lambda n: b'1' + b' ' * n, lambda n: b'1' + b';a' * n + b' ',
        lambda n: b'1;a="' + b'\\"' * n, lambda n: b'1;a="' + b'b' * n, lambda n: b'1;a' + b' ' * n,
        lambda n: b'1' + b' ;a = b' * n + b'\n', lambda n: b'1;a=' + b' ' * n,
        lambda n: b'1' + b';a="b"' * n + b'"', lambda n: b'1;' + b'a' * n + b'\r'],
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
        # `findall` starts anew at each place, so only what is used that way is tried that way.
        functions = [pattern.findall] if name == 'FRAMING' else [pattern.match, pattern.fullmatch]
        for function in functions:
            assert is_linear(function, make), (name, make(3))


@pytest.mark.parametrize('make', [
    lambda n: LINE + b'a:\r\n' * n + b'b\r\n\r\n',
    lambda n: LINE + b'a:' + b' ' * n + b'\n\r\n',
    lambda n: LINE + b'a' * n,
    lambda n: LINE + b'a: b\r\n' * n,
    lambda n: b'A ' * n,
    lambda n: b'\r\n' * n,
])
def test_the_expression_of_a_head_takes_time_as_the_head_is_long(make):
    assert is_linear(grammar.head(100).match, make)
    assert is_linear(grammar.head(10 ** 6).match, make)


def feed(pieces):
    """Parse all, and do not mind what comes of it."""
    size = 10 ** 9
    parser = RequestParser(Limits(head_size=size, field_count=size, trailer_size=size,
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
    # Within the default limits: what waits is copied with each piece, which shows in megabytes.
    assert is_linear(
        lambda data: feed([data[at:at + 1] for at in range(len(data))]), make, size=3_500)


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


def test_alternatives_grouped_by_letter_find_the_same_names():
    for name in grammar.LISTS | {b'host', b'content-length', b'if-range', b'sec-websocket-key'}:
        assert grammar.FRAMING.findall(b'\nx: y\r\n%s: z\r\n' % name) == [(name, b' z')]
        assert grammar.FRAMING.findall(b'\nx%s: y\r\n%sx: z\r\n' % (name, name)) == []
        assert grammar.FRAMING.findall(b'\nx: %s:\r\n' % name) == []


def test_one_expression_of_a_head_is_made_for_each_limit():
    assert grammar.head(7) is grammar.head(7)
    assert grammar.head(7) is not grammar.head(8)

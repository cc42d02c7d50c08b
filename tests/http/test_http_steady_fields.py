"""Steady fields of answers: what is kept of them, what never is, and that it changes no answer."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tremolo
from tremolo.http import HeaderError, encoder
from tremolo.http.encoder import encode


class Sub(bytes):
    """Bytes, as far as anybody can tell."""


NAMES = [b'content-type', b'Content-Type', b'CONTENT-TYPE', b'cache-control', b'vary', b'x-a',
         b'content-length', b'Content-Length', b'connection', b'Connection', b'date', b'server',
         b'transfer-encoding', b'set-cookie', b'vary:', b'', Sub(b'vary'), bytearray(b'vary'),
         memoryview(b'vary'), 'vary', 'content-length', None, 1]
VALUES = [b'text/plain', b'text/plain\n', b'text/plain\r\nx: y', b'a\0', b' a ', b'\xe9', b'',
          b'12', b'012', b'0', b'13', b'1234', b'+1', b'\xb2', b'close', b'x, close', b'a' * 300,
          Sub(b'12'), Sub(b'text/plain'), bytearray(b'12'), bytearray(b'text/plain'),
          bytearray(b'a\n'), memoryview(b'12'), memoryview(b'text/plain'),
          memoryview(bytearray(b'12')), '12', 'text/plain', None, 1]


@pytest.fixture(autouse=True)
def nothing_is_known():
    for kept in (encoder.known_names, encoder.steady):
        kept.clear()
    yield
    for kept in (encoder.known_names, encoder.steady):
        kept.clear()


def outcome(fields, **options):
    """What `encode` says: an answer, or an error as the application sees it."""
    try:
        return encode(fields, **options)
    except (HeaderError, TypeError) as error:
        # (A generator is shown by its address.)
        return type(error), re.sub(r'0x\w+', '', str(error))


def slow(monkeypatch, fields, **options):
    """The same, with no field kept before or afterwards."""
    with monkeypatch.context() as patch:
        patch.setattr(encoder, '_find', lambda field: None)
        patch.setattr(encoder, '_keep', lambda *_: None)
        return outcome(fields, **options)


def shapes(pairs):
    """Iterables with these pairs, of every kind that an application may send."""
    yield lambda: pairs
    yield lambda: tuple(pairs)
    yield lambda: [list(pair) for pair in pairs]
    yield lambda: (pair for pair in pairs)
    yield lambda: (iter(pair) for pair in pairs)
    yield lambda: [(*pair, b'c') for pair in pairs]
    yield lambda: [pair[:1] for pair in pairs]


def test_a_kept_field_says_what_it_said_at_first(monkeypatch):
    # (The names are known from here on: by which way they became so makes no difference.)
    encoder.known_names.update((b'content-type', b'Content-Type', b'cache-control', b'vary'))
    rng = random.Random(20)
    for _ in range(1500):
        pairs = [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randrange(4))]
        for shape in shapes(pairs):
            for options in {}, {'refuse_coding': True}:
                expected = slow(monkeypatch, shape(), **options)
                assert outcome(shape(), **options) == expected, pairs
                assert outcome(shape(), **options) == expected, pairs
    assert len(encoder.steady) > 10


@pytest.mark.parametrize('value', [
    Sub(b'12'), bytearray(b'12'), memoryview(b'12'), '12', b'012', b'12 ', b'+12', 12, None])
def test_a_length_that_is_equal_but_of_another_type_is_read_as_at_first(monkeypatch, value):
    encode([(b'content-length', b'12')])
    assert encoder.steady == {}
    for others in [], [(b'content-length', b'12')], [(b'content-length', b'13')]:
        for fields in [(b'content-length', value), *others], [*others, (b'content-length', value)]:
            assert outcome(fields) == slow(monkeypatch, fields)


def test_a_length_that_comes_twice_is_compared_each_time():
    for _ in range(3):
        assert encode([(b'content-length', b'12'), (b'content-length', b'12')])[1] == 12
        for second in b'13', b'1234', b'x':
            with pytest.raises(HeaderError, match='Content-Length'):
                encode([(b'content-length', b'12'), (b'content-length', second)])


def test_the_order_of_fields_is_kept():
    pairs = [(b'vary', b'a'), (b'x-a', b'1'), (b'vary', b'b'), (b'x-a', b'2'), (b'vary', b'a')]
    for _ in range(3):
        assert encode(pairs)[0] == b'vary: a\r\nx-a: 1\r\nvary: b\r\nx-a: 2\r\nvary: a\r\n'


def test_a_value_with_a_control_character_is_never_kept():
    for name in b'vary', b'content-type':
        for end in b'\r\n', b'\n', b'\r', b'\0', b'\x7f', b'\r\nset-cookie: a=b':
            for _ in range(3):
                with pytest.raises(HeaderError, match='control'):
                    encode([(b'x-a', b'1'), (name, b'a' + end)])
    assert encoder.steady == {}


def test_a_fault_beside_kept_fields_is_found():
    for _ in range(3):
        with pytest.raises(HeaderError, match='the value of header x-a has a control'):
            encode([(b'vary', b'a'), (b'x-a', b'1\n'), (b'vary', b'a')])
        encode([(b'vary', b'a')])


def test_what_may_belong_to_one_user_is_never_kept():
    secret = b'secret'
    for name in (b'set-cookie', b'Set-Cookie', b'location', b'Location', b'etag', b'ETag',
                 b'authorization', b'www-authenticate', b'proxy-authenticate', b'x-auth-token',
                 b'authentication-info', b'content-security-policy', b'link', b'refresh',
                 b'content-location', b'content-disposition', b'x-request-id', b'date',
                 b'last-modified', b'connection', b'x-csrf-token', b'server-timing', b'x-a'):
        for _ in range(3):
            encode([(name, secret), (b'content-type', b'a/b')])
    assert list(encoder.steady) == [(b'content-type', b'a/b')]


def test_the_fields_that_are_the_servers_are_not_kept():
    assert not any(name.lower() in encoder._OURS for name in encoder._STEADY)


def test_few_lines_are_kept_and_no_long_ones():
    encode([(b'vary', b''), (b'vary', b'')])
    for number in range(3000):
        encode([(b'vary', b'%d' % number), (b'content-length', b'%d' % number)])
        assert 0 < len(encoder.steady) <= 1024
    longest = 256 - len(b'vary: \r\n')
    encoder.steady.clear()
    for length in longest, longest + 1, 100_000:
        for _ in range(3):
            assert encode([(b'vary', b'a' * length)])[0] == b'vary: %b\r\n' % (b'a' * length)
    assert list(encoder.steady) == [(b'vary', b'a' * longest)]


def test_a_full_dictionary_is_emptied_though_two_threads_may_add_at_once():
    encode([(b'vary', b'')])
    encoder.steady.update(((b'vary', b'%d' % each), b'x') for each in range(3000))
    encode([(b'vary', b'new')])
    assert encoder.steady == {(b'vary', b'new'): b'vary: new\r\n'}


def test_only_plain_bytes_are_kept():
    encode([(b'vary', b''), (b'Vary', b'')])
    encoder.steady.clear()
    for value in Sub(b'a'), bytearray(b'a'), memoryview(b'a'):
        assert encode([(b'vary', value)])[0] == b'vary: a\r\n'
    for name in Sub(b'vary'), memoryview(b'vary'):
        assert encode([(name, b'a')])[0] == b'vary: a\r\n'
    assert encoder.steady == {}


def test_str_beside_kept_bytes_is_an_error_and_nothing_else_with_warnings_as_errors():
    code = '''if True:
        from tremolo.http.encoder import encode
        for _ in range(2):
            encode([(b'vary', b'a'), (b'content-length', b'12')])
            for pair in ('vary', b'a'), (b'vary', 'a'), ('vary', 'a'), ('content-length', b'12'):
                try:
                    encode([pair])
                except TypeError as error:
                    assert 'a header is a pair of bytes' in str(error)
                else:
                    raise AssertionError(pair)
            # (As before there was anything to be kept.)
            assert encode([(b'content-length', '12')])[1] == 12
        '''
    for flag in '-bb', '-B':
        done = subprocess.run([sys.executable, flag, '-c', code], capture_output=True, text=True,
                              cwd=Path(tremolo.__file__).parent.parent, check=False)
        assert (done.returncode, done.stderr) == (0, ''), flag

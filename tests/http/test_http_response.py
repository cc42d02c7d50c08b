"""Heads of answers: what is made, and what is kept off the wire."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

import pytest

from tremolo.http import (
    CONTINUE,
    HeaderError,
    Headers,
    Limits,
    RequestParser,
    chunk,
    encode_fields,
    http_date,
    status_line,
)
from tremolo.http.phrases import PHRASES
from tremolo.http.response import is_http_date


def test_every_known_status_has_its_line():
    for status in HTTPStatus:
        line = status_line(status.value)
        assert line == f'HTTP/1.1 {status.value} {PHRASES[status]}\r\n'.encode()
        assert status_line(status) == line
    assert status_line(404) is status_line(404)


def test_an_unknown_status_has_an_empty_reason():
    assert status_line(299) == b'HTTP/1.1 299 \r\n'
    assert status_line(599) == b'HTTP/1.1 599 \r\n'


def test_a_reason_can_be_given():
    assert status_line(200, 'Fine') == b'HTTP/1.1 200 Fine\r\n'
    assert status_line(299, 'caf\xe9 \t') == b'HTTP/1.1 299 caf\xe9 \t\r\n'
    assert status_line(200, '') == b'HTTP/1.1 200 \r\n'


@pytest.mark.parametrize('status', [-1, 0, 1, 99, 600, 1000, True, 200.5, '200', None])
def test_a_status_is_between_100_and_599(status):
    for reason in (None, 'OK'):
        with pytest.raises(HeaderError, match='100 to 599'):
            status_line(status, reason)


@pytest.mark.parametrize('reason', ['a\r\nb', 'a\n', '\r', '\x00', '\x7f', '\u20ac'])
def test_a_reason_is_plain_text(reason):
    with pytest.raises(HeaderError, match='reason of status 200'):
        status_line(200, reason)


def test_fields_are_encoded_in_order():
    assert encode_fields([]) == b''
    assert encode_fields([('B', '1'), ('a-b', '\xe9\t2'), ('B', '')]) \
        == b'B: 1\r\na-b: \xe92\r\nB: \r\n'.replace(b'\xe92', b'\xe9\t2')
    assert encode_fields(Headers([('A', 'b')]).items()) == b'A: b\r\n'


@pytest.mark.parametrize(('name', 'value'), [
    ('', 'a'), ('a b', 'c'), ('a:', 'b'), ('a\r\nb', 'c'), ('\xe9', 'a'), ('a', 'b\r\nc: d'),
    ('a', 'b\n'), ('a', '\r'), ('a', 'b\x00c'), ('a', '\x0b'), ('a', '\u20ac')])
def test_what_may_not_be_sent_is_refused_when_it_is_written(name, value):
    # As often as it is tried: the cache of names holds none that was refused.
    for _ in range(2):
        with pytest.raises(HeaderError):
            encode_fields([('Good', 'one'), (name, value)])


@pytest.mark.parametrize('name', ['Transfer-Encoding', 'transfer-encoding', 'TRANSFER-ENCODING'])
def test_transfer_encoding_is_ours_alone(name):
    for value in ('chunked', 'identity', ''):
        with pytest.raises(HeaderError, match='Transfer-Encoding'):
            encode_fields([(name, value)])


def test_values_and_names_that_are_no_str_are_type_errors():
    for pair in [('a', b'b'), (b'a', 'b'), ('a', 1), ('a', None)]:
        with pytest.raises(TypeError):
            encode_fields([pair])


def test_chunks_are_framed():
    assert chunk(b'hello') == b'5\r\nhello\r\n'
    assert chunk(b'a' * 26) == b'1a\r\n' + b'a' * 26 + b'\r\n'
    assert chunk(bytearray(b'hello')) == b'5\r\nhello\r\n'
    assert chunk(memoryview(b'hello')) == b'5\r\nhello\r\n'
    assert chunk(b'') == b''


def test_what_is_framed_is_what_the_parser_reads():
    parser = RequestParser(Limits())
    parser.feed(b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
                + chunk(b'hello') + chunk(b'') + chunk(b'\r\n') + b'0\r\n\r\n')
    events = [parser.next_event() for _ in range(4)]
    assert events[1:] == [b'hello\r\n', ([],), None]


def test_dates_have_the_form_of_http():
    assert http_date(784111777) == 'Sun, 06 Nov 1994 08:49:37 GMT'
    assert http_date(784111777.9) == 'Sun, 06 Nov 1994 08:49:37 GMT'
    assert http_date(0) == 'Thu, 01 Jan 1970 00:00:00 GMT'


def test_continue_is_a_whole_head():
    assert status_line(100) + b'\r\n' == CONTINUE


@pytest.mark.parametrize('timestamp', [0, 1, 59.999, 951782399, 951782400, 2 ** 31, -1, -2.5, 1e10])
def test_a_date_is_written_as_the_standard_library_writes_it(timestamp):
    written = http_date(timestamp)
    assert written == formatdate(timestamp, usegmt=True)
    assert is_http_date(written)


@pytest.mark.parametrize('text', [
    '', 'Sun, 06 Nov 1994 08:49:37', 'Mon, 06 Nov 1994 08:49:37 GMT',
    'Sun, 6 Nov 1994 08:49:37 GMT', 'Sun, 06 nov 1994 08:49:37 GMT',
    'Sun, 31 Feb 1994 08:49:37 GMT', 'Sun, 06 Nov 1994 24:49:37 GMT',
    'Sun, 06 Nov 0000 08:49:37 GMT', 'Sun, 06 Nov 1994 08:49:37 GMT\n'])
def test_other_texts_are_no_dates_of_http(text):
    assert not is_http_date(text)

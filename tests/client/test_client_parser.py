"""The parser of answers: the same events however the bytes are cut, and each fault is told."""

from __future__ import annotations

import os
import random

import pytest
from each_case import for_each

from tremolo.client.parser import AnswerHead, AnswerParser, EndOfAnswer
from tremolo.exceptions import AnswerError

ROUNDS = int(os.environ.get('CLIENT_ROUNDS', '300'))

OK = b'HTTP/1.1 200 OK\r\n'
CHUNKED = OK + b'Transfer-Encoding: chunked\r\n\r\n'

# The method, the bytes of one answer, its body, and whether the connection goes on.
GOOD = [
    ('GET', OK + b'Content-Length: 5\r\n\r\nhello', b'hello', True),
    ('GET', OK + b'Content-Length: 0\r\n\r\n', b'', True),
    ('GET', OK + b'content-length:5\t\r\nX: \xfc\r\nEmpty:\r\n\r\nhello', b'hello', True),
    ('GET', OK + b'Content-Length: 5\r\nConnection: a, Close\r\n\r\nhello', b'hello', False),
    ('HEAD', OK + b'Content-Length: 5\r\n\r\n', b'', True),
    ('HEAD', CHUNKED, b'', True),
    ('GET', b'HTTP/1.1 204 \r\n\r\n', b'', True),
    ('GET', b'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', b'', True),
    ('GET', CHUNKED + b'0\r\n\r\n', b'', True),
    ('GET', CHUNKED + b'5;a="b"\r\nhello\r\n00A\r\n, my world\r\n0\r\n\r\n',
     b'hello, my world', True),
    ('GET', CHUNKED + b'1\r\na\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n', b'a', True),
    ('GET', b'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', b'a', False),
    ('GET', b'HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na', b'a', True),
    ('GET', b'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n'
     + OK + b'Content-Length: 1\r\n\r\na', b'a', True),
]
# What ends with the connection.
UNTIL_EOF = [
    (OK + b'\r\nhello', b'hello'),
    (OK + b'\r\n', b''),
    (b'HTTP/1.0 200 OK\r\n\r\nhello', b'hello'),
]
# What breaks HTTP, and a word of what is said of it.
BAD = [
    (b'HTTP/2 200 OK\r\n\r\n', 'status line'),
    (b'HTTP/1.1 200\r\n\r\n', 'status line'),
    (b'HTTP/1.1 099 Low\r\n\r\n', 'status line'),
    (b'HTTP/1.1 600 High\r\n\r\n', 'status line'),
    (b'HTTP/1.1 200 O\0K\r\n\r\n', 'status line'),
    (b' HTTP/1.1 200 OK\r\n\r\n', 'status line'),
    (OK + b'a b: c\r\n\r\n', 'malformed field'),
    (OK + b'a : c\r\n\r\n', 'malformed field'),
    (OK + b'a: b\r\n c\r\n\r\n', 'malformed field'),
    (OK + b'a: b\nc: d\r\n\r\n', 'malformed field'),
    (OK + b'a: b\rc\r\n\r\n', 'malformed field'),
    (OK + b': b\r\n\r\n', 'malformed field'),
    (OK + b'Content-Length: +1\r\n\r\na', 'Content-Length'),
    (OK + b'Content-Length: 1, 1\r\n\r\na', 'Content-Length'),
    (OK + b'Content-Length: 1\r\nContent-Length: 1\r\n\r\na', 'Content-Length'),
    (OK + b'Content-Length: \r\n\r\na', 'Content-Length'),
    (OK + b'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'Transfer-Encoding'),
    (OK + b'Transfer-Encoding: gzip, chunked\r\n\r\n', 'Transfer-Encoding'),
    (OK + b'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n', 'Transfer-Encoding'),
    (b'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'Transfer-Encoding'),
    (b'HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n', 'no body'),
    (b'HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n', 'no body'),
    (b'HTTP/1.1 103 Early\r\nContent-Length: 1\r\n\r\n', 'no body'),
    (CHUNKED + b'x\r\n', 'size of a chunk'),
    (CHUNKED + b'-1\r\n', 'size of a chunk'),
    (CHUNKED + b'0x1\r\na\r\n', 'size of a chunk'),
    (CHUNKED + b' 1\r\na\r\n', 'size of a chunk'),
    (CHUNKED + b'11111111111111111\r\n', 'size of a chunk'),
    (CHUNKED + b'1\r\nab\r\n', 'longer than its size'),
    (CHUNKED + b'1\r\na\n\n0\r\n\r\n', 'longer than its size'),
    (CHUNKED + b'0\r\nbad\r\n\r\n', 'malformed field'),
    (OK + b'Content-Length: 1\r\n\r\nab', 'belong to no answer'),
    (CHUNKED + b'0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 'belong to no answer'),
]


def outcome(method: str, pieces: list[bytes], eof: bool = False) -> tuple[list, bytes, list, bool]:
    """Return heads, body, trailers, and whether the connection goes on."""
    parser = AnswerParser()
    parser.expect(method)
    heads, body, trailers = [], b'', None
    for piece in [*pieces, *[None] * eof]:
        parser.feed_eof() if piece is None else parser.feed(piece)
        while (event := parser.next_event()) is not None:
            if isinstance(event, AnswerHead):
                heads.append(event)
            elif isinstance(event, EndOfAnswer):
                assert trailers is None
                trailers = event.trailers
            else:
                assert event
                body += event
    return heads, body, trailers, parser.keep_alive


def cuts(data: bytes) -> list[list[bytes]]:
    return [[data], [data[place:place + 1] for place in range(len(data))],
            *([data[:place], data[place:]] for place in range(1, len(data)))]


@pytest.mark.parametrize('method, data, body, goes_on', GOOD)
def test_an_answer_is_the_same_however_it_is_cut(method, data, body, goes_on):
    first = outcome(method, [data])
    assert first[1:] == (body, first[2], goes_on)
    assert first[2] is not None
    for pieces in cuts(data):
        assert outcome(method, pieces) == first
    # At the end of the connection nothing changes but that it does not go on.
    assert outcome(method, [data], eof=True)[:3] == first[:3]


@pytest.mark.parametrize('data, body', UNTIL_EOF)
def test_an_answer_may_end_with_the_connection(data, body):
    for pieces in cuts(data):
        assert outcome('GET', pieces)[2] is None
        assert outcome('GET', pieces, eof=True)[1:] == (body, [], False)


@for_each('data, word', BAD)
def test_what_breaks_http_is_told_however_it_is_cut(data, word):
    said = set()
    for pieces in cuts(data):
        with pytest.raises(AnswerError, match=word) as raised:
            outcome('GET', pieces)
        said.add(str(raised.value))
    # (Of bytes too many it is told which, and that depends on the cut.)
    assert len(said) == 1 or 'longer than its size' in word or 'belong' in word


@pytest.mark.parametrize('method, data, body, goes_on', GOOD)
def test_an_answer_that_is_cut_off_is_told(method, data, body, goes_on):
    for place in range(len(data)):
        with pytest.raises(AnswerError, match='ended the connection'):
            outcome(method, [data[:place]], eof=True)


def test_what_is_missing_is_told():
    with pytest.raises(AnswerError, match='3 bytes of its body came, 7 are missing'):
        outcome('GET', [OK + b'Content-Length: 10\r\n\r\nabc'], eof=True)
    with pytest.raises(AnswerError, match=r'without an answer$'):
        outcome('GET', [], eof=True)
    with pytest.raises(AnswerError, match=r"without an answer: only b'HTTP/1.1 2' came"):
        outcome('GET', [b'HTTP/1.1 2'], eof=True)


def test_trailers_and_hints_have_their_fields():
    heads, _, trailers, _ = outcome('GET', [
        b'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' + CHUNKED + b'0\r\nX-A: 1\r\n\r\n'])
    assert heads[0] == AnswerHead(103, 'Early Hints', [(b'link', b'</a>')])
    assert trailers == [(b'x-a', b'1')]


def test_a_head_and_a_line_have_a_bound():
    with pytest.raises(AnswerError, match='the head of an answer exceeds'):
        outcome('GET', [OK + b'a: ' + b'b' * (1 << 20)])
    with pytest.raises(AnswerError, match='the size of a chunk of an answer exceeds'):
        outcome('GET', [CHUNKED + b'1;' + b'b' * (1 << 20)])


def test_after_a_101_the_bytes_are_those_of_another_protocol():
    parser = AnswerParser()
    parser.expect('GET')
    parser.feed(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nmore')
    assert parser.next_event().status == 101
    assert parser.next_event() is None
    assert (parser.rest(), parser.keep_alive) == (b'more', False)


def test_bytes_before_a_request_are_told():
    parser = AnswerParser()
    parser.feed(b'HTTP/1.1 408 Timeout\r\n\r\n')
    with pytest.raises(AnswerError, match='belong to no answer'):
        parser.expect('GET')


def test_mutated_answers_are_read_or_told_and_never_depend_on_the_cut():
    chance = random.Random(7)
    seeds = [data for _, data, _, _ in GOOD] + [data for data, _ in BAD]
    for _ in range(ROUNDS):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data) + 1)
            data[place:place + chance.randint(0, 2)] = chance.choice(
                [b'', b'\r', b'\n', b'\r\n', b'\0', b' ', b':', b'0', b'f', b'\xff', b'5\r\nhello'])
        seen = set()
        for pieces in ([bytes(data)], [bytes((each,)) for each in data]):
            try:
                heads, body, trailers, goes_on = outcome('GET', pieces, eof=True)
                seen.add(('good', tuple(map(str, heads)), body, str(trailers), goes_on))
            except AnswerError:
                seen.add('bad')
        assert len(seen) == 1, bytes(data)

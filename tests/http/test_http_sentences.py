"""What a refusal tells the client: a sentence that helps, and nothing of what the client sent."""

from __future__ import annotations

import ast
import copy
import gc
import pickle
import sys
from pathlib import Path

import pytest
from http_cases import CASES, HOST, chunked, get, post

import tremolo.http
from tremolo.http import Headers, Limits, ProtocolError, RequestParser

ROOM = Path(tremolo.http.__file__).parent
# What a sentence may put in: limits, and a name that the code itself has looked up or chosen.
OURS = {'_EACH', '_EMPTY_LINES', '_PADDING', '_PREAMBLE', '_SIZE_LINE', 'field_count', 'limits',
        'most', 'name', 'part', 'size'}


def refusal(data, limits=None):
    parser = RequestParser(limits or Limits())
    parser.feed(data)
    with pytest.raises(ProtocolError) as caught:
        while parser.next_event() is not None:
            pass
        parser.feed_eof()
    return caught.value


@pytest.mark.parametrize(('data', 'status', 'words'), [
    (b'GET / HTTP/1.1\r\nA: b\r\n\r\n', 400, 'Host field is missing'),
    (get(HOST), 400, 'host is there twice'),
    (b'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400, 'host is malformed'),
    (get(b'A : b\r\n'), 400, 'header field is malformed'),
    (get(b'A: b\nB: c\r\n'), 400, 'LF alone'),
    (b'GET /a b HTTP/1.1\r\n\r\n', 400, 'request line is malformed'),
    (get(target=b'a'), 400, 'target does not fit'),
    (get(version=b'2.0'), 505, 'HTTP version is not 1.0 or 1.1'),
    (b'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', 501, 'CONNECT is for proxies'),
    (post(b'Content-Length: x\r\n'), 400, 'Content-Length is no number'),
    (post(b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'), 400, 'both Content-Length and'),
    (post(b'Transfer-Encoding: gzip, chunked\r\n'), 501, 'coding is chunked'),
    (post(b'Expect: tea\r\n'), 417, 'expectation is 100-continue'),
    (get(b'A: ' + b'b' * 40_000 + b'\r\n'), 431, 'head exceeds 32768 bytes (head_size)'),
    (b'GET /' + b'a' * 40_000, 414, 'line exceeds 32768 bytes (head_size)'),
    (get(b'A:\r\n' * 200), 431, 'more than 128 fields (field_count)'),
    (chunked(b'x\r\n'), 400, 'chunk size line is malformed'),
    (chunked(b'1\r\nxyz'), 400, 'longer than its size'),
    (chunked(b'0\r\nHost: a\r\n\r\n'), 400, 'a trailer cannot say'),
    (post(b'Content-Length: 9\r\n', b'x'), 400, 'the body ends too early'),
    (b'\r\n' * 9, 400, 'empty lines before a request'),
])
def test_the_sentence_says_what_is_wrong(data, status, words):
    error = refusal(data)
    assert error.status == status
    assert words in error.sentence
    assert error.reason.startswith(error.sentence)


def test_a_body_over_its_limit_names_the_limit():
    limits = Limits(body_size=1234)
    for data in (post(b'Content-Length: 98765\r\n'), chunked(b'ffff\r\n')):
        error = refusal(data, limits)
        assert error.sentence == 'the body exceeds 1234 bytes (body_size)'


def test_no_sentence_depends_on_what_arrived():
    """Whatever is refused: the sentences are few, although the bytes are many."""
    sentences = set()
    for case in CASES:
        parser = RequestParser(Limits())
        parser.feed(case.data)
        try:
            while parser.next_event() is not None:
                pass
        except ProtocolError as error:
            sentences.add(error.sentence)
            assert error.sentence.isascii()
            assert error.arrived not in error.sentence or not error.arrived
    assert 20 < len(sentences) < 45, sorted(sentences)


def test_the_code_puts_nothing_of_the_request_into_a_sentence():
    found = 0
    for path in ROOM.glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') in (
                    'FormError', 'ProtocolError'):
                found += 1
                names = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
                assert names - {'sentence'} <= OURS, (path.name, ast.dump(node.args[1]))
    assert found > 20


@pytest.mark.parametrize('again', [
    copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=['copied', 'pickled'])
def test_an_error_that_is_copied_says_the_same(again):
    error = again(ProtocolError(400, 'the host is malformed', "b'<a>'"))
    assert (error.status, error.sentence, error.arrived) == (400, 'the host is malformed', "b'<a>'")
    assert str(error) == "400: the host is malformed: b'<a>'"
    assert again(ProtocolError(408, 'late')).reason == 'late'


# -- what a head may hold -------------------------------------------------------------------------


@pytest.mark.skipif('PyPy' in sys.version, reason='frees nothing at once')
@pytest.mark.parametrize('also', [b'', b'Referer: /a\r\nContent-Type: a/b\r\n'])
def test_the_memory_of_the_largest_head_is_bounded(also):
    import tracemalloc
    line = Limits().head_size // Limits().field_count - 2
    count = Limits().field_count - 2 - also.count(b'\n')
    head = b'GET / HTTP/1.1\r\n' + HOST + also + b'\r\n'.join(
        (b'a%d: ' % number).ljust(line, b'b') for number in range(count))
    head += b'\r\n\r\n'
    assert Limits().head_size * 0.95 < len(head) <= Limits().head_size
    parser = RequestParser(Limits())
    gc.collect()
    # (The interpreter keeps the memory of pairs for the next ones: that is no memory of the head.)
    assert len([(number, number) for number in range(500)]) == 500
    tracemalloc.start()
    try:
        parser.feed(bytes(bytearray(head)))
        request = parser.next_event()
        sizes = [tracemalloc.get_traced_memory()[0]]
        assert len(request.fields) == Limits().field_count - 1
        sizes.append(tracemalloc.get_traced_memory()[0])
        headers = Headers.from_wire(request.fields)
        sizes.append(tracemalloc.get_traced_memory()[0])
        peak = tracemalloc.get_traced_memory()[1]
        assert len(headers) == Limits().field_count - 1
    finally:
        tracemalloc.stop()
    assert parser.buffered == 0
    for size, most in zip((*sizes, peak), (34_000, 60_000, 120_000, 120_000)):
        assert size < most, sizes


def test_a_head_that_arrives_in_bytes_is_refused_at_its_limit():
    parser = RequestParser(Limits())
    parser.feed(b'GET / HTTP/1.1\r\nA: ')
    with pytest.raises(ProtocolError) as caught:
        while parser.next_event() is None:
            parser.feed(b'b')
    assert caught.value.status == 431
    assert parser.buffered == 0

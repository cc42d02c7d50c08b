"""The rules that others' advisories teach, each as a test named after its number."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from http_cases import chunked, get, post
from http_runner import run

import tremolo.http
from tremolo.http import (
    HeaderError,
    Headers,
    Limits,
    ProtocolError,
    RequestParser,
    encode_fields,
    format_cookie,
    grammar,
    parse_cookies,
    status_line,
)

ROOM = Path(tremolo.http.__file__).parent
# Seconds for a megabyte on a slow and busy machine: a tenth of one is usual, and what is quadratic
# takes an hour.
PATIENCE = 10


def status(data, limits=None):
    """The status that refuses the data, however it arrives; None if it is fine."""
    limits = limits or Limits()
    whole = run([data], limits)
    assert run([data[at:at + 1] for at in range(len(data))], limits) == whole
    return whole[1] and whole[1][0]


def test_rule_01_content_length_is_ascii_digits_once():
    assert status(post(b'Content-Length: 5\r\n', b'hello')) is None
    for value in (b'+5', b'-5', b'5_0', b'0x5', b'', b'5,5', b'5, 5', b'\xd9\xa5', b'\xb2', b'5 5',
                  b'1' * 20, b'5\x0b', b'\x855'):
        assert status(post(b'Content-Length: ' + value + b'\r\n', b'hello')) == 400, value
    assert status(post(b'Content-Length: 5\r\n' * 2, b'hello')) == 400
    for octet in {*range(256)} - {*b'0123456789'}:
        if octet not in b' \t':
            assert status(post(b'Content-Length: 5%c\r\n' % octet, b'hello' * 20)) == 400, octet


def test_rule_02_transfer_encoding_is_one_chunked_and_never_beside_a_length():
    assert status(chunked(b'0\r\n\r\n')) is None
    for value, refused in [
            (b'gzip, chunked', 501), (b'gzip', 400), (b'chunked, chunked', 400), (b',chunked', 400),
            (b'xchunked', 400), (b'\x0bchunked', 400), (b'chunked\xa0', 400), (b'"chunked"', 400),
            (b'chunked, identity', 400), (b'identity', 400), (b'', 400)]:
        line = b'Transfer-Encoding: ' + value + b'\r\n'
        assert status(post(line, b'0\r\n\r\n')) == refused, value
    line = b'Transfer-Encoding: chunked\r\n'
    assert status(post(line * 2, b'0\r\n\r\n')) == 400
    assert status(get(line, version=b'1.0') + b'0\r\n\r\n') == 400
    assert status(post(line + b'Content-Length: 5\r\n', b'0\r\n\r\n')) == 400
    assert status(post(b'Content-Length: 0\r\n' + line, b'0\r\n\r\n')) == 400


def test_rule_03_chunk_sizes_are_hex_digits_and_framing_is_bounded():
    for line in (b'0x5', b'+5', b'-5', b'5_', b'', b' 5', b'5 ', b'\xd9\xa5', b'0' * 16 + b'5',
                 b'5;a\nb', b'5;a\rb', b'5;a=\x00', b'5;a="\x0b"', b'5;'):
        assert status(chunked(line + b'\r\nhello\r\n0\r\n\r\n')) == 400, line
    for end in (b'', b'\n', b'\r', b'\n\r', b'xx', b'\r\r', b'\n\n', b'  '):
        assert status(chunked(b'5\r\nhello' + end + b'0\r\n\r\n')) == 400, end
        assert status(chunked(b'5' + end + b'hello\r\n0\r\n\r\n')) == 400, end
    tiny = b'1\r\nx\r\n' * 20_000
    assert status(chunked(tiny), Limits(chunk_overhead=9999)) == 400
    assert status(chunked(b'1;' + b'e' * 5000)) == 400
    assert status(chunked((b'1;' + b'e' * 4000 + b'\r\nx\r\n') * 20)) == 400


def test_rule_04_trailers_are_bounded_and_frame_nothing():
    end = b'5\r\nhello\r\n0\r\n'
    assert status(chunked(end + b'Sum: 1\r\n\r\n')) is None
    for name in (b'Content-Length', b'Transfer-Encoding', b'Host'):
        assert status(chunked(end + name + b': 1\r\n\r\n')) == 400, name
    for name in (b'Content-Type', b'Authorization', b'Cookie', b'Trailer', b'Connection', b'TE',
                 b'X-Forwarded-For', b'Origin', b'Content-MD5', b'If-Match'):
        events, error = run([chunked(end + name + b': 1\r\nSum: 1\r\n\r\n')], Limits())
        assert (events[-1], error) == (('end', ((b'sum', b'1'),)), None), name
    assert status(chunked(end + b'Sum: ' + b'1' * 9000 + b'\r\n\r\n')) == 431
    for name in (b'a', b'te'):
        assert status(chunked(end + (name + b':\r\n') * 129 + b'\r\n')) == 431
    assert status(chunked(end + b'Sum : 1\r\n\r\n')) == 400


@pytest.mark.parametrize('octets', [
    b'\n', b'\r', b'\x00', b'\r\n ', b'\r\n\t', b'\r\r\n', b'\n\r\n'])
def test_rule_05_bare_line_ends_nul_and_folding_are_refused_everywhere(octets):
    assert status(b'GET /' + octets + b' HTTP/1.1\r\nHost: a\r\n\r\n') == 400
    assert status(get(b'A: b' + octets + b'c: d\r\n')) == 400
    assert status(get(b'A' + octets + b': b\r\n')) == 400
    assert status(chunked(b'0\r\nA: b' + octets + b'c\r\n\r\n')) == 400


def test_rule_06_names_are_tokens_and_touch_their_colon():
    for line in (b'A : b', b'A\t: b', b': b', b' A: b', b'A', b'A\x0b: b', b'A\xa0: b', b'"A": b',
                 b'A(: b', b'A,: b', b'{A}: b', b'A/: b', b'A@: b', b'[A]: b'):
        assert status(get(line + b'\r\n')) == 400, line
        assert status(b'GET / HTTP/1.0\r\n' + line + b'\r\nB: c\r\n\r\n') == 400, line
    for octet in {*range(128, 256), *range(33), *b'"(),/;<=>?@[\\]{}', 127}:
        assert status(get(b'a%cb: c\r\n' % octet)) == 400, octet


def test_rule_07_one_valid_host_and_no_singleton_twice():
    assert status(b'GET / HTTP/1.1\r\n\r\n') == 400
    assert status(get(b'Host: other\r\n')) == 400
    for host in (b'a b', b'a,b c', b'a/b', b'a@b', b'a\\b', b'[::1', b'a:b', b'<a>', b'\xe9'):
        assert status(b'GET / HTTP/1.1\r\nHost: ' + host + b'\r\n\r\n') == 400, host
    for line in (b'Content-Type: a/b\r\n', b'Authorization: x\r\n', b'Content-Length: 0\r\n'):
        assert status(get(line)) is None
        assert status(get(line * 2)) == 400
    for name in (b'Referer', b'From', b'Date', b'If-Modified-Since', b'If-Unmodified-Since'):
        parser = RequestParser(Limits())
        parser.feed(get(b'%b: 1\r\nA: b\r\n%b: 2\r\n%b: 3\r\n' % (name, name.upper(), name)))
        assert parser.next_event().fields[1:] == [(name.lower(), b'1'), (b'a', b'b')]


def test_rule_08_the_version_and_the_form_of_the_target_are_exact():
    for version, refused in [(b'1.0', None), (b'1.1', None), (b'1.2', 505), (b'2.0', 505),
                             (b'0.9', 505), (b'1.11', 400), (b'1.', 400), (b'11', 400)]:
        assert status(get(version=version)) == refused, version
    assert status(b'GET / http/1.1\r\nHost: a\r\n\r\n') == 400
    for target in (b'*', b'a', b'a:80', b'/#a', b'/\x7f', b'/\xe9', b'ftp://a/', b'http://',
                   b'/ /'):
        assert status(get(target=target)) == 400, target
    assert status(b'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n') == 501
    assert status(b'CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n') == 400


def test_rule_09_only_space_and_tab_are_trimmed():
    parser = RequestParser(Limits())
    parser.feed(get(b'A: \t\xa0\x85b\x85\xa0 \t\r\n'))
    assert parser.next_event().fields[-1] == (b'a', b'\xa0\x85b\x85\xa0')
    for octet in b'\x0b\x0c\x1c\x1d\x1e\x1f':
        assert status(get(b'A: %cb\r\n' % octet)) == 400
    for octet in b'\x85\xa0':
        assert status(post(b'Content-Length: %c5\r\n' % octet, b'hello')) == 400


def test_rule_10_nothing_is_read_after_an_error():
    parser = RequestParser(Limits())
    parser.feed(b'GET\r\n\r\n' + get())
    with pytest.raises(ProtocolError):
        parser.next_event()
    parser.feed(get())
    assert parser.next_event() is None
    assert parser.buffered == 0


def test_rule_11_limits_hold_while_a_head_comes_in():
    def fed(piece, limits):
        parser = RequestParser(limits)
        for count in range(1, 10_000):
            parser.feed(piece)
            try:
                parser.next_event()
            except ProtocolError as error:
                return error.status, count * len(piece)
        raise AssertionError('never refused')

    limits = Limits(head_size=1000, trailer_size=1000)
    for size in (1, 7, 999):
        assert fed(b'A' * size, limits)[0] == 414
        assert fed(b'A' * size, limits)[1] < 1000 + size
    assert fed(b'A: b\r\n', limits)[0] == 431
    head = get()[:-2] + b'A: b\r\n' * 100
    assert status(head + b'A: b\r\n' * 10_000, limits) == 431
    parser = RequestParser(limits)
    parser.feed(chunked(b'0\r\n'))
    with pytest.raises(ProtocolError) as caught:
        for _ in range(1003):
            while parser.next_event() is not None:
                pass
            parser.feed(b'a')
    assert caught.value.status == 431


def test_rule_19_cookies_are_read_in_linear_time_and_checked_when_set():
    begun = time.process_time()
    parse_cookies('a="' + '\\' * 1_000_000)
    parse_cookies('=;' * 1_000_000)
    assert time.process_time() - begun < PATIENCE
    for value in ('a;b', 'a b', 'a\r\nb', 'a,b', '\xe9', 'a"b', '\\'):
        with pytest.raises(HeaderError):
            format_cookie('name', value)
    with pytest.raises(HeaderError):
        format_cookie('name; Domain=evil', 'a')
    with pytest.raises(HeaderError):
        format_cookie('name', 'a', path='/; Domain=evil')


def test_rule_20_answers_carry_no_controls_and_only_our_transfer_encoding():
    for text in ('a\r\nb: c', 'a\n', 'a\rb', 'a\x00b', '\x0ba'):
        with pytest.raises(HeaderError):
            encode_fields([('A', text)])
        with pytest.raises(HeaderError):
            encode_fields([(text, 'a')])
        with pytest.raises(HeaderError):
            Headers()['A'] = text
        with pytest.raises(HeaderError):
            status_line(200, text)
    with pytest.raises(HeaderError):
        encode_fields([('Transfer-Encoding', 'chunked')])


def test_rule_26_no_assert_decides_anything():
    for path in ROOM.rglob('*.py'):
        nodes = ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        assert not any(isinstance(node, ast.Assert) for node in nodes), path


def test_rule_26_what_is_refused_is_refused_under_optimisation_too():
    program = (
        'import tremolo.http as http\n'
        'parser = http.RequestParser(http.Limits())\n'
        f'parser.feed({post(b"Content-Length: 5, 5" + bytes([13, 10]))!r})\n'
        'try:\n'
        '    parser.next_event()\n'
        'except http.ProtocolError as error:\n'
        '    print(error.status)\n'
        'try:\n'
        '    http.Headers([("A", "b\\n")])\n'
        'except http.HeaderError as error:\n'
        '    print("refused")\n')
    done = subprocess.run(
        [sys.executable, '-O', '-c', program], capture_output=True, text=True, timeout=60,
        cwd=ROOM.parent.parent, check=False)
    assert (done.stdout.split(), done.stderr) == (['400', 'refused'], '')


def test_rule_27_no_expression_is_made_elsewhere_or_lazy():
    # Those of grammar.py are timed in test_http_grammar.py.
    for name in ('parser', 'head', 'body', 'fields', 'headers', 'cookies', 'response'):
        assert 're.compile' not in (ROOM / f'{name}.py').read_text(encoding='utf-8'), name
    patterns = [value for value in vars(grammar).values() if isinstance(value, re.Pattern)]
    for pattern in patterns:
        text = pattern.pattern
        if isinstance(text, bytes):
            text = text.decode('latin-1')
        assert re.search(r'[*+}]\?', text) is None, pattern


def test_rule_27_a_head_of_spaces_costs_no_more_than_its_size():
    begun = time.process_time()
    for fault in (b'\r\n\r\n', b'\n', b'\x00', b''):
        run([b'GET / HTTP/1.1\r\nA:' + b' ' * 1_000_000 + fault], Limits(head_size=10 ** 7))
    assert time.process_time() - begun < PATIENCE

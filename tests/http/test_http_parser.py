"""The request parser on every wire case, whole and in pieces, and what it promises beside them."""

from __future__ import annotations

import doctest
import gc
import random
import sys
from pathlib import Path

import pytest
from each_case import for_each
from http_cases import BROWSER, CASES, GET, HOST, chunked, get, post
from http_runner import is_whole, requests, run

import tremolo.http
from tremolo.http import (
    EndOfBody,
    Limits,
    ProtocolError,
    RequestHead,
    RequestParser,
    authority,
    grammar,
)
from tremolo.http import fields as lines_of_fields
from tremolo.http.head import request_lines as head_lines

# Above this a case is not split at each of its bytes, but at random.
SHORT = 400


def parse(data, limits=None):
    """The first event of the data."""
    parser = RequestParser(limits or Limits())
    parser.feed(data)
    return parser.next_event()


def cut(data, places):
    places = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in zip(places, places[1:])]


def check(case):
    """A case says the same whole, in any pieces, and with a request behind it."""
    data, limits = case.data, case.limits
    whole = run([data], limits)
    assert requests(*whole) == case.expected
    assert run(cut(data, range(1, len(data))), limits) == whole
    if len(data) <= SHORT:
        for at in range(1, len(data)):
            assert run(cut(data, [at]), limits) == whole, at
    rng = random.Random(case.name)
    for _ in range(20):
        places = [rng.randrange(len(data)) for _ in range(rng.randrange(1, 9))]
        assert run(cut(data, places), limits) == whole, places
    events, error = run([data + get()], limits)
    if whole[1] is not None:
        assert (events, error) == whole
    elif is_whole(data, limits):
        assert (events[:-1], error) == whole
        assert requests(events, error)[-1] == GET


@for_each('case', CASES, ids=lambda case: case.name)
def test_the_case(case):
    check(case)


def test_a_head_says_all_it_holds():
    head = parse(BROWSER)
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.minor) == ('GET', b'/products/list?page=2&sort=price', 1)
    assert head.authority == b'www.example.com'
    assert head.keep_alive
    assert (head.content_length, head.chunked, head.has_body) == (None, False, False)
    assert (head.expect_continue, head.upgrade) == (False, None)
    assert len(head.fields) == 12
    assert head.fields[0] == (b'host', b'www.example.com')
    assert head.fields[1] == (b'connection', b'keep-alive')
    assert head.fields is head.fields
    assert repr(head) == "<RequestHead GET b'/products/list?page=2&sort=price' HTTP/1.1>"


def test_values_are_trimmed_and_names_lowered_in_order():
    head = parse(get(b'B-B: \t x y\t \r\na:\r\nB-b:z\r\n'))
    assert head.fields[1:] == [(b'b-b', b'x y'), (b'a', b''), (b'b-b', b'z')]


def test_a_head_without_fields_has_no_headers():
    assert parse(b'GET / HTTP/1.0\r\n\r\n').fields == []


def test_the_host_of_the_target_wins():
    assert parse(get(target=b'http://Other.example:81/x')).authority == b'other.example:81'
    assert parse(get(target=b'/x')).authority == b'example.com'
    assert parse(b'GET http://a HTTP/1.0\r\n\r\n').authority == b'a'
    assert parse(b'GET / HTTP/1.0\r\n\r\n').authority is None
    assert parse(b'GET / HTTP/1.1\r\nHost:\r\n\r\n').authority == b''


@pytest.mark.parametrize(('fields', 'version', 'keep_alive'), [
    (b'', b'1.1', True),
    (b'', b'1.0', False),
    (b'Connection: keep-alive\r\n', b'1.0', True),
    (b'Connection: Keep-Alive\r\n', b'1.0', True),
    (b'Connection:keep-alive\r\n', b'1.0', True),
    (b'Connection: keep-alive\r\n', b'1.1', True),
    (b'Connection: close\r\n', b'1.1', False),
    (b'Connection: CLOSE\r\n', b'1.1', False),
    (b'Connection: a, close ,b\r\n', b'1.1', False),
    (b'Connection: a\r\nConnection: close\r\n', b'1.1', False),
    (b'Connection: close, keep-alive\r\n', b'1.0', False),
    (b'Connection: closed\r\n', b'1.1', True),
    (b'Connection: not-keep-alive\r\n', b'1.0', False),
    (b'Connection:\r\n', b'1.1', True),
    (b'Connection:\r\n', b'1.0', False),
])
def test_keep_alive_is_what_the_client_asks_for(fields, version, keep_alive):
    assert parse(get(fields, version=version)).keep_alive is keep_alive


@pytest.mark.parametrize(('fields', 'version', 'upgrade'), [
    (b'Connection: Upgrade\r\nUpgrade: WebSocket\r\n', b'1.1', b'websocket'),
    (b'Upgrade: \twebsocket \r\nConnection: keep-alive, upgrade\r\n', b'1.1', b'websocket'),
    (b'Upgrade: a\r\nUpgrade: b\r\nConnection: upgrade\r\n', b'1.1', b'a, b'),
    (b'Upgrade: websocket\r\n', b'1.1', None),
    (b'Connection: upgrade\r\n', b'1.1', None),
    (b'Connection: keep-alive\r\nUpgrade: websocket\r\n', b'1.1', None),
    (b'Connection: upgrade\r\nUpgrade: websocket\r\n', b'1.0', None),
])
def test_upgrade_needs_both_fields_and_version_1_1(fields, version, upgrade):
    assert parse(get(fields, version=version)).upgrade == upgrade


def test_only_1_1_can_expect_to_continue():
    assert parse(post(b'Expect: 100-continue\r\nContent-Length: 1\r\n')).expect_continue
    assert not parse(get(b'Expect: 100-continue\r\n', version=b'1.0')).expect_continue


def test_a_request_is_whole_without_a_body():
    parser = RequestParser(Limits())
    parser.feed(get() + post(b'Content-Length: 0\r\n'))
    first, second = parser.next_event(), parser.next_event()
    assert not first.has_body
    assert not second.has_body
    assert second.content_length == 0
    assert parser.next_event() is None


def test_requests_are_parsed_when_they_are_asked_for():
    parser = RequestParser(Limits())
    parser.feed(get() + b'bad\r\n\r\n')
    assert isinstance(parser.next_event(), RequestHead)
    assert parser.buffered == len(b'bad\r\n\r\n')
    with pytest.raises(ProtocolError):
        parser.next_event()


def test_a_body_that_is_all_there_is_is_not_copied():
    parser = RequestParser(Limits())
    parser.feed(post(b'Content-Length: 2000\r\n'))
    assert parser.next_event().content_length == 2000
    for _ in range(2):
        piece = bytes(1000)
        parser.feed(piece)
        event = parser.next_event()
        assert event == piece
        # PyPy copies also a slice of the whole.
        assert event is piece or sys.implementation.name == 'pypy'
    assert parser.next_event() == EndOfBody([])


def test_pieces_of_a_body_come_as_they_arrive():
    parser = RequestParser(Limits())
    parser.feed(chunked(b'A\r\n01'))
    assert parser.next_event().chunked
    assert parser.next_event() == b'01'
    assert parser.next_event() is None
    parser.feed(b'23')
    assert parser.next_event() == b'23'
    parser.feed(b'456789\r\n0\r\nA: b\r\n')
    assert parser.next_event() == b'456789'
    assert parser.next_event() is None
    parser.feed(b'\r\n' + get())
    assert parser.next_event() == EndOfBody([(b'a', b'b')])
    assert isinstance(parser.next_event(), RequestHead)


def test_an_idle_parser_holds_nothing():
    parser = RequestParser(Limits())
    small = sys.getsizeof(parser) if hasattr(sys, 'getsizeof') and 'PyPy' not in sys.version else 0
    assert small < 150
    parser.feed(get() + post(b'Content-Length: 5\r\n', b'hello') + chunked(b'0\r\n\r\n'))
    while parser.next_event() is not None:
        pass
    assert parser.idle
    assert parser.buffered == 0
    assert not hasattr(parser, '__dict__')
    assert not [held for held in gc.get_referents(parser) if isinstance(held, bytes) and held]


def test_idle_and_buffered_tell_where_the_parser_is():
    parser = RequestParser(Limits())

    def where():
        assert parser.next_event() is None
        return parser.idle, parser.buffered

    assert where() == (True, 0)
    parser.feed(b'\r')
    assert where() == (False, 1)
    parser.feed(b'\n')
    assert where() == (True, 0)
    parser.feed(b'G')
    assert where() == (False, 1)
    parser.feed(post(b'Content-Length: 1\r\n')[1:].replace(b'OST', b'ET'))
    assert parser.next_event().method == 'GET'
    assert where() == (False, 0)
    parser.feed(b'xG')
    assert parser.next_event() == b'x'
    assert parser.next_event() == EndOfBody([])
    assert where() == (False, 1)


def test_the_end_of_input_between_messages_is_fine():
    parser = RequestParser(Limits())
    parser.feed_eof()
    parser.feed(b'\r\n' + get() + b'\r\n')
    assert parser.next_event().method == 'GET'
    assert parser.next_event() is None
    parser.feed_eof()
    assert parser.idle


def test_a_whole_request_that_waits_is_not_cut_by_the_end_of_input():
    parser = RequestParser(Limits())
    parser.feed(get())
    parser.feed_eof()
    assert parser.next_event().method == 'GET'


@pytest.mark.parametrize('data', [
    b'\r', b'G', get()[:-1], post(b'Content-Length: 5\r\n'),
    post(b'Content-Length: 5\r\n', b'hell'), chunked(b''), chunked(b'5'), chunked(b'5\r\nhello'),
    chunked(b'5\r\nhello\r\n'),
    chunked(b'0\r\n'), chunked(b'0\r\n\r'), chunked(b'0\r\nA: b\r\n')])
def test_the_end_of_input_within_a_message_is_refused(data):
    parser = RequestParser(Limits())
    parser.feed(data)
    while parser.next_event() is not None:
        pass
    with pytest.raises(ProtocolError) as caught:
        parser.feed_eof()
    assert caught.value.status == 400
    assert parser.next_event() is None
    parser.feed_eof()


def test_a_parser_that_refused_is_silent_and_holds_nothing():
    parser = RequestParser(Limits())
    parser.feed(b'bad\r\n\r\n' + get())
    with pytest.raises(ProtocolError):
        parser.next_event()
    for data in (get(), get()):
        parser.feed(data)
        assert parser.next_event() is None
    assert parser.buffered == 0
    assert parser.rest() == b''
    assert not parser.idle
    parser.feed_eof()


def test_rest_takes_out_what_was_not_parsed():
    parser = RequestParser(Limits())
    parser.feed(get(b'Connection: upgrade\r\nUpgrade: x\r\n') + b'\x00\x01')
    assert parser.next_event().upgrade == b'x'
    assert parser.rest() == b'\x00\x01'
    assert parser.rest() == b''
    assert parser.idle


def test_a_reason_shows_little_of_what_arrived():
    for data in (b'\xff' * 9000 + b'\r\n\r\n', get(b'A' * 9000 + b' : b\r\n'),
                 get(b'Transfer-Encoding: ' + b'"' * 9000 + b'\r\n'),
                 get(b'Host: ' + b'"' * 9000 + b'\r\n')[26:]):
        with pytest.raises(ProtocolError) as caught:
            parse(b'GET / HTTP/1.1\r\n' + data if data.startswith(b'Host') else data)
        assert len(caught.value.reason) < 120
        assert caught.value.reason.isascii()
        assert str(caught.value) == f'400: {caught.value.reason}'


def test_a_limit_is_named_with_its_value():
    for data, limits, words in [
            (b'G' * 99, Limits(head_size=50), ['50', 'head_size']),
            (get(), Limits(head_size=30), ['30', 'head_size']),
            (get(), Limits(field_count=0), ['0', 'field_count']),
            (post(b'Content-Length: 9\r\n'), Limits(body_size=5), ['9', '5', 'body_size'])]:
        with pytest.raises(ProtocolError) as caught:
            parse(data, limits)
        assert all(word in caught.value.reason for word in words)


def test_no_cycle_is_left_by_requests_or_errors():
    gc.collect()
    gc.disable()
    try:
        for data in (get(), chunked(b'5\r\nhello\r\n0\r\nA: b\r\n\r\n'), b'bad\r\n\r\n', b'\x00',
                     chunked(b'x\r\n'), get(b'Host: a\r\n')) * 10:
            run([data], Limits())
        found = gc.collect()
    finally:
        gc.enable()
    if 'PyPy' not in sys.version:
        assert found == 0


def test_a_successor_is_read_after_each_good_message():
    events, error = run([(get() + chunked(b'1\r\nx\r\n0\r\n\r\n')) * 50], Limits())
    assert requests(events, error) == [GET, ('POST', b'/', b'x')] * 50


def test_the_session_in_the_readme_is_true():
    readme = Path(tremolo.http.__file__).with_name('README.md')
    failed, tried = doctest.testfile(str(readme), module_relative=False)
    assert tried > 5
    assert failed == 0


# -- fields that are remembered -------------------------------------------------------------------


def forget_lines():
    lines_of_fields._lines.clear()


def fields_of(*lines):
    block = b''.join(b'%b\r\n' % line for line in lines)
    head = parse(get(block), Limits(head_size=100_000, field_count=10_000))
    return head.fields[1:]


@pytest.mark.parametrize('line', [
    b'Accept: b', b'accept:b', b'Accept: \t b \t', b'Accept:', b'Accept: b: c', b'X-A: b'])
def test_a_field_that_was_seen_before_is_the_same(line):
    forget_lines()
    name, _, value = line.partition(b':')
    for _ in range(3):
        assert fields_of(line, line) == [(name.lower(), value.strip(b' \t'))] * 2


def test_few_fields_are_remembered_and_no_long_ones():
    forget_lines()
    lines = [b'Accept: %d' % number for number in range(3000)]
    for _ in range(2):
        assert fields_of(*lines) == [(b'accept', b'%d' % number) for number in range(3000)]
        assert 0 < len(lines_of_fields._lines) <= 1024
    fields_of(b'Accept: ' + b'a' * 300)
    assert all(len(line) <= 256 for line in lines_of_fields._lines)


def test_fields_that_were_remembered_too_often_are_forgotten_all_the_same():
    # Two threads may both find one place left, and then the bound is passed.
    forget_lines()
    lines_of_fields._lines.update({b'%d' % number: (b'', b'') for number in range(1030)})
    assert fields_of(b'Accept: a') == [(b'accept', b'a')]
    assert set(lines_of_fields._lines) == {HOST.strip(), b'Accept: a'}


def test_what_may_be_secret_is_not_remembered():
    forget_lines()
    secrets = [
        b'Cookie: a=b', b'COOKIE: b=c', b'Authorization: Bearer 1', b'Proxy-Authorization: 1',
        b'X-API-Key: 1', b'X-Auth-Token: 1', b'X-CSRF-Token: 1', b'X-Own: 1',
        b'Referer: http://a/?token=1', b'X-Forwarded-For: ::1', b'Sec-WebSocket-Key: 1']
    assert [name for name, _ in fields_of(*secrets, b'Accept: b')][:2] == [b'cookie', b'cookie']
    assert set(lines_of_fields._lines) == {HOST.strip(), b'Accept: b'}


@pytest.mark.parametrize('name', sorted(grammar.RULING))
def test_a_field_that_decides_is_noticed_each_time(name):
    """What it decides is another test's matter: here two of it are not taken for one."""
    written = name, name.title(), name.upper()
    for first in written:
        for second in written:
            lines = b'%b: 1\r\nAccept: */*\r\n%b: 1\r\n' % (first, second)
            for _ in range(3):
                parser = RequestParser(Limits())
                parser.feed(get(lines))
                try:
                    head = parser.next_event()
                except ProtocolError as error:
                    assert error.status == (417 if name == b'expect' else 400)
                else:
                    # A list, or one of which the first line counts.
                    assert name in grammar.LISTS or [
                        each for each, _ in head.fields].count(name) == 1


@for_each('case', CASES, ids=lambda case: case.name)
def test_what_was_seen_before_is_understood_as_what_is_new(case):
    """All that is remembered is forgotten, or known from the same bytes: with the same events."""
    found = [run([case.data], case.limits) for _ in range(3)]
    forget_lines()
    authority.hosts.clear()
    head_lines.clear()
    assert found == [run([case.data], case.limits)] * 3


def test_what_is_remembered_hides_no_fault_behind_it():
    """The order of faults is that of heads whose lines are all new."""
    good = b'Host: a\r\nAccept: */*\r\nConnection: close\r\n'
    for bad, status in ((b'A : b', 400), (b'A: \x00', 400), (b'A', 400), (b'Host', 400),
                        (b'Accept', 400), (b'X: y', None), (b' Accept: */*', 400),
                        (b'Accept: */*\n', 400), (b'Accept: */*\r', 400)):
        for fields in (good + bad + b'\r\n', bad + b'\r\n' + good):
            head = b'GET / HTTP/1.1\r\n' + fields + b'\r\n'
            results = [run([head], Limits()), run([head], Limits())]
            forget_lines()
            results.append(run([head], Limits()))
            assert results[0] == results[1] == results[2]
            assert (results[0][1] or [None])[0] == status, bad


def test_the_error_of_a_bad_head_has_no_other_behind_it():
    for data in (b'bad\r\n\r\n', get(b'A : b\r\n'), b'GET / HTTP/3.0\r\n\r\n', get(b'a\r\n')):
        with pytest.raises(ProtocolError) as caught:
            parse(data)
        assert caught.value.__context__ is caught.value.__cause__ is None


# -- request lines that are remembered ------------------------------------------------------------


def ask(line):
    return parse(line + b'\r\nHost: a\r\n\r\n')


def test_few_request_lines_are_remembered_and_none_with_a_query():
    head_lines.clear()
    for number in range(1000):
        head = ask(b'GET /%d HTTP/1.1' % number)
        assert (head.method, head.target, head.minor) == ('GET', b'/%d' % number, 1)
        assert 0 < len(head_lines) <= 256
    head_lines.clear()
    for target in (b'/?a=b', b'/' + b'a' * 64, b'http://a/', b'*'):
        assert ask((b'OPTIONS ' if target == b'*' else b'GET ') + target
                   + b' HTTP/1.1').target == target
    assert head_lines == {}
    for _ in range(2):
        assert ask(b'get / HTTP/1.0').method == 'get'
        assert ask(b'get / HTTP/1.0').minor == 0
    assert set(head_lines) == {b'get / HTTP/1.0'}
    head_lines.update({b'%d' % number: ('GET', b'/', 1, True) for number in range(300)})
    assert ask(b'GET /b HTTP/1.1').target == b'/b'
    assert set(head_lines) == {b'GET /b HTTP/1.1'}


# -- hosts that are remembered --------------------------------------------------------------------


def ask_host(host):
    return parse(b'GET / HTTP/1.1\r\nHost:' + host + b'\r\n\r\n').authority


def test_few_hosts_are_remembered_and_none_with_many_spaces():
    authority.hosts.clear()
    for number in range(1000):
        assert ask_host(b' h%d' % number) == b'h%d' % number
        assert 0 < len(authority.hosts) <= 256
    authority.hosts.update({b'%d' % number: b'' for number in range(300)})
    assert ask_host(b' other') == b'other'
    assert authority.hosts == {b'other': b'other'}
    assert ask_host(b' ' * 1000 + b'a') == b'a'
    assert authority.hosts == {b'other': b'other', b'a': b'a'}

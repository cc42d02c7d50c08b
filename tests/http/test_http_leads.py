"""Leads: a head that begins with the lines of the last one is read as if it were the first."""

from __future__ import annotations

import random

import pytest
from each_case import for_each
from http_cases import BROWSER, CASES, HOST, get, post
from http_reference import reference
from http_runner import facts, run
from test_http_differential import FIRST, LIMITS, LINES, mutated

from tremolo.http import Limits, ProtocolError, RequestParser, leads

LEAD = (b'Host: a\r\n', b'Accept: */*\r\n', b'User-Agent: u\r\n', b'Connection: keep-alive\r\n')


@pytest.fixture(autouse=True)
def no_leads():
    leads._leads.clear()


def taught(*heads, limits=Limits()):
    """A parser that has read these heads."""
    parser = RequestParser(limits)
    for head in heads:
        parser.feed(head)
        assert parser.next_event() is not None
    return parser


def fresh(head, limits=Limits()):
    """What a new parser says of a head."""
    events, error = run([head], limits)
    return events[0] if events else error


def read(parser, head):
    """What this parser says of a head."""
    parser.feed(head)
    try:
        return facts(parser.next_event())
    except ProtocolError as error:
        return error.status, error.reason


# -- what is learnt -------------------------------------------------------------------------------


def test_the_second_head_of_a_connection_teaches_and_the_first_does_not():
    head = get(b'Accept: */*\r\nCookie: a=1\r\nAccept-Language: en\r\n')
    taught(head)
    assert not leads._leads
    parser = taught(head, head)
    assert set(leads._leads) == {HOST + b'Accept: */*\r\n'}
    assert parser.lead is leads._leads[HOST + b'Accept: */*\r\n']


def test_connections_share_their_leads():
    head = get(b'Accept: */*\r\n')
    assert taught(head, head).lead is taught(head, head).lead


def test_a_head_that_begins_differently_makes_the_lead_shorter():
    heads = [get(b'User-Agent: u\r\nAccept: %b\r\nAccept-Encoding: br\r\n' % kind)
             for kind in (b'*/*', b'*/*;a', b'*/', b'')]
    parser = taught(heads[0], heads[0])
    assert parser.lead.text.endswith(b'br\r\n')
    for head in (*heads, *reversed(heads)):
        assert read(parser, head) == fresh(head)
        if head is not heads[0]:
            assert parser.lead.text == HOST + b'User-Agent: u\r\n'
    assert len(leads._leads) == 2


def test_a_connection_whose_heads_have_nothing_in_common_has_no_lead_for_good():
    head, other = (b'GET / HTTP/1.1\r\nHost: %d\r\n\r\n' % number for number in range(2))
    parser = taught(head, head, other)
    assert parser.lead is leads.NO_LINES
    assert [read(parser, each) for each in (head, head, other)] == [
        fresh(head), fresh(head), fresh(other)]
    assert parser.lead is leads.NO_LINES


@pytest.mark.parametrize('secret', [
    b'Cookie: a=b', b'Authorization: Bearer 1', b'Proxy-Authorization: 1', b'X-API-Key: 1',
    b'X-CSRF-Token: 1', b'X-Own: 1', b'Referer: http://a/?token=1', b'X-Forwarded-For: ::1',
    b'Content-Length: 0'])
def test_a_lead_ends_before_what_may_be_secret_or_changes(secret):
    head = get(b'Accept: */*\r\n' + secret + b'\r\nAccept-Encoding: gzip\r\n')
    taught(head, head, head)
    assert set(leads._leads) == {HOST + b'Accept: */*\r\n'}
    leads._leads.clear()
    head = b'GET / HTTP/1.1\r\n' + secret + b'\r\n' + HOST + b'\r\n'
    taught(head, head, head)
    assert not leads._leads


def test_there_are_few_leads_and_none_is_long():
    for number in range(600):
        head = get(b'User-Agent: %d\r\n' % number)
        taught(head, head)
        assert 0 < len(leads._leads) <= 256
    for value, lines in (b'', 32), (b'x' * 40, 19):
        head = get(b''.join(b'Accept: %d%b\r\n' % (number, value) for number in range(100, 170)))
        parser = taught(head, head, head)
        assert len(parser.lead.said[0]) == lines
        assert read(parser, head) == fresh(head)
    assert all(len(lead) <= 1024 for lead in leads._leads)


def test_leads_that_are_too_many_are_forgotten_all_the_same():
    # Two threads may both find one place left, and then the bound is passed.
    leads._leads.update({b'%d' % number: leads.NO_LINES for number in range(260)})
    head = get(b'Accept: */*\r\n')
    taught(head, head)
    assert set(leads._leads) == {HOST + b'Accept: */*\r\n'}


def test_what_a_caller_does_with_the_fields_of_a_head_is_not_learnt():
    head = get(b'Accept: */*\r\n')
    parser = taught(head, head)
    parser.feed(head)
    request = parser.next_event()
    request.fields.clear()
    assert read(parser, head) == fresh(head)


# -- what is read with it -------------------------------------------------------------------------


@pytest.mark.parametrize('lines', [
    b'', b'Cookie: a=b\r\n', b'Host: b\r\n', b'Connection: close\r\n', b'Connection: close, x\r\n',
    b'Content-Length: 5\r\n', b'Content-Length: 0\r\nContent-Length: 0\r\n', b'Expect: x\r\n',
    b'Transfer-Encoding: chunked\r\n', b'Transfer-Encoding: x, chunked\r\n', b'Upgrade: h2c\r\n',
    b'A : b\r\n', b' folded\r\n', b'A\r\n', b'A: \x00\r\n', b'A: b\n', b'A: b\rc\r\n',
    b'X: ' + b'y' * 5000 + b'\r\n', b'X: y\r\n' * 200, b'Referer: /\r\nReferer: /b\r\n'])
@for_each('first', FIRST)
def test_what_follows_a_lead_is_read_as_in_a_head_without_one(first, lines):
    for number in range(5):
        lead = b''.join(LEAD[:number])
        before = b'GET / HTTP/1.1\r\n' + (lead or HOST) + b'\r\n'
        for rest in (lines, lines[:-2], lines[:-1] + b'\r\n', b'\n' + lines):
            head = first + lead + rest + b'\r\n'
            limits = Limits(body_size=100)
            assert run([before, before, head], limits)[0][:2] == [fresh(before, limits)] * 2
            found, error = run([before, before, head], limits)
            assert (found[2:], error) == run([head], limits), head
            cut = len(first) + len(lead) // 2
            found, error = run([before, before, head[:cut], head[cut:]], limits)
            assert (found[2:], error) == run([head], limits), head


def test_requests_of_one_connection_are_read_as_the_reference_reads_them():
    rng = random.Random(20)
    kinds = set()
    for _ in range(4000):
        limits = rng.choice(LIMITS)
        first, lines = rng.choice(FIRST[:4]), rng.choices(LINES[1:25], k=rng.randrange(4))
        heads = []
        for _ in range(rng.randrange(2, 6)):
            more = rng.choices(LINES, k=rng.randrange(3))
            first = first if rng.random() < 0.7 else rng.choice(FIRST)
            heads.append(first + b'Host: a\r\n' + b''.join(lines + more) + b'\r\n')
        last = mutated(rng, heads[-1])
        data = b''.join([*heads[:-1], last])
        expected = reference(data, limits)
        events, error = run([data], limits)
        assert (events, error and error[0]) == expected, data
        # (Each head alone teaches the same.)
        assert run([*heads[:-1], last], limits) == (events, error), data
        at = rng.randrange(len(data) + 1)
        assert run([data[:at], data[at:]], limits) == (events, error), (data, at)
        kinds.add((error and error[0], len(events)))
    assert len(kinds) > 15


def test_every_case_is_read_the_same_behind_two_requests_of_a_browser():
    for case in CASES:
        alone = run([case.data], case.limits)
        for before in (BROWSER, get()):
            events, error = run([before, before, case.data], case.limits)
            if error is None or len(events) > 1:    # (Else the limits are too small for these.)
                assert (events[2:], error) == alone, case.name


def test_bytes_of_a_body_that_look_like_a_lead_are_never_read_as_one():
    # A head that has not come whole stands behind a body that is a head but for its first byte.
    head = b'GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n'
    lead = b'Host: a\r\nAccept: */*\r\n'
    for body in (b'x' + lead + b'\r\n', lead + b'\r\n', b'\r' + lead + b'\r\n\r\n'):
        for rest in (b'GET / HTTP/1.1', b'G', b'GET / HTTP/1.1\r'):
            parser = taught(head, head)
            parser.feed(post(b'Content-Length: %d\r\n' % len(body)).replace(HOST, lead))
            assert parser.next_event().content_length == len(body)
            parser.feed(body + rest)
            assert parser.next_event() == body
            assert parser.next_event() is not None
            assert parser.next_event() is None, (body, rest)
            assert parser.buffered == len(rest)


def test_the_fields_of_a_lead_count_as_others_do():
    limits = Limits(field_count=5)
    four = b'GET / HTTP/1.1\r\n' + b''.join(LEAD)
    parser = taught(four + b'\r\n', four + b'\r\n', four + b'A: b\r\n\r\n', limits=limits)
    assert read(parser, four + b'A: b\r\nC: d\r\n\r\n')[0] == 431


@pytest.mark.parametrize('line', [
    b'GET / HTTP/1.1', b'GET /new HTTP/1.1', b'GET /a?b=c HTTP/1.1', b'POST / HTTP/1.0',
    b'OPTIONS * HTTP/1.1', b'GET http://b/ HTTP/1.1', b'GET /' + b'a' * 120 + b' HTTP/1.1',
    b'', b'GET', b'GET / HTTP/2.0', b'GET /\x00 HTTP/1.1', b'GET / HTTP/1.1\n', b'GET / HTTP/1.1\r',
    b'\nGET / HTTP/1.1', b'\rGET / HTTP/1.1', b'\r\nGET / HTTP/1.1', b'\r\n\r\nGET / HTTP/1.1',
    b'GET / HTTP/1.1\r\nA: b', b'GET / HTTP/1.1\r\n', b'GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1',
    b'GET / HTTP/1.1\nA: b',
    b'GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1'])
def test_a_head_of_known_lines_alone_is_read_as_a_new_one(line):
    """What stands before them may be anything: only one whole line is the request line."""
    lines = b'\r\n' + b''.join(LEAD)
    known = b'GET / HTTP/1.1' + lines + b'\r\n'
    head = line + lines + b'\r\n'
    for size in (len(known), len(known) + 1, len(head) - 1, len(head), len(head) + 1, 4096):
        limits = Limits(head_size=max(size, len(known)))
        for data in (head, head * 3, head + known, known + head, head[:-1], head[:-2] + b'\r'):
            found, error = run([known, known, data], limits)
            assert (found[2:], error) == run([data], limits), (size, data)
            for cut in (len(data) - len(lines), len(data) - 3, len(data) // 2):
                found, error = run([known, known, data[:cut], data[cut:]], limits)
                assert (found[2:], error) == run([data], limits), (size, data, cut)


def test_the_end_of_a_body_is_no_beginning_of_known_lines():
    """The lines that are known stood half in a body before: a good request was refused with 431."""
    lead = b'User-Agent: GET / HTTP/1.1\r\nHost: a\r\n'
    head = b'GET / HTTP/1.1\r\n' + lead + b'\r\n'
    body = b'\r\nUser-Agent: '
    behind = b'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    data = b'POST / HTTP/1.1\r\n' + lead + b'Content-Length: %d\r\n\r\n' % len(body) + body + behind
    found, error = run([head, head, data], Limits())
    assert error is None and (found[2:], error) == run([data], Limits())
    assert found[-1] == fresh(behind)

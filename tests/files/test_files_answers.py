"""Which answer a file is: whole, a part, several parts, none; in each kind of handler."""

from __future__ import annotations

import email
import email.policy
import os

import pytest
from files_support import DATE, KINDS, LARGE, SMALL, application, etag, write
from server_support import request, serving
from websocket_peer import Closed, Peer, Refused

from tremolo import Tremolo, send_file
from tremolo.http import http_date

END = 'Connection: close'


@pytest.fixture
def host(folder):
    with serving(application(folder)) as running:
        yield running


def ask(host, target, *lines, method='GET'):
    """Ask once, and again on the same connection for what tells that it goes on."""
    client = host.connect(request(target, method, *lines))
    answer = client.take(method)
    client.send(request('/plain/small.txt', 'GET', END))
    assert client.take().body == SMALL
    assert client.sock.recv(1) == b''
    return answer


def without_steady(answer):
    return {name: value for name, value in answer.headers.items() if name not in ('date', 'server')}


def test_fault_5_a_part_is_as_long_as_it_says_on_the_first_use_of_a_path(host):
    answer = ask(host, '/plain/small.txt', 'Range: bytes=4-')
    assert (answer.status, answer.body) == (206, b'456789')
    assert answer.headers['content-length'] == '6'
    assert ask(host, '/plain/small.txt', 'Range: bytes=2-3').body == b'23'


def test_fault_6_a_file_that_is_replaced_is_the_new_one_on_a_kept_connection(folder, host):
    client = host.connect(request('/plain/small.txt'))
    assert client.take().body == SMALL
    write(folder / 'new', b'another')
    (folder / 'new').replace(folder / 'small.txt')
    client.send(request('/plain/small.txt'))
    assert client.take().body == b'another'
    (folder / 'small.txt').write_bytes(SMALL)
    client.send(request('/plain/small.txt'))
    assert client.take().body == SMALL


@pytest.mark.parametrize('method, lines, status', [
    ('HEAD', (), 200), ('GET', ('If-None-Match: *',), 304), ('HEAD', ('If-None-Match: *',), 304),
    ('GET', ('If-Match: "a"',), 412), ('GET', ('Range: bytes=99999999-',), 416)])
@pytest.mark.parametrize('name', ['small.txt', 'large.bin', 'empty.css'])
def test_fault_11_the_connection_goes_on_after_an_answer_without_a_body(
        host, name, method, lines, status):
    answer = ask(host, f'/plain/{name}', *lines, method=method)
    if name != 'empty.css' or status != 416:
        assert answer.status == status
    assert 'connection' not in answer.headers


def test_fault_18_a_range_that_is_too_long_is_cut_and_a_wrong_one_ignored(host):
    def asked(value, method='GET'):
        answer = ask(host, '/plain/small.txt', f'Range: {value}', method=method)
        return answer.status, answer.headers.get('content-range'), answer.body

    assert asked('bytes=5-99') == (206, 'bytes 5-9/10', b'56789')
    assert asked('bytes=-99') == (206, 'bytes 0-9/10', SMALL)
    assert asked('bytes=10-')[:2] == (416, 'bytes */10')
    assert asked('bytes=-0')[:2] == (416, 'bytes */10')
    for ignored in ('bytes=a-0', 'bytes=+1-+2', 'lines=1-2', 'bytes=5-0'):
        assert asked(ignored) == (200, None, SMALL)
    assert asked('bytes=1-2', 'POST') == (200, None, SMALL)
    answer = ask(host, '/plain/small.txt', 'Range: bytes=0-0')
    assert answer.headers['etag'] == etag(SMALL)
    assert answer.headers['last-modified'] == DATE
    assert ask(host, '/plain/small.txt', 'Range: bytes=-3,0-2', 'If-Modified-Since: '
               'Tue, 08 Nov 1994 00:00:00 GMT').status == 304


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name, data, kind_of', [
    ('small.txt', SMALL, 'text/plain; charset=utf-8'),
    ('large.bin', LARGE, 'application/octet-stream'),
    ('empty.css', b'', 'text/css; charset=utf-8')])
def test_each_kind_of_handler_sends_a_file(host, kind, name, data, kind_of):
    answer = ask(host, f'/{kind}/{name}')
    assert answer.body == data
    assert answer.status == 200
    expected = {
        'content-length': str(len(data)), 'content-type': kind_of, 'etag': etag(data),
        'last-modified': DATE, 'accept-ranges': 'bytes'}
    assert without_steady(answer) == expected
    answer = ask(host, f'/{kind}/{name}', method='HEAD')
    assert without_steady(answer) == expected
    answer = ask(host, f'/{kind}/{name}', f'If-None-Match: W/{etag(data)}')
    assert answer.status == 304
    assert without_steady(answer) == {
        'etag': etag(data), 'last-modified': DATE, 'accept-ranges': 'bytes'}
    assert ask(host, f'/{kind}/{name}', f'If-Unmodified-Since: {http_date(0)}').status == 412
    assert ask(host, f'/{kind}/missing').status == 404


@pytest.mark.parametrize('kind', KINDS)
def test_each_kind_of_handler_sends_parts_of_a_large_file(host, kind):
    answer = ask(host, f'/{kind}/large.bin', 'Range: bytes=1-300000', f'If-Range: {etag(LARGE)}')
    assert answer.status == 206
    assert answer.body == LARGE[1:300001]
    assert answer.headers['content-range'] == 'bytes 1-300000/700001'
    assert answer.headers['content-length'] == '300000'
    assert ask(host, f'/{kind}/large.bin', 'Range: bytes=5-', 'If-Range: "a"').body == LARGE
    assert ask(host, f'/{kind}/large.bin', 'Range: bytes=1-2', method='HEAD').status == 200


@pytest.mark.parametrize('ranges', [
    'bytes=0-1,5-5',
    'bytes=0-99999,200000-299999',          # long ones
    'bytes=0-99999,5-5,200000-299999,-1',   # long and short ones, the last is short
    'bytes=5-5,-400000,0-70000',            # the last is long
    'bytes=' + ','.join(f'{n * 40000}-{n * 40000 + 39999}' for n in range(16)),
    'bytes=0-65535,1-65536,600000-'])
def test_several_ranges_are_parts_of_one_answer(host, ranges):
    answer = ask(host, '/plain/large.bin', f'Range: {ranges}')
    assert answer.status == 206
    assert 'content-range' not in answer.headers
    kind = answer.headers['content-type']
    assert kind.startswith('multipart/byteranges; boundary=')
    message = email.message_from_bytes(
        f'Content-Type: {kind}\r\n\r\n'.encode() + answer.body, policy=email.policy.HTTP)
    boundary = kind.partition('=')[2].encode()
    parts = answer.body.split(b'\r\n--' + boundary)
    assert parts[0] == b'' and parts[-1] == b'--\r\n'
    assert len(message.get_payload()) == len(parts) - 2
    for asked, part in zip(ranges[6:].split(','), parts[1:-1]):
        first, last = asked.split('-')
        begin = int(first) if first else len(LARGE) - int(last)
        end = min(int(last), len(LARGE) - 1) if first and last else len(LARGE) - 1
        head, _, body = part.partition(b'\r\n\r\n')
        assert head.split(b'\r\n')[1:] == [
            b'Content-Type: application/octet-stream',
            b'Content-Range: bytes %d-%d/700001' % (begin, end)]
        assert body == LARGE[begin:end + 1]


def test_more_than_16_ranges_or_three_that_overlap_are_answered_whole(host):
    many = ','.join(f'{n}-{n}' for n in range(0, 34, 2))
    for ranges in (many, '0-,1-,2-', '0-5,5-6,6-7'):
        answer = ask(host, '/plain/large.bin', f'Range: bytes={ranges}')
        assert (answer.status, answer.body) == (200, LARGE)


@pytest.mark.parametrize('line', ['Range: bytes=0-0', 'Range: bytes=-1', 'Range: bytes=5-'])
def test_an_empty_file_is_whole(host, line):
    answer = ask(host, '/plain/empty.css', line)
    assert (answer.status, answer.body) == (200, b'')


def test_what_the_handler_has_set_stays(folder):
    app = Tremolo()

    @app.route('/page')
    def page(response, content_type='text/x-own'):
        response.headers.update({'Cache-Control': 'no-cache', 'ETag': '"own"', 'Vary': 'Cookie'})
        response.set_cookie('a', 'b')
        return send_file(folder / 'small.txt')

    @app.route('/typed')
    def typed():
        return send_file(folder / 'small.txt', content_type='text/x-given')

    @app.route('/lost')
    def lost(response):
        response.status = 404
        return send_file(folder / 'small.txt')

    @app.route('/nothing')
    def nothing(response):
        response.status = 204
        return send_file(folder / 'empty.css')

    with serving(app) as host:
        first, second, third = host.ask(
            request('/page') + request('/page', 'GET', 'Range: bytes=0-1,3-4')
            + request('/page', 'GET', 'If-None-Match: "own"', END))
        assert first.headers['content-type'] == 'text/x-own'
        assert first.headers['etag'] == '"own"'
        assert first.headers['set-cookie'] == 'a=b; Path=/'
        assert b'Content-Type: text/x-own\r\n' in second.body
        assert third.status == 304
        assert third.headers['cache-control'] == 'no-cache'
        assert third.headers['vary'] == 'Cookie'
        typed_answer, lost_answer, empty = host.ask(
            request('/typed') + request('/lost', 'GET', 'Range: bytes=0-1', 'If-None-Match: *')
            + request('/nothing', 'GET', END))
        assert typed_answer.headers['content-type'] == 'text/x-given'
        assert (lost_answer.status, lost_answer.body) == (404, SMALL)
        assert empty.status == 204


def test_the_time_of_a_file_is_never_in_the_future(folder):
    for when in (10**11, 2**40, -5, -10**10):
        write(folder / 'odd', SMALL)
        os.utime(folder / 'odd', (when, when))
        with serving(application(folder)) as host:
            answer = ask(host, '/plain/odd')
        told = answer.headers['last-modified']
        assert told in (http_date(0), answer.headers['date']) or told < answer.headers['date']


def test_a_client_of_http_1_0_gets_a_file(host):
    for name, data in (('small.txt', SMALL), ('large.bin', LARGE)):
        answer, = host.ask(request(f'/plain/{name}', version='1.0'))
        assert answer.body == data
        assert answer.headers['content-length'] == str(len(data))


def test_pipelined_requests_are_answered_in_order(host):
    asked = [('large.bin', LARGE), ('small.txt', SMALL), ('large.bin', LARGE), ('empty.css', b'')]
    wire = b''.join(request(f'/plain/{name}') for name, _ in asked)
    found = host.ask(wire + request('/waiting/large.bin', 'GET', END))
    assert [answer.body for answer in found] == [*(data for _, data in asked), LARGE]


def test_a_file_that_nobody_sends_is_closed(folder, logged):
    app = Tremolo()

    @app.route('/late')
    def late():
        yield b'x'
        return send_file(folder / 'large.bin')

    @app.route('/yielded')
    def yielded():
        yield send_file(folder / 'large.bin')

    @app.route('/sent')
    def sent(response):
        response.send(b'sent')
        return send_file(folder / 'large.bin')

    with serving(app) as host:
        assert [answer.status for answer in host.ask(
            request('/yielded') + request('/sent', 'GET', END))] == [500, 200]
        late_answer, = host.ask(request('/late', 'GET', END))
        assert late_answer.status == 500
    assert logged.count('failed on GET') == 3
    assert 'return it' in logged.text


def test_a_file_that_a_websocket_returns_is_closed(folder, logged):
    app = Tremolo()

    @app.route('/accepted')
    def accepted(websocket):
        yield websocket.accept()
        return send_file(folder / 'large.bin')

    @app.route('/refused')
    def refused(websocket):
        yield None
        return send_file(folder / 'large.bin')

    with serving(app) as host:
        peer = Peer(host.running.address[1], '/accepted')
        with pytest.raises(Closed, match='1011'):
            peer.receive()
        peer.abort()
        with pytest.raises(Refused, match='403'):
            Peer(host.running.address[1], '/refused')
    assert logged.count('returned FileAnswer') == 1


def test_an_error_of_the_answer_is_an_error_of_the_handler(folder, logged):
    app = Tremolo()

    @app.route('/')
    def index():
        return send_file(folder / 'large.bin', content_type='text/plain\n')

    with serving(app) as host:
        answer, = host.ask(request('/', 'GET', END))
        assert answer.status == 500
    assert logged.count('failed on GET') == 1

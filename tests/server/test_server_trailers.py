"""Trailers that a handler sends behind a body in chunks, and those of a request."""

from __future__ import annotations

import pytest
from server_support import request, serving, virtual
from test_server_answers import KINDS, handler

from tremolo import Tremolo
from tremolo.http import Headers

SUM = {'Content-Digest': 'sha-256=:YQ==:'}


def declare(response):
    response.headers['Trailer'] = 'Content-Digest, X-Count'
    return response.write(b'a')


def served(function, *lines, method='GET', version='1.1'):
    """Give what was sent for a request, whose connection is kept, as bytes."""
    app = Tremolo()
    app.route('/')(function)
    app.route('/next')(lambda: 'next')
    with serving(app, port=0) as host:
        data = request('/', method, *lines, version=version)
        if version == '1.1':
            data += request('/next', 'GET', 'Connection: close')
        return host.connect(data).read_all()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('fields', [SUM, list(SUM.items())])
def test_trailers_follow_the_last_chunk(kind, fields):
    sent = served(handler(kind, [declare, lambda r: r.end(b'b', fields)]))
    head, _, rest = sent.partition(b'\r\n\r\n')
    assert b'Trailer: Content-Digest, X-Count' in head
    assert rest.startswith(b'1\r\na\r\n1\r\nb\r\n0\r\nContent-Digest: sha-256=:YQ==:\r\n\r\n'
                           b'HTTP/1.1 200')


@pytest.mark.parametrize('kind', KINDS)
def test_an_answer_that_has_not_begun_is_sent_in_chunks(kind):
    def all_at_once(response):
        response.headers['Trailer'] = 'x-count'
        return response.end(b'abc', [('X-Count', '3'), ('x-count', '4')])

    sent = served(handler(kind, [all_at_once]))
    assert b'\r\n\r\n3\r\nabc\r\n0\r\nX-Count: 3\r\nx-count: 4\r\n\r\nHTTP/1.1 200' in sent


def test_what_was_yielded_goes_out_before():
    def generator(response):
        response.headers['Trailer'] = 'X-Count'
        yield b'ab'
        yield response.end(trailers={'X-Count': '2'})

    assert b'\r\n\r\n2\r\nab\r\n0\r\nX-Count: 2\r\n\r\nHTTP/1.1' in served(generator)


@pytest.mark.parametrize('kind', KINDS)
def test_who_cannot_take_them_gets_none(kind):
    function = handler(kind, [declare, lambda r: r.end(b'b', SUM)])
    assert served(function, version='1.0').endswith(b'\r\n\r\nab')
    head, _, rest = served(function, method='HEAD').partition(b'\r\n\r\n')
    assert b'Transfer-Encoding: chunked' in head and rest.startswith(b'HTTP/1.1 200 OK')


@pytest.mark.parametrize(('fields', 'why'), [
    ({'X-Other': '1'}, 'not declared'), ({'Content-Length': '1'}, 'cannot come as a trailer'),
    ({'Transfer-Encoding': 'chunked'}, 'set by the server'), ({'Host': 'a'}, 'cannot come'),
    ({'Content-Type': 'text/plain'}, 'cannot come'), ({'Set-Cookie': 'a=b'}, 'cannot come'),
    ({'Cache-Control': 'no-store'}, 'cannot come'), ({'Location': '/'}, 'cannot come'),
    ({'Trailer': 'a'}, 'cannot come'), ({'Connection': 'close'}, 'cannot come'),
    ({'X-Count': 'a\r\nb: c'}, 'control character'), ({'X-Count': ' 1'}, 'blank'),
    ({'x count': '1'}, 'malformed header name'), ({'X-Count': 1}, 'is str, not int')])
def test_what_may_be_no_trailer_is_told_before_anything_is_sent(fields, why, logged):
    def wrong(response):
        response.headers['Trailer'] = ', '.join(['X-Count', *SUM])
        if why != 'not declared':
            response.headers.add('Trailer', ', '.join(fields).replace(' ', '_'))
        response.end(b'a', fields)

    assert served(wrong).startswith(b'HTTP/1.1 500')
    assert why in logged.text


@pytest.mark.parametrize('spoilt', ['length', 'unframed'])
def test_without_chunks_there_are_no_trailers(spoilt, logged):
    def wrong(response):
        response.headers['Trailer'] = 'Content-Digest'
        if spoilt == 'length':
            response.headers['Content-Length'] = '1'
        else:
            response.chunked = False
        response.end(b'a', SUM)

    assert served(wrong).startswith(b'HTTP/1.1 500')
    assert 'trailers follow a body in chunks alone' in logged.text


def test_the_trailers_of_a_request_are_read_as_headers():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def read(request):
        before = Headers.from_wire(request.trailers)
        yield request.body()
        trailers = Headers.from_wire(request.trailers)
        yield f'{len(before)} {trailers["X-SUM"]} {trailers.get("host")}'

    with virtual(app) as host:
        client = host.connect(request('/', 'POST', 'Transfer-Encoding: chunked')
                              + b'1\r\na\r\n0\r\nX-Sum: 7\r\nCookie: a=b\r\n\r\n')
        assert client.take().body == b'0 7 None'

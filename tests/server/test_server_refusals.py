"""What the client of a refused request is told: why, in a sentence, and nothing of its request."""

from __future__ import annotations

import pytest
from server_support import answers, chunked, request, serving, virtual

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.exceptions import ProtocolError
from tremolo.server.lifetime import refusal

HOST = b'Host: a\r\n'
MARK = b'<mark>'    # It is never in an answer, escaped or not.


def get(fields: bytes = HOST, target: bytes = b'/', version: bytes = b'1.1') -> bytes:
    return b'GET %b HTTP/%b\r\n%b\r\n' % (target, version, fields)


REFUSALS = {
    'no host': (get(b''), 400, 'the Host field is missing'),
    'two hosts': (get(HOST * 2), 400, 'the field host is there twice'),
    'a bad host': (get(b'Host: ' + MARK + b'\r\n'), 400, 'the host is malformed'),
    'a bad field': (get(HOST + b'<mark>: b\r\n'), 400, 'a header field is malformed'),
    'a bad line': (MARK + b' mark\r\n\r\n', 400, 'the request line is malformed'),
    'a control': (get(HOST + b'A: \x01\r\n'), 400,
                  'a line holds a control character, or a CR or LF alone'),
    'a target': (get(target=b'mark:' + MARK), 400,
                 'the form of the request target does not fit the method'),
    'CONNECT': (b'CONNECT mark:80 HTTP/1.1\r\nHost: mark\r\n\r\n', 501,
                'the method CONNECT is for proxies, and this is none'),
    'a version': (get(version=b'2.0'), 505, 'the HTTP version is not 1.0 or 1.1'),
    'a length': (get(HOST + b'Content-Length: mark\r\n'), 400, 'Content-Length is no number'),
    'a large body': (get(HOST + b'Content-Length: 123456\r\n'), 413,
                     'the body exceeds 5000 bytes (body_size)'),
    'a coding': (get(HOST + b'Transfer-Encoding: mark, chunked\r\n'), 501,
                 'the only known transfer coding is chunked'),
    'an expectation': (get(HOST + b'Expect: <mark>\r\n'), 417,
                       'the only expectation is 100-continue'),
    'a large head': (get(HOST + b'Cookie: ' + b'mark' * 10_000 + b'\r\n'), 431,
                     'the request head exceeds 32768 bytes (head_size)'),
    'many fields': (get(HOST + b'mark: a\r\n' * 200), 431,
                    'the head has more than 128 fields (field_count)'),
    'a large line': (b'GET /' + b'mark' * 10_000, 414,
                     'the request line exceeds 32768 bytes (head_size)'),
    'a slow head': (b'GET /mark HTTP/1.1\r\n', 408, 'the head took too long (head_timeout)'),
}


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/read', methods=['POST'])
    def read(request):
        yield (yield request.body())

    return app


@pytest.mark.parametrize('kind', REFUSALS)
def test_a_refusal_says_its_reason_and_repeats_nothing(app, kind):
    data, status, sentence = REFUSALS[kind]
    with virtual(app, body_size=5000) as host:
        answer, = host.ask(data)
    assert answer.status == status
    assert answer.body.decode() == f'{status} {answer.reason}: {sentence}\n'
    assert b'mark' not in answer.head + answer.body
    assert answer.headers['content-type'] == 'text/plain; charset=utf-8'
    assert answer.headers['connection'] == 'close'


BODIES = {
    'chunks': (b'<mark>\r\n', 400, 'a chunk size line is malformed'),
    'a long chunk': (b'1\r\nmark', 400, 'the data of a chunk is longer than its size'),
    'too much': (chunked(b'mark' * 2000), 413, 'the body exceeds 5000 bytes (body_size)'),
    'a trailer': (b'0\r\nHost: mark\r\n\r\n', 400,
                  'a trailer cannot say how long the body is, nor its host'),
    'too slow': (b'5\r\nmark', 408, 'the rest of the body did not come (stall_timeout)'),
}


@pytest.mark.parametrize('kind', BODIES)
def test_a_handler_that_reads_a_refused_body_answers_with_the_reason(app, kind):
    body, status, sentence = BODIES[kind]
    data = request('/read', 'POST', 'Transfer-Encoding: chunked') + body
    with virtual(app, body_size=5000) as host:
        client = host.connect(data)
        answer = client.take()
    assert answer.status == status
    assert f'<p>{sentence}</p>' in answer.body.decode()
    assert b'mark' not in answer.head + answer.body


async def read_all(scope, receive, send):
    while (await receive()).get('more_body'):
        pass


@pytest.mark.parametrize('kind', ['chunks', 'too much', 'a trailer'])
def test_an_asgi_application_that_reads_a_refused_body(kind, logged):
    body, status, sentence = BODIES[kind]
    data = request('/read', 'POST', 'Transfer-Encoding: chunked') + body
    with serving(AsgiApplication(read_all), lifespan='off', body_size=5000) as host:
        answer, = host.ask(data)
    assert answer.status == status
    assert f'<p>{sentence}</p>' in answer.body.decode()
    assert b'mark' not in answer.head + answer.body


def test_what_a_handler_says_in_its_own_error_is_escaped(app):
    @app.route('/own')
    def own():
        raise ProtocolError(400, 'a <b> & more', 'for the log')

    with virtual(app) as host:
        client = host.connect(request('/own'))
        answer = client.take()
    assert b'<p>a &lt;b&gt; &amp; more</p>' in answer.body
    assert b'log' not in answer.body


def test_a_refusal_is_one_whole_answer():
    for sentence in ('plain', 'caf\xe9', 'a lone \udc80'):
        data = refusal(ProtocolError(400, sentence, 'arrived'), b'Date: x\r\n')
        answer, = answers(data)
        assert answer.headers['date'] == 'x'
        assert b'arrived' not in data

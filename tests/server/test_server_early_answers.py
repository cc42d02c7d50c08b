"""Answers that begin before a body in chunks has ended: what they promise is kept.

Every test that promises keeps the promise with a further request on the same connection.
"""

from __future__ import annotations

import http.client

import pytest
from server_support import answers, chunked, request, serving, virtual
from simulated import World

from tremolo import HTTPError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication

CHUNKED = 'Transfer-Encoding: chunked'
STATUSES = [401, 403, 404, 405]


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/status/<int:code>', methods=['POST', 'GET'])
    def status(code):
        raise HTTPError(code)

    @app.route('/late/<int:code>', methods=['POST'])
    def late(code):
        yield sleep(1)
        raise HTTPError(code)

    @app.route('/some', methods=['POST'])
    def some(request):
        yield (yield request.read(3))

    @app.route('/early', methods=['POST'])
    def early(request, stream=True):
        yield 'begun '
        yield (yield request.body())

    @app.route('/filter', methods=['POST'])
    def shout(request, stream=True):
        while data := (yield request.read(1000)):
            yield data.upper()

    @app.route('/next')
    def following():
        return 'next'

    return app


async def refuse(scope, receive, send):
    """Answer without a look at the body."""
    code = int(scope['path'].rpartition('/')[2])
    await send({'type': 'http.response.start', 'status': code,
                'headers': [(b'content-length', b'2')]})
    await send({'type': 'http.response.body', 'body': b'no'})


def ask(host, data):
    """Send, and take the answer; it says close exactly if the connection is ended after it."""
    client = host.connect(data)
    client.lingers = True
    answer = client.take()
    promised = 'connection' not in answer.headers
    host.settle()
    assert promised is not bool(client.ended)
    assert promised or answer.headers['connection'] == 'close'
    return client, answer, promised


@pytest.mark.parametrize('code', STATUSES)
@pytest.mark.parametrize('sent', [b'', b'5\r\nhel', b'5\r\nhello\r\n', b'5\r\nhello\r\n0\r\n'])
def test_an_answer_to_chunks_without_their_end_says_close(app, code, sent):
    with virtual(app) as host:
        client, answer, promised = ask(host, request(f'/status/{code}', 'POST', CHUNKED) + sent)
        assert (answer.status, promised) == (code, False)
        assert client.ended == 'fin'
        # What is still sent is no second request.
        client.send(request('/next'))
        host.advance(1)
        assert client.received == b''


@pytest.mark.parametrize('code', STATUSES)
@pytest.mark.parametrize('size', [0, 10, 30_000])
def test_an_answer_to_chunks_that_have_all_come_keeps_the_connection(app, code, size):
    body = chunked(b'x' * size) if size else chunked()
    with virtual(app) as host:
        client, answer, promised = ask(host, request(f'/status/{code}', 'POST', CHUNKED) + body)
        assert (answer.status, promised) == (code, True)
        client.send(request('/status/404'))
        assert client.take().status == 404


@pytest.mark.parametrize('code', STATUSES)
def test_an_asgi_application_promises_the_same(code):
    head = request(f'/status/{code}', 'POST', CHUNKED)
    with serving(AsgiApplication(refuse), lifespan='off') as host:
        for sent in (b'', b'5\r\nhel', b'5\r\nhello\r\n0\r\n'):
            answer, = host.ask(head + sent)
            assert (answer.status, answer.headers['connection']) == (code, 'close')
        client = host.connect()
        for body in (chunked(b'hello'), chunked()):
            client.send(head + body)
            answer = client.take()
            assert (answer.status, answer.headers.get('connection')) == (code, None)


def test_the_next_request_may_have_come_with_the_chunks(app):
    with virtual(app) as host:
        client = host.connect(request('/status/401', 'POST', CHUNKED) + chunked(b'hello')
                              + request('/status/403', 'POST', CHUNKED) + chunked()
                              + request('/next'))
        assert [client.take().status for _ in range(3)] == [401, 403, 200]
        assert not client.ended


@pytest.mark.parametrize('before', [0, 5, 100])
def test_only_what_has_come_when_the_answer_begins_counts(app, before):
    """The end comes before the answer, or with it, or after it."""
    world = World(seed=1, latency=0.01, largest_piece=before)
    with virtual(app, world) as host:
        client = host.connect(request('/late/404', 'POST', CHUNKED) + b'5\r\nhello\r\n')
        host.advance(0.9)
        client.send(b'0\r\n\r\n' + request('/next'))
        assert 'connection' not in client.take().headers
        assert client.take().body == b'next'

        client = host.connect(request('/late/404', 'POST', CHUNKED) + b'5\r\nhello\r\n')
        host.advance(1.1)
        client.send(b'0\r\n\r\n' + request('/next'))
        client.until_ended()
        answer, = answers(client.received)
        assert answer.headers['connection'] == 'close'


def test_more_than_discard_size_is_not_kept(app):
    with virtual(app, discard_size=1000) as host:
        _, _, promised = ask(host, request('/status/401', 'POST', CHUNKED) + chunked(b'x' * 2000))
        assert not promised
        _, _, promised = ask(host, request('/status/401', 'POST', CHUNKED) + chunked(b'x' * 900))
        assert promised
        host.until(lambda: host.server.closed)
        assert host.closed == {'unread': 1}


def test_chunks_that_are_malformed_are_not_kept(app):
    with virtual(app) as host:
        for body in (b'zz\r\n', b'5\r\nhello!\r\n0\r\n\r\n', b'0\r\nHost: a\r\n\r\n'):
            _, answer, promised = ask(host, request('/status/401', 'POST', CHUNKED) + body)
            assert (answer.status, promised) == (401, False)


def test_a_client_that_waits_for_100_is_told_close(app):
    with virtual(app) as host:
        _, _, promised = ask(
            host, request('/status/401', 'POST', CHUNKED, 'Expect: 100-continue'))
        assert not promised


def test_a_handler_that_read_a_part_and_answers_says_close(app):
    with virtual(app) as host:
        _, answer, promised = ask(
            host, request('/some', 'POST', CHUNKED) + b'3\r\nabc\r\n3\r\nde')
        assert (answer.body, promised) == (b'abc', False)
        _, answer, promised = ask(
            host, request('/some', 'POST', CHUNKED) + chunked(b'abcdef', b'ghi'))
        assert (answer.body, promised) == (b'abc', True)


def test_a_handler_may_read_after_it_has_begun_to_answer(app):
    """What was looked through for the end is not lost."""
    data = request('/early', 'POST', CHUNKED)
    with virtual(app) as host:
        client = host.connect(data + chunked(b'body') + request('/next'))
        answer = client.take()
        assert (answer.body, answer.headers.get('connection')) == (b'begun body', None)
        assert client.take().body == b'next'
        client = host.connect(data + b'4\r\nbo')
        client.until(b'begun')
        client.send(b'dy\r\n0\r\n\r\n')
        answer = client.take()
        assert (answer.body, answer.headers['connection']) == (b'begun body', 'close')


@pytest.mark.parametrize('size', [10, 100_000])
def test_a_handler_that_answers_while_it_reads_keeps_the_connection(app, size):
    body = b'x' * size
    with virtual(app) as host:
        client = host.connect(request('/filter', 'POST', CHUNKED))
        for piece in (body, body, body):
            client.send(b'%x\r\n%s\r\n' % (len(piece), piece))
            host.settle()
        client.send(b'0\r\n\r\n' + request('/next'))
        answer = client.take()
        assert (answer.body, answer.headers.get('connection')) == (body.upper() * 3, None)
        assert client.take().body == b'next'


@pytest.mark.parametrize('seed', range(20))
def test_in_any_pieces_the_promise_is_kept(app, seed):
    world = World(seed=seed, latency=0.01, jitter=0.02, buffer_size=5000, largest_piece=700)
    with virtual(app, world) as host:
        client = host.connect()
        for _ in range(20):
            size = world.random.choice([0, 1, 100, 3000, 20_000])
            client.send(request('/status/403', 'POST', CHUNKED)
                        + (chunked(b'x' * size) if size else chunked()))
            answer = client.take()
            assert answer.status == 403
            if answer.headers.get('connection') == 'close':
                client.until_ended()
                client = host.connect()
            else:
                client.send(request('/next'))
                assert client.take().body == b'next'


@pytest.mark.parametrize('size', [10, 300_000, 1_000_000])
@pytest.mark.parametrize('kind', ['sized', 'chunked'])
def test_http_client_loses_no_request(app, kind, size):
    """With http.client, which reconnects by itself when it was told close."""
    with serving(app, linger_timeout=20) as host:
        connection = http.client.HTTPConnection(*host.running.address, timeout=20)
        try:
            for _ in range(3):
                body = b'x' * size if kind == 'sized' else iter([b'x' * (size // 10)] * 10)
                connection.request('POST', '/status/401', body, encode_chunked=kind == 'chunked',
                                   headers={} if kind == 'sized' else
                                   {'Transfer-Encoding': 'chunked'})
                answer = connection.getresponse()
                assert answer.status == 401
                answer.read()
                connection.request('GET', '/next')
                assert connection.getresponse().read() == b'next'
        finally:
            connection.close()


CLOSE = 'Connection: close'


@pytest.mark.parametrize(('lines', 'size', 'reason'), [
    ((CLOSE, 'Content-Length: 10'), 5, 'done'),
    ((CLOSE, 'Content-Length: 100'), 0, 'done'),
    ((CLOSE, 'Content-Length: 101'), 0, 'unread'),
    ((CLOSE, 'Content-Length: 500'), 450, 'unread'),
    (('Expect: 100-continue', 'Content-Length: 10'), 0, 'done'),
    (('Expect: 100-continue', 'Content-Length: 500'), 0, 'done'),
    (('Expect: 100-continue', CHUNKED), 0, 'done'),
    ((CLOSE, CHUNKED), 0, 'unread'),
    ((CHUNKED,), 0, 'unread'),
])
def test_an_early_answer_to_a_little_body_is_a_good_end(app, lines, size, reason):
    """What is known to be little, or is not sent at all, has no line in the log."""
    with virtual(app, discard_size=100) as host:
        client = host.connect(request('/status/401', 'POST', *lines) + b'x' * size)
        assert client.take().status == 401
        client.until_ended()
        assert host.closed == {reason: 1}

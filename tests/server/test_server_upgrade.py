"""Upgrades: the handler takes over the stream, with what was sent ahead."""

from __future__ import annotations

import pytest
from server_support import read_answer, request, serving, virtual

from tremolo import StreamClosed, Tremolo, sleep

UPGRADE = ('Connection: keep-alive, Upgrade', 'Upgrade: Echo, other')


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()
    app.context.ended = []

    @app.route('/echo', methods=['GET', 'POST'])
    def echo(response):
        stream = response.upgrade('echo')
        try:
            while True:
                data = yield stream.read(65536)
                if not data:
                    stream.write(b'bye')
                    return
                stream.write(data.upper())
                yield stream.drain()
        except StreamClosed:
            app.context.ended.append('closed')
            raise
        finally:
            app.context.ended.append('ended')

    @app.route('/next')
    def following():
        return 'next'

    return app


def shake(client, path='/echo', *lines):
    client.send(request(path, 'GET', *UPGRADE, *lines))
    client.until(b'\r\n\r\n')
    answer, client.received = read_answer(client.received)
    return answer


def test_an_upgrade_is_answered_with_101_and_the_stream_is_the_handlers(app):
    with virtual(app) as host:
        client = host.connect()
        answer = shake(client)
        assert (answer.status, answer.headers['upgrade']) == (101, 'echo')
        assert answer.headers['connection'].lower() == 'upgrade'
        assert 'content-length' not in answer.headers
        for word in (b'one', b'two'):
            client.send(word)
            client.until(word.upper())
        client.fin()
        client.until_ended()
        assert client.received == b'ONETWObye'
        assert host.closed == {'upgraded': 1}
        assert app.context.ended == ['ended']


@pytest.mark.parametrize('size', [3, 200_000])
def test_what_was_sent_ahead_is_read_first(app, size):
    ahead = b'abc' * (size // 3)
    with virtual(app) as host:
        client = host.connect(request('/echo', 'GET', *UPGRADE) + ahead)
        client.fin()
        client.until_ended()
        answer, rest = read_answer(client.received)
        assert answer.status == 101
        assert rest == ahead.upper() + b'bye'


def test_an_upgrade_behind_pipelined_requests_comes_in_its_turn(app):
    @app.route('/wait')
    def wait():
        yield sleep(1)
        yield b'waited'

    with virtual(app) as host:
        client = host.connect(request('/next') + request('/wait')
                              + request('/echo', 'GET', *UPGRADE) + b'ahead')
        assert client.take().body == b'next'
        assert client.take().body == b'waited'
        assert client.take().status == 101
        client.until(b'AHEAD')


@pytest.mark.parametrize('lines', [
    (), ('Upgrade: echo',), ('Connection: upgrade',), ('Connection: upgrade', 'Upgrade: other'),
    ('Connection: upgrade', 'Upgrade: echoes')])
def test_an_upgrade_that_the_client_did_not_offer_is_a_handler_error(app, lines, logged):
    with virtual(app) as host:
        client = host.connect(request('/echo', 'GET', *lines) + request('/next'))
        assert client.take().status == 500
        assert client.take().body == b'next'
        assert 'does not offer to upgrade to echo' in logged.text


def test_an_upgrade_of_a_request_with_a_body_is_refused(app, logged):
    with virtual(app) as host:
        client = host.connect(request('/echo', 'POST', *UPGRADE, body=b'x') + request('/next'))
        assert client.take().status == 500
        assert client.take().body == b'next'
        assert 'cannot be upgraded' in logged.text


def test_an_upgrade_happens_once(app, logged):
    @app.route('/twice')
    def twice(response):
        response.upgrade('echo')
        response.upgrade('echo')
        yield

    with virtual(app) as host:
        client = host.connect()
        assert shake(client, '/twice').status == 101
        client.until_ended()
        assert client.received == b''


def test_nothing_may_be_yielded_into_an_upgraded_stream(app, logged):
    @app.route('/yields')
    def yields(response):
        stream = response.upgrade('echo')
        stream.write(b'own')
        yield b'chunk'
        yield sleep(1)

    with virtual(app) as host:
        client = host.connect()
        shake(client, '/yields')
        client.until_ended()
        assert b'chunk' not in client.received
        assert 'write to the stream' in logged.text


def test_an_upgraded_stream_has_none_of_our_deadlines(app):
    with virtual(app, idle_timeout=1, head_timeout=1, handler_timeout=1, rate_grace=1) as host:
        client = host.connect()
        shake(client)
        host.advance(1000)
        client.send(b'still')
        client.until(b'STILL')


def test_a_reset_ends_the_handler_of_an_upgraded_stream(app):
    with virtual(app) as host:
        client = host.connect()
        shake(client)
        client.reset()
        host.settle()
        assert app.context.ended[-1] == 'ended'
        assert not host.server.connections
        assert host.closed == {'upgraded': 1}


def test_an_upgraded_handler_that_fails_closes_the_stream(app, logged):
    @app.route('/fail')
    def fail(response):
        response.upgrade('echo')
        yield sleep(0.1)
        raise ValueError('oops')

    with virtual(app) as host:
        client = host.connect()
        shake(client, '/fail')
        client.until_ended()
        assert client.received == b''
        assert 'oops' in logged.text


def test_an_upgraded_handler_may_finish_while_the_server_drains(app):
    with virtual(app, shutdown_timeout=50) as host:
        client = host.connect()
        shake(client)
        host.server.drain()
        host.advance(40)
        client.send(b'still')
        client.until(b'STILL')
        client.fin()
        client.until_ended()
        assert host.closed == {'upgraded': 1}
        assert host.server.stopped.result() == 0


def test_an_upgrade_is_allowed_while_the_server_drains_and_when_half_closed(app):
    @app.route('/late')
    def late(response):
        yield sleep(0.5)
        stream = response.upgrade('echo')
        rest = yield stream.read()
        stream.write(b'got ' + rest)

    with virtual(app) as host:
        client = host.connect(request('/late', 'GET', *UPGRADE) + b'ahead')
        client.fin()
        host.advance(0.1)
        host.server.drain()
        client.until_ended()
        answer, rest = read_answer(client.received)
        assert answer.status == 101
        assert rest == b'got ahead'


def test_more_than_fits_waits_in_the_kernel_until_the_handler_reads(app):
    @app.route('/lazy')
    def lazy(response):
        stream = response.upgrade('echo')
        yield sleep(100)
        data = yield stream.read_exactly(500_000)
        stream.write(b'%d' % len(data))

    with virtual(app) as host:
        client = host.connect()
        shake(client, '/lazy')
        client.send(b'x' * 500_000)
        host.advance(50)
        connection, = host.server.connections
        assert connection.stream.inbox.size < 200_000
        client.until(b'500000')


def test_an_upgrade_over_a_real_socket(app):
    with serving(app) as host:
        client = host.connect(request('/echo', 'GET', *UPGRADE) + b'ahead')
        client.until(b'AHEAD')
        client.send(b' more')
        client.until(b' MORE')
        client.fin()
        assert client.read_all().endswith(b'AHEAD MOREbye')

"""What comes after our side has ended: read for a while, so that the answer is not destroyed."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from server_support import answers, chunked, request, serving, virtual
from simulated import World

from tremolo import HTTPError, Tremolo
from tremolo.server.linger import LONGEST, MOST

STEP = 0.25    # Seconds between two sends of a client that is slow.


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/private', methods=['POST', 'PUT'])
    def private():
        raise HTTPError(401, 'who are you?')

    @app.route('/big', methods=['POST'])
    def big():
        return b'a' * 300_000

    return app


UPLOAD = request('/private', 'PUT', 'Content-Length: 100000000')
KINDS = {
    'sized': UPLOAD,
    'chunked': request('/private', 'PUT', 'Transfer-Encoding: chunked') + b'fffffff\r\n',
    'bad': b'BAD\r\n\r\n',
    'too large': request('/private', 'PUT', 'Content-Length: 10000000000'),
}


def uploader(host, data):
    """A client that sends all, and only then reads: http.client, for example."""
    client = host.connect(data)
    client.lingers = True
    client.reading = False
    host.settle()
    return client


def send_slowly(host, client, rate, seconds):
    """Send at `rate` bytes/second; return when all is sent, or when the server is gone."""
    end = host.now + seconds
    while host.now < end and not host.server.closed:
        client.send(b'x' * int(rate * STEP))
        host.advance(STEP)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('rate', [40, 20_000])
def test_a_slow_uploader_reads_the_refusal(app, kind, rate):
    """Before, the connection was reset after 2 s, and the answer was lost."""
    with virtual(app, body_size=1 << 30) as host:
        client = uploader(host, KINDS[kind])
        send_slowly(host, client, rate, 20)
        assert not host.server.closed
        client.fin()
        client.reading = True
        client.until_ended()
        assert client.ended == 'fin'
        answer, = answers(client.received)
        assert answer.status == {'bad': 400, 'too large': 413}.get(kind, 401)
        assert answer.headers['connection'] == 'close'


def test_an_uploader_that_pauses_for_less_than_linger_timeout_is_not_cut(app):
    with virtual(app) as host:
        client = uploader(host, UPLOAD)
        for _ in range(14):
            client.send(b'line\n')
            host.advance(1.9)
        assert not host.server.closed
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(14 * 1.9 - 1.9 + 2, abs=0.1)


def test_a_silent_client_is_gone_after_linger_timeout(app):
    with virtual(app) as host:
        uploader(host, UPLOAD)
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(2, abs=0.01)
        assert host.closed == {'unread': 1}


@pytest.mark.parametrize('kind', KINDS)
def test_a_client_that_never_stops_is_gone_after_30_seconds(app, kind):
    with virtual(app, body_size=1 << 30) as host:
        client = uploader(host, KINDS[kind])
        send_slowly(host, client, 20_000, 1000)
        assert LONGEST == 30
        assert host.now == pytest.approx(30, abs=STEP)


def test_a_client_that_never_stops_has_1_mib_at_most(app):
    with virtual(app) as host:
        client = uploader(host, UPLOAD)
        taken = 0
        while not host.server.closed:
            client.send(b'x' * (50_000 - client.unsent))
            taken += 50_000 - client.unsent
            host.advance(STEP)
        # It sent 200,000 bytes a second; then it had `linger_timeout` to notice.
        assert host.now == pytest.approx(MOST / 200_000 + 2, abs=2 * STEP)


def test_a_client_that_floods_is_gone_soon(app):
    """What comes in the first two seconds is read whatever its size, and nothing after that."""
    with virtual(app) as host:
        client = uploader(host, UPLOAD)
        while not host.server.closed:
            client.send(b'x' * (4_000_000 - client.unsent))
            host.advance(0.05)
        assert 2 <= host.now < 4.1


def test_a_client_that_sends_all_at_once_and_then_reads_has_its_answer(app):
    with virtual(app) as host:
        client = uploader(host, request('/private', 'PUT', body=b'x' * 20_000_000))
        host.advance(0.5)
        assert not client.unsent
        client.reading = True
        client.until_ended()
        assert client.ended == 'fin'
        assert [answer.status for answer in answers(client.received)] == [401]


def test_a_flood_does_not_cut_an_answer_that_is_still_taken(app):
    world = World(buffer_size=20_000)
    with virtual(app, world) as host:
        client = host.connect(request('/big', 'POST', 'Content-Length: 100000000'))
        client.lingers = True
        client.reading = False
        host.settle()
        for _ in range(120):
            client.send(b'x' * (400_000 - client.unsent))
            host.advance(0.1)
            if not client.ended:
                client.received += client.sock.recv(2000)
        assert not host.server.closed
        client.reading = True
        client.until_ended()
        answer, = answers(client.received)
        assert answer.body == b'a' * 300_000


def test_the_time_may_be_longer_than_30_seconds(app):
    with virtual(app, linger_timeout=40) as host:
        client = uploader(host, UPLOAD)
        send_slowly(host, client, 1000, 39)
        assert not host.server.closed
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(40, abs=STEP)


def test_a_client_that_hangs_up_or_resets_while_it_is_waited_for(app):
    with virtual(app) as host:
        for leave in ('fin', 'reset'):
            client = uploader(host, UPLOAD)
            getattr(client, leave)()
            host.settle()
        assert host.closed == {'unread': 2}
        assert not host.server.connections


def test_a_server_that_drains_does_not_wait_for_a_slow_uploader(app):
    with virtual(app) as host:
        client = uploader(host, UPLOAD)
        send_slowly(host, client, 20_000, 5)
        drained = host.server.drain()
        send_slowly(host, client, 20_000, 100)
        assert host.now == pytest.approx(5 + 2, abs=2 * STEP)
        host.until(drained.done)


@pytest.mark.parametrize('size', [300_000, 3_000_000])
@pytest.mark.parametrize('kind', ['sized', 'chunked'])
def test_a_blocking_client_reads_the_refusal_over_a_real_socket(app, size, kind):
    body = b'x' * size
    if kind == 'sized':
        data = request('/private', 'PUT', body=body)
    else:
        data = request('/private', 'PUT', 'Transfer-Encoding: chunked') + chunked(body)
    with serving(app, linger_timeout=20) as host:
        client = host.connect()
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        sender.join()
        answer, = answers(client.read_all())
        assert answer.status == 401
        assert answer.headers['connection'] == 'close'


BIG_ANSWER = request('/big', 'POST', 'Transfer-Encoding: chunked')


@pytest.mark.parametrize(('connections', 'whole'), [('off', True), (1, False)])
def test_who_still_reads_the_answer_is_not_cut(app, connections, whole):
    """All of the answer lies in the kernel, and the client sends on while it reads."""
    with virtual(app, World(seed=1, buffer_size=400_000), connections=connections) as host:
        client = host.connect(BIG_ANSWER)
        client.lingers = True
        client.reading = False
        host.settle()
        while not host.server.closed:
            client.send(b'1\r\nx\r\n')
            host.advance(0.5)
            with suppress(BlockingIOError):
                client.received += client.sock.recv(2500)
        # (What the kernel still had at the close, a reset may destroy.)
        assert (b'a' * 300_000 in client.received) == whole
        if not whole:
            assert host.now == pytest.approx(LONGEST, abs=1)


def test_who_stops_to_read_the_answer_is_not_waited_for(app):
    with virtual(app, World(seed=1, buffer_size=400_000)) as host:
        client = host.connect(BIG_ANSWER)
        client.reading = False
        host.until(lambda: host.server.closed)
        assert 60 <= host.now < 70

"""What is read and written over TLS: every kind of handler, big bodies, cuts, and both ends."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import ssl

import pytest
from server_support import answers, chunked, request, serving, virtual
from simulated import World
from tls_support import Peer, TlsClient, context_of, strict_client
from websocket_frames import frame, handshake

from tremolo import Tremolo, send_file, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.loop import Cancelled
from tremolo.server.idle import idle_too_long
from tremolo.wsgi_app import WsgiApplication

BIG = bytes(range(256)) * 4096    # 1 MiB
CLOSE = 'Connection: close'


@pytest.fixture(scope='module')
def context():
    return context_of()


def application(waiting=False):
    """An application with each kind of handler; `app.seen` has what went wrong in them.

    Those that wait on threads, or by asyncio, are there with `waiting`.
    """
    app = Tremolo()
    app.seen, app.begun = [], []
    seen, begun = app.seen, app.begun

    @app.route('/generator', methods=['POST'])
    def generator(request):
        begun.append(1)
        try:
            data = yield request.body()
        except BaseException as error:
            seen.append(error)
            raise
        yield hashlib.sha1(data).hexdigest()

    @app.route('/plain')
    def plain():
        return 'plain'

    @app.route('/big')
    def big(response):
        return BIG

    @app.route('/some')
    def some():
        return BIG[:30000]

    @app.route('/size/<int:size>')
    def size(size):
        return BIG[:size]

    @app.route('/pieces')
    def pieces():
        for start in range(0, len(BIG), 50000):
            yield BIG[start:start + 50000]

    if waiting:
        add_waiting(app)
    return app


def add_waiting(app):
    """Add the kinds that a simulated world does not have."""
    seen, begun = app.seen, app.begun

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        begun.append(1)
        try:
            data = request.body().result()
        except BaseException as error:
            seen.append(error)
            raise
        return hashlib.sha1(data).hexdigest()

    @app.route('/async', methods=['POST'])
    async def coroutine(request):
        begun.append(1)
        try:
            data = await request.body()
        except BaseException as error:
            seen.append(error)
            raise
        return hashlib.sha1(data).hexdigest()


KINDS = ['generator', 'thread', 'async']


@pytest.mark.parametrize('kind', KINDS)
def test_bodies_arrive_whole(context, kind):
    with serving(application(True), ssl_context=context, body_buffer_size='16MiB') as host:
        client = TlsClient(host)
        for body in (b'x', BIG, BIG[:16384], BIG[:16385]):
            client.send(request(f'/{kind}', 'POST', body=body))
            assert client.take().body == hashlib.sha1(body).hexdigest().encode()
        client.send(request(f'/{kind}', 'POST', 'Transfer-Encoding: chunked',
                            body=chunked(BIG[:70000], BIG[:5], BIG)))
        assert client.take().body == hashlib.sha1(
            BIG[:70000] + BIG[:5] + BIG).hexdigest().encode()
        client.send(request('/plain', 'GET', CLOSE))
        assert answers(client.read_all())[0].body == b'plain'


@pytest.mark.parametrize('path', ['/big', '/pieces'])
def test_a_slow_reader_with_small_buffers_gets_every_byte(context, path):
    app = application()

    @app.on_connect
    def shrink(connection):
        connection.stream.end_by_reset(False)
        sock = socket.socket(fileno=os.dup(connection.stream.fd))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        sock.close()

    with serving(app, ssl_context=context) as host:
        client = TlsClient(host, receive_buffer=4096)
        client.send(request(path) * 2 + request(path, 'GET', CLOSE))
        received = []
        sizes = [1, 7, 16384, 100, 5000]
        while data := client.sock.recv(sizes[len(received) % 5]):
            received.append(data)
        assert [each.body for each in answers(b''.join(received))] == [BIG] * 3


@pytest.mark.parametrize('piece', [7, 1000, 20000])
def test_rates_and_small_pieces_change_no_byte(context, piece):
    world = World(seed=piece, largest_piece=piece, latency=0.001)
    body = BIG[:min(piece * 1000, 60000)]
    app = application()
    with virtual(app, world, ssl_context=context, download_rate='50KiB',
                 upload_rate='40KiB') as host:
        peer = Peer(host)
        before = host.now
        peer.send(request('/generator', 'POST', body=body))
        assert peer.take().body == hashlib.sha1(body).hexdigest().encode()
        assert piece == 7 or host.now - before > 0.5
        peer.send(request('/some', 'GET', CLOSE))
        peer.until_ended()
        assert peer.notified and answers(peer.data)[0].body == BIG[:30000]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('how', ['fin', 'notify', 'reset'])
def test_fault_a_truncated_body_is_an_error_to_the_handler(context, kind, how):
    app = application(True)
    with serving(app, ssl_context=context) as host:
        client = TlsClient(host)
        # (A thread is taken before the body is here if the client asks whether it shall send it.)
        client.send(request(f'/{kind}', 'POST', 'Content-Length: 100000', 'Expect: 100-continue'))
        assert client.sock.recv(100) == b'HTTP/1.1 100 Continue\r\n\r\n'
        assert app.begun
        client.send(BIG[:50000])
        if how == 'notify':
            client.sock.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                client.sock.unwrap()
        elif how == 'fin':
            socket.socket.shutdown(client.sock, socket.SHUT_WR)
        else:
            client.reset()
        host.wait_for(lambda: app.seen)
        if how == 'fin':
            host.wait_for(lambda: host.server.closed['reset'] == 1)
    assert len(app.seen) == 1


def test_a_stream_that_was_upgraded_tells_a_truncation_from_an_end(context):
    app, seen = Tremolo(), []

    @app.route('/')
    def index(request, response):
        stream = response.upgrade('echo')
        try:
            while data := (yield stream.read()):
                stream.write(data)
            seen.append('end')
        except BaseException as error:
            seen.append(error)
            raise

    with virtual(app, ssl_context=context) as host:
        for number, ends in enumerate(('close_notify', 'fin'), 1):
            peer = Peer(host)
            peer.send(request('/', 'GET', 'Connection: upgrade', 'Upgrade: echo'))
            peer.until(lambda one=peer: b'101' in one.data)
            peer.send(b'hello')
            peer.until(lambda one=peer: one.data.endswith(b'hello'))
            getattr(peer if ends == 'close_notify' else peer.client, ends)()
            host.until(lambda count=number: len(seen) == count)
            peer.client.close()
        assert seen[0] == 'end'
        assert isinstance(seen[1], Cancelled) and 'close_notify' in str(seen[1])


def test_between_requests_a_missing_close_notify_is_a_quiet_end(context):
    with virtual(application(), ssl_context=context) as host:
        for count in (0, 1):
            peer = Peer(host)
            peer.send(request('/plain') * count)
            if count:
                peer.take()
            peer.client.fin()
            peer.until_ended()
        assert host.closed == {'client': 2}


def test_a_client_that_ends_its_side_gets_its_answers_and_our_end(context):
    with virtual(application(), ssl_context=context) as host:
        peer = Peer(host)
        peer.send(request('/big') + request('/generator', 'POST', body=BIG))
        peer.close_notify()
        peer.until_ended()
        first, second = answers(peer.data)
        assert first.body == BIG and second.body == hashlib.sha1(BIG).hexdigest().encode()
        assert peer.notified and peer.client.ended == 'fin'


def test_an_answer_that_is_cut_ends_without_close_notify(context, logged):
    app = Tremolo()

    @app.route('/')
    def index(response):
        yield b'part'
        yield b'of it'
        raise LookupError

    @app.route('/old')
    def old(response):
        yield BIG
        raise LookupError

    with virtual(app, ssl_context=context) as host:
        for data in (request('/old'), request('/old', version='1.0')):
            peer = Peer(host)
            peer.send(data)
            peer.until_ended()
            assert peer.data.startswith(b'HTTP/1.1 ') and not peer.notified
    assert logged.records


def test_our_side_ends_and_the_client_may_go_on(context):
    """The answer comes before the body's end: a close_notify, and the rest is thrown away."""
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def index():
        return 'enough'

    with virtual(app, ssl_context=context) as host:
        peer = Peer(host)
        peer.client.lingers = True
        peer.send(b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n' + BIG[:20000])
        answer = peer.take()
        assert answer.body == b'enough'
        peer.until(lambda: peer.notified)
        connection, = host.server.connections
        assert connection.phase == 'linger'
        # What OpenSSL held, and what comes now, is read and thrown away; nothing breaks.
        for _ in range(20):
            peer.client.send(peer.sealed(BIG[:30000]))
            host.settle()
        assert connection.phase == 'linger' and peer.error is None
        host.advance(3)
        assert host.closed == {'unread': 1}


def test_a_pause_within_a_record_loses_nothing(context):
    app, pieces = Tremolo(), []

    @app.route('/', methods=['POST'])
    def index(request):
        while data := (yield request.read(1000)):
            pieces.append(data)
            yield sleep(0.01)
        yield b'done'

    with virtual(app, ssl_context=context, pipeline_size=2000) as host:
        peer = Peer(host)
        peer.send(request('/', 'POST', body=BIG[:60000]) + request('/', 'POST', body=BIG[:5000]))
        assert peer.take().body == b'done'
        assert peer.take().body == b'done'
        assert b''.join(pieces) == BIG[:60000] + BIG[:5000]


def test_a_client_that_sends_without_end_does_not_hold_the_loop(context):
    app, turns = application(), []

    class Recorder:
        def __init__(self, stream):
            self.stream, self.receiver = stream, stream.receiver

        def __getattr__(self, name):
            return getattr(self.receiver, name)

        def data_received(self, data):
            turns.append((self.stream.reactor.turns, len(data)))
            self.receiver.data_received(data)

    @app.on_connect
    def watch(connection):
        connection.stream.receiver = Recorder(connection.stream)

    world = World(seed=1, buffer_size=1 << 20)
    with virtual(app, world, ssl_context=context, body_buffer_size='16MiB') as host:
        peer = Peer(host)
        peer.send(request('/generator', 'POST', body=BIG * 3))
        peer.take()
    most = max(sum(size for turn, size in turns if turn == each) for each, _ in turns)
    assert 16384 <= most <= 2 * 73728


def test_a_file_is_sent_in_pieces_with_ranges_and_rates(context, tmp_path):
    (tmp_path / 'big').write_bytes(BIG)
    app = Tremolo()

    @app.route('/file')
    def file():
        return send_file(tmp_path / 'big')

    @app.route('/memory')
    def memory():
        return send_file(io.BytesIO(BIG))

    with serving(app, ssl_context=context, download_rate='64MiB') as host:
        client = TlsClient(host)
        client.send(request('/file'))
        assert client.take().body == BIG
        client.send(request('/file', 'GET', 'Range: bytes=1000-300000'))
        assert client.take().body == BIG[1000:300001]
        client.send(request('/file', 'GET', 'Range: bytes=1-3,70000-90000'))
        answer = client.take()
        assert answer.status == 206 and BIG[70000:90001] in answer.body
        client.send(request('/memory'))
        assert client.take().body == BIG


def test_what_the_client_has_taken_is_counted_without_what_tls_adds(context):
    with serving(application(True), ssl_context=context) as host:
        client = TlsClient(host)
        client.send(request('/big') * 2)
        assert client.take().body == client.take().body == BIG

        def left():
            connection, = host.server.connections
            stream = connection.stream
            taken = stream.acknowledged()
            return 0 if taken is None else stream.sent - taken

        assert host.on_loop(left) <= 2 * len(BIG)
        host.wait_for(lambda: left() == 0)


def test_asgi_and_wsgi_over_tls(context):
    async def asgi(scope, receive, send):
        if scope['type'] == 'lifespan':
            while (await receive())['type'] != 'lifespan.shutdown':
                await send({'type': 'lifespan.startup.complete'})
            await send({'type': 'lifespan.shutdown.complete'})
            return
        body = b''
        while True:
            event = await receive()
            body += event.get('body', b'')
            if not event.get('more_body'):
                break
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body',
                    'body': scope['scheme'].encode() + b' %d' % len(body)})

    def wsgi(environ, start_response):
        body = environ['wsgi.input'].read()
        start_response('200 OK', [])
        return [environ['wsgi.url_scheme'].encode(), b' %d' % len(body)]

    for app in (AsgiApplication(asgi), WsgiApplication(wsgi)):
        with serving(app, ssl_context=context) as host:
            client = TlsClient(host)
            client.send(request('/', 'POST', body=BIG[:200000]))
            assert client.take().body == b'https 200000'
            client.send(request('/', 'POST', CLOSE, body=b'abc'))
            assert answers(client.read_all())[0].body == b'https 3'


def test_a_websocket_over_tls(context):
    app = Tremolo()

    @app.route('/')
    def echo(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send((yield websocket.receive()))

    with virtual(app, ssl_context=context) as host:
        peer = Peer(host)
        peer.send(handshake() + frame(2, BIG[:100]) + frame(2, BIG[:60000]))
        peer.until(lambda: len(peer.data) > 60100)
        assert BIG[:100] in peer.data and peer.data.endswith(BIG[:60000])
        for size in (1, 125, 126, 16384, 16385, 60000):
            peer.data = b''
            peer.send(frame(2, BIG[:size]))
            peer.until(lambda most=size: len(peer.data) > most)
            assert peer.data.endswith(BIG[:size])
        peer.send(frame(8, b'\x03\xe8'))
        peer.until_ended()
        assert peer.notified


def test_tls_1_2_is_spoken_too(context):
    client = strict_client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with virtual(application(), ssl_context=context) as host:
        peer = Peer(host, client)
        assert peer.tls.version() == 'TLSv1.2'
        peer.send(request('/generator', 'POST', body=BIG) + request('/big', 'GET', CLOSE))
        peer.until_ended()
        assert answers(peer.data)[1].body == BIG and peer.notified


def test_a_client_that_does_not_take_our_end_is_timed_like_any_other(context):
    """Bytes of the answer fit into the kernel, and the close_notify does not."""
    world = World(seed=1, buffer_size=2000)
    with virtual(application(), world, ssl_context=context, stall_timeout=5) as host:
        peer = Peer(host)
        connection, = host.server.connections
        wire = -sent_by(connection)
        peer.send(request('/size/1000'))
        peer.take()
        wire += sent_by(connection)
        # The next answer leaves 5 bytes of the kernel's buffer, and a close_notify has 24.
        peer.client.reading = False
        peer.send(request(f'/size/{1000 + 2000 - wire - 5 - len("Connection: close") - 2}', 'GET',
                          CLOSE))
        host.advance(1)
        assert connection.phase == 'closing' and connection.stream.buffered == 1
        turns = host.reactor.turns
        host.until(lambda: host.closed)
        assert host.closed == {'stall_timeout': 1} and 5 <= host.now < 15
        assert host.reactor.turns - turns < 50


def sent_by(connection):
    return connection.stream.tls and connection.stream.sent + connection.stream._socket.overhead


def test_what_came_in_a_long_turn_is_answered_before_an_idle_connection_ends(context):
    for options in ({}, {'ssl_context': context}):
        with virtual(application(), **options) as host:
            if options:
                peer = Peer(host)
                client, data = peer.client, peer.sealed(request('/plain'))
            else:
                client, data = host.connect(), request('/plain')
            host.settle()
            connection, = host.server.connections
            host.server.drain()
            connection.server.phase_seconds.grace.prolong(connection)
            client.sock.send(data)
            idle_too_long(connection)    # As if the timer came up before the next poll.
            client.until_ended()
            if options:
                peer.next_bytes()
            assert len(answers(peer.data if options else client.received)) == 1

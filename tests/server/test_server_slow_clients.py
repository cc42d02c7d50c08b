"""Clients that are slow or pause: who takes part is not cut, and an attack still is."""

from __future__ import annotations

import socket

import pytest
from server_support import answers, bodies, request, serving, virtual
from simulated import World

from tremolo import Tremolo, sleep
from tremolo.rates.scarcity import plenty

BIG = 1_000_000


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        return b'hello'

    @app.route('/big')
    def big():
        return b'x' * BIG

    @app.route('/stream')
    def stream():
        for _ in range(BIG // 1000):
            yield b'x' * 1000

    @app.route('/body', methods=['POST'])
    def body(request):
        data = yield request.body()
        yield f'{len(data)}'

    @app.route('/think')
    def think():
        yield sleep(25)
        yield b'thought'

    return app


def read_slowly(host, client, rate, total, step=0.5):
    """Let a client take `rate` bytes/second until it has `total`, or is ended."""
    client.reading = False
    while len(client.received) < total and not client.ended:
        try:
            client.received += client.sock.recv(int(rate * step))
        except BlockingIOError:
            pass
        except OSError:
            client.ended = 'reset'
        host.advance(step)
        if host.closed:
            return


def lazy_world(size=400_000):
    """Return a world whose kernel takes more only when a third of its buffer is free."""
    world = World(seed=1, buffer_size=size)
    world.network.least_room = size // 3
    return world


# -- a client that reads steadily -----------------------------------------------------------------


@pytest.mark.parametrize('connections', ['off', 1])
@pytest.mark.parametrize('path', ['/big', '/stream'])
@pytest.mark.parametrize('rate', [1000, 20_000])
def test_a_client_that_reads_steadily_gets_all_of_it(app, path, rate, connections):
    """For minutes the kernel takes none of our bytes: the client empties the kernel's buffer."""
    with virtual(app, lazy_world(), connections=connections) as host:
        client = host.connect(request(path, 'GET', 'Connection: close'))
        read_slowly(host, client, rate, BIG)
        client.reading = True
        client.until_ended()
        assert bodies(client.received) == [b'x' * BIG]


def test_what_the_kernel_takes_is_no_progress_of_the_client(app):
    with virtual(app, lazy_world()) as host:
        client = host.connect(request('/big'))
        client.reading = False
        host.until(lambda: host.closed)
        assert host.now == pytest.approx(60, abs=5.1)
        assert host.closed == {'stall_timeout': 1}


@pytest.mark.parametrize('connections', ['off', 1])
def test_a_kernel_that_does_not_tell_counts_pauses_alone(app, connections):
    """It may be silent for a minute although the client reads, so no rate is demanded."""
    world = lazy_world(30_000)
    world.network.tells_acknowledged = False
    with virtual(app, world, connections=connections, min_download_rate=100_000) as host:
        client = host.connect(request('/big', 'GET', 'Connection: close'))
        read_slowly(host, client, 5000, BIG)
        client.reading = True
        client.until_ended()
        assert bodies(client.received) == [b'x' * BIG]
        silent = host.connect()
        silent.reading = False
        silent.send(request('/big'))
        begun = host.now
        host.until(lambda: host.server.closed['stall_timeout'])
        assert host.now - begun == pytest.approx(60, abs=5.1)


def test_the_kernel_is_not_asked_while_a_client_is_fast(app, monkeypatch):
    from tremolo.loop import Stream
    asked = []
    monkeypatch.setattr(Stream, 'acknowledged', lambda self: asked.append(self) and None)
    with virtual(app, World(seed=1, buffer_size=4000)) as host:
        client = host.connect(request('/stream'))
        assert len(client.take().body) == BIG
    assert not asked


def test_over_a_unix_socket_a_slow_client_gets_all_of_it_too(app, tmp_path):
    with serving(app, bind=f'unix:{tmp_path}/socket', stall_timeout=5, rate_grace=0.05,
                 connections=1, min_download_rate='1GiB') as host:
        client = host.connect(request('/big', 'GET', 'Connection: close'))
        host.wait_for(lambda: [each for each in host.server.connections
                               if each.progress is not None and not each.progress.rate])
        assert len(bodies(client.read_all())[0]) == BIG


@pytest.mark.parametrize('receive_buffer', [4096, 0])
def test_linux_tells_what_the_client_has_taken(app, receive_buffer):
    with serving(app) as host:
        client = host.connect(receive_buffer=receive_buffer)
        client.send(request('/big'))
        host.wait_for(lambda: host.server.connections
                      and next(iter(host.server.connections)).stream.sent)
        stream = next(iter(host.server.connections)).stream
        got = b''
        while len(got) < BIG:
            got += client.sock.recv(65536)
            taken = host.on_loop(stream.acknowledged)
            # (The peer's kernel takes bytes ahead of the peer.)
            assert taken is None or len(got) - 65536 <= taken <= stream.sent
        host.wait_for(lambda: stream.acknowledged() in (None, stream.sent))


# -- a pause --------------------------------------------------------------------------------------


@pytest.mark.parametrize('pause', [8, 30, 54])
@pytest.mark.parametrize('path', ['/big', '/stream'])
def test_a_player_that_pauses_goes_on(app, path, pause):
    with virtual(app, World(seed=1, buffer_size=20_000)) as host:
        client = host.connect(request(path, 'GET', 'Connection: close'))
        for _ in range(5):
            client.reading = True
            host.advance(0.001)
            client.reading = False
            host.advance(pause)
        client.reading = True
        client.until_ended()
        assert bodies(client.received) == [b'x' * BIG]


@pytest.mark.parametrize('pause', [9, 20, 59])
@pytest.mark.parametrize('lines', [('Content-Length: 20',), ('Transfer-Encoding: chunked',)])
def test_an_upload_of_a_line_now_and_then_is_whole(app, lines, pause):
    with virtual(app) as host:
        client = host.connect(request('/body', 'POST', *lines))
        for _ in range(10):
            host.advance(pause)
            client.send(b'1\n' if 'Length' in lines[0] else b'2\r\n1\n\r\n')
        if 'Length' not in lines[0]:
            client.send(b'0\r\n\r\n')
        assert client.take().body == b'20'


def test_a_pause_longer_than_stall_timeout_ends_a_download(app):
    with virtual(app, stall_timeout=20) as host:
        client = host.connect(request('/big'))
        client.reading = False
        host.until(lambda: host.closed)
        assert 20 <= host.now <= 25.1
        assert host.closed == {'stall_timeout': 1}


def test_a_pause_longer_than_stall_timeout_is_408_for_an_upload(app):
    with virtual(app, stall_timeout=20) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 3') + b'xx')
        client.until_ended()
        answer, = answers(client.received)
        assert (answer.status, answer.headers['connection']) == (408, 'close')
        assert client.ended_at == pytest.approx(20, abs=0.1)
        assert host.closed == {'stall_timeout': 1}


def test_a_stall_timeout_of_off_waits_for_ever(app):
    with virtual(app, stall_timeout='off') as host:
        client = host.connect(request('/big'))
        client.reading = False
        host.connect(request('/body', 'POST', 'Content-Length: 3'))
        host.advance(20_000)
        assert not host.closed


# -- when connections are scarce ------------------------------------------------------------------


def occupy(host, number):
    """Hold so many more connections."""
    clients = [host.connect(request()) for _ in range(number)]
    for client in clients:
        client.take()
    return clients


@pytest.mark.parametrize('kind', ['download', 'upload', 'unread'])
def test_slow_clients_make_room_when_connections_become_scarce(app, kind):
    data = {'download': request('/big'),
            'upload': request('/body', 'POST', 'Content-Length: 1000'),
            'unread': request('/', 'POST', 'Content-Length: 1000')}[kind]
    with virtual(app, connections=12, idle_timeout=1000) as host:
        slow = host.connect(data)
        slow.reading = kind != 'download'
        others = occupy(host, 8)    # 9 of 12: three quarters, and no more.
        host.advance(30)
        assert not host.closed
        others += occupy(host, 1)
        begun = host.now
        host.until(lambda: host.closed)
        # (The credit begins with 5 s, and the connection is looked at every 5 s.)
        assert host.now - begun <= 10.1
        reason = {'download': 'min_download_rate', 'upload': 'min_upload_rate',
                  'unread': 'unread'}[kind]
        assert host.closed == {reason: 1}
        for each in others:
            each.send(request())
            assert each.take().body == b'hello'


def test_a_pause_before_connections_become_scarce_does_not_count(app):
    with virtual(app, connections=4, idle_timeout=1000) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 5000'))
        host.advance(52)
        occupy(host, 3)
        for _ in range(9):
            host.advance(1)
            client.send(b'x' * 500)
        client.send(b'x' * 500)
        assert client.take().body == b'5000'


def test_a_thousand_clients_of_a_byte_a_minute_are_gone(app):
    """A quarter of the connections is made free at once; who takes nothing is gone in any case."""
    world = World(seed=1, buffer_size=2000)
    with virtual(app, world, connections=1100) as host:
        slow = [host.connect(request('/big')) for _ in range(1000)]
        for each in slow:
            each.reading = False
        host.advance(11)
        assert len(host.server.connections) <= 825
        assert host.connect(request()).take().body == b'hello'
        host.advance(55)
        assert host.server.closed['min_download_rate'] >= 175
        assert all(each.phase == 'idle' for each in host.server.connections)


@pytest.mark.parametrize(('connections', 'descriptors', 'expected'), [
    (100, 100_000, 75), (0, 1064, 750), (10_000, 1064, 750), (1, 1064, 0), (0, 10, 0)])
def test_connections_are_scarce_beyond_three_quarters(
        monkeypatch, connections, descriptors, expected):
    resource = pytest.importorskip('resource')
    monkeypatch.setattr(resource, 'getrlimit', lambda _: (descriptors, descriptors))
    assert plenty(connections) == expected


def test_without_a_limit_of_descriptors_only_the_option_counts(monkeypatch):
    resource = pytest.importorskip('resource')
    monkeypatch.setattr(
        resource, 'getrlimit', lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert plenty(400) == 300
    assert plenty(0) > 1 << 40


# -- half-closed, and vanished --------------------------------------------------------------------


def test_a_half_closed_client_waits_half_a_minute(app):
    with virtual(app) as host:
        client = host.connect(request('/think'))
        client.fin()
        client.until_ended()
        assert bodies(client.received) == [b'thought']


@pytest.mark.parametrize(('connections', 'seconds'), [('off', 30), (1, 1)])
def test_a_half_closed_client_has_less_time_when_connections_are_scarce(
        app, connections, seconds):
    @app.route('/forever')
    def forever():
        yield sleep(1000)

    with virtual(app, connections=connections) as host:
        client = host.connect(request('/forever'))
        client.fin()
        host.until(lambda: host.closed)
        assert host.now == pytest.approx(seconds, abs=0.1)
        assert host.closed == {'half_closed': 1}


def test_the_kernel_asks_silent_clients_whether_they_are_there(app):
    with serving(app) as host:
        host.connect(request()).take()
        connection, = host.server.connections
        assert host.on_loop(lambda: connection.stream._socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        if hasattr(socket, 'TCP_KEEPIDLE'):
            assert host.on_loop(lambda: connection.stream._socket.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)) == 60


def subscribable(app):
    @app.route('/events')
    def events(stream=True):
        while True:
            yield b'data: tick\n\n'
            yield sleep(15)

    return app


def test_a_subscriber_that_vanishes_without_a_word_is_found_out(app):
    """Its events are small, so the kernel takes them all for a long time."""
    with virtual(subscribable(app)) as host:
        client = host.connect(request('/events'))
        host.advance(1000)
        assert not host.closed
        client.reading = False
        host.world.network.vanished.add(client.sock)
        host.advance(250)
        assert host.closed == {'vanished': 1}


def test_a_subscriber_that_reads_nothing_for_long_has_not_vanished(app):
    with virtual(subscribable(app)) as host:
        client = host.connect(request('/events'))
        client.reading = False
        host.advance(2000)
        assert not host.closed



# -- memory ---------------------------------------------------------------------------------------

READ = 65536    # Bytes of one read.
PIECE = 20_000    # Bytes that the handlers below give at once.


def most_memory(settings):
    """The formula of README.md: bytes that one client may make us keep."""
    taken = max(settings.head_size, settings.pipeline_size) + READ
    body = max(2 * READ, settings.body_buffer_size + READ)
    kept = READ + PIECE
    return taken + body + kept


def held(connection):
    """Bytes that a connection keeps."""
    kept = connection.parser.buffered + connection.stream.buffered + connection.stream.unsent
    response = connection.response
    if response is not None and response.request.inbox is not None:
        kept += response.request.inbox.size
    return kept


# What a client sends, as much of it as the server takes, and whether it reads.
GREEDY = {
    'head': (b'GET / HTTP/1.1\r\nX: ' + b'x' * 900, True),
    'pipeline': (request('/pieces') * 100_000, False),
    'pipeline of bodies': (request('/', 'POST', body=b'x' * 1000) * 5000, False),
    'body that nobody reads': (request('/late', 'POST', body=b'x' * 5_000_000), True),
    'body in pieces': (request('/sip', 'POST', body=b'x' * 5_000_000), False),
    'body as a whole': (request('/body', 'POST', body=b'x' * 5_000_000), False),
    'chunks': (request('/sip', 'POST', 'Transfer-Encoding: chunked')
               + b'1\r\nx\r\n' * 1_000_000, False),
    'download': (request('/pieces'), False),
}


@pytest.mark.parametrize('kind', GREEDY)
@pytest.mark.parametrize('options', [
    {}, {'head_size': '256KiB', 'pipeline_size': 1000, 'body_buffer_size': 1000},
    {'head_size': 1000, 'pipeline_size': '1MiB', 'body_buffer_size': '4MiB'}])
def test_the_memory_of_a_client_is_a_formula_over_the_options(app, kind, options):
    @app.route('/pieces')
    def pieces():
        while True:
            yield bytes(PIECE)

    @app.route('/late', methods=['POST'])
    def late(request):
        yield sleep(1000)

    @app.route('/sip', methods=['POST'])
    def sip(request):
        while data := (yield request.read(100)):
            yield sleep(1)
            yield data

    data, reading = GREEDY[kind]
    with virtual(app, World(seed=1, buffer_size=500_000), **options) as host:
        client = host.connect()
        client.reading = reading
        client.send(data)
        kept = [0]

        def sampled():
            kept.extend(map(held, host.server.connections))
            return host.now >= 20

        host.world.later(20, lambda: None)
        host.until(sampled)
        assert 900 <= max(kept) <= most_memory(host.server.settings)

"""Throttling: rates that hold, clocks that do not run meanwhile, and nothing when it is off."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import threading
import time

import pytest
from server_support import answers, bodies, chunked, request, serving, virtual
from simulated import World

from tremolo import HandlerError, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.loop import Stream
from tremolo.loop.timers import NEVER
from tremolo.rates.minimum_rate import MinimumRate
from tremolo.server.connection import Connection
from tremolo.settings import Settings
from tremolo.throttling.limits import Bucket, Share

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        yield b'hello'

    @app.route('/bytes/<int:size>')
    def sized(size):
        return b'x' * size

    @app.route('/stream/<int:size>')
    def stream(size):
        for _ in range(size // 1000):
            yield b'x' * 1000

    @app.route('/pieces/<int:size>')
    def pieces(size, stream=True):
        for _ in range(size // 100):
            yield b'x' * 100

    @app.route('/at-1000/<int:size>')
    def at_1000(size, rate=1000):
        yield b'x' * size

    @app.route('/at-100000/<int:size>')
    def at_100000(size, rate='100000'):
        return b'x' * size

    @app.route('/unlimited/<int:size>')
    def unlimited(size, rate=None):
        return b'x' * size

    @app.route('/body', methods=['POST'])
    def body(request):
        data = yield request.body()
        yield f'{len(data)}'

    @app.route('/wait', methods=['GET', 'POST'])
    def wait():
        yield sleep(60)
        yield b'waited'

    return app


# Seconds by which a busy machine may be late. How exact a rate is, the simulated world tells.
LATE = 20.0


@contextlib.contextmanager
def in_good_time(seconds, early):
    """Check that something takes so long, or `early` less, or more as the machine is busy."""
    began = time.monotonic()
    yield
    assert seconds - early < time.monotonic() - began < seconds + LATE


def took(host, client, method='GET'):
    """Take an answer; give it, and how long it took."""
    began = host.now
    return client.take(method), host.now - began


# -- how fast -------------------------------------------------------------------------------------


def received(host, client, seconds):
    """Let time pass; give how many bytes a client got meanwhile."""
    size, client.received = 0, b''
    for _ in range(20):
        host.advance(seconds / 20)
        size += len(client.received)
        client.received = b''
    return size


@pytest.mark.parametrize('rate', [10 * KIB, MIB, 10 * MIB])
@pytest.mark.parametrize('path', ['bytes', 'stream', 'pieces'])
@pytest.mark.parametrize('option', ['download_rate', 'worker_download_rate'])
def test_a_download_keeps_to_its_rate(app, rate, path, option):
    world = World(buffer_size=1 << 20)
    with virtual(app, world, **{option: rate}) as host:
        # (What is much in a second is seen as exactly in half of the time.)
        seconds = 1 if rate > MIB else 2
        client = host.connect(request(f'/{path}/{rate * seconds * 2}'))
        client.until(b'\r\n\r\n')
        assert received(host, client, seconds) == pytest.approx(seconds * rate, rel=0.02)
        assert received(host, client, seconds / 2) == pytest.approx(seconds * rate / 2, rel=0.04)
        # However small the pieces of the answer are, many are sent at a time.
        assert host.reactor.turns < 10_000


@pytest.mark.parametrize('rate', [10 * KIB, MIB, 10 * MIB])
@pytest.mark.parametrize('option', ['upload_rate', 'worker_upload_rate'])
def test_an_upload_keeps_to_its_rate_where_the_handler_receives_it(app, rate, option):
    arrived = []

    @app.route('/take', methods=['POST'])
    def take(request):
        while data := (yield request.read(65536)):
            arrived.append((request.connection.stream.reactor.now, len(data)))
        yield b'taken'

    with virtual(app, **{option: rate}) as host:
        client = host.connect(request('/take', 'POST', body=bytes(rate * 3)))
        assert client.take().body == b'taken'
        first = arrived[0][0]
        early = sum(size for when, size in arrived if when - first <= 2)
        assert early == pytest.approx(2 * rate, rel=0.04)
        assert arrived[-1][0] - first == pytest.approx(3, rel=0.04)


@pytest.mark.parametrize('rate', [1, 3, 100, 1000])
def test_rates_far_below_what_is_sensible_hold_too(app, rate):
    with virtual(app, download_rate=rate) as host:
        client = host.connect(request('/', 'HEAD'))
        _, seconds = took(host, client, 'HEAD')
        size = seconds * rate
        client.send(request('/bytes/100'))
        answer, seconds = took(host, client)
        assert answer.body == b'x' * 100
        assert seconds * rate == pytest.approx(size + 100, abs=0.5 * rate + 4)


def test_an_idle_connection_saves_up_next_to_nothing(app):
    with virtual(app, download_rate=10 * KIB, idle_timeout=1000) as host:
        client = host.connect()
        for pause in (0, 900):
            host.advance(pause and 20)
            client.send(request(f'/bytes/{20 * KIB}'))
            _, seconds = took(host, client)
            assert seconds == pytest.approx(2, rel=0.05)


def test_an_answer_smaller_than_a_piece_goes_at_once(app):
    with virtual(app, download_rate=100_000, worker_download_rate=100_000) as host:
        answer, seconds = took(host, host.connect(request()))
        assert (answer.body, seconds) == (b'hello', 0)


def test_the_slower_of_two_limits_counts(app):
    for own, worker in ((1000, 5000), (5000, 1000)):
        with virtual(app, download_rate=own, worker_download_rate=worker) as host:
            _, seconds = took(host, host.connect(request('/bytes/10000')))
            assert seconds == pytest.approx(10, rel=0.04)


def test_a_late_loop_catches_up_a_little(app):
    share = Share(Bucket(100_000, 0.0))
    passed = []
    for now in (0.0, 0.03, 0.07, 1000.0):
        passed.append(0)
        while size := share.allowance(now):
            share.left -= size
            passed[-1] += size
    # A piece is 20 ms; an hour is worth the one that was reserved and two more.
    assert passed == [2000, 2000, 4000, 6000]


# -- the rate of one answer -----------------------------------------------------------------------


def test_the_rate_in_the_signature_is_that_of_the_answer_alone(app):
    with virtual(app) as host:
        client = host.connect()
        for path, seconds in (('/at-1000/5000', 5), ('/bytes/5000', 0), ('/at-100000/200000', 2),
                              ('/at-1000/5000', 5), ('/unlimited/5000', 0), ('/', 0)):
            client.send(request(path))
            _, lasted = took(host, client)
            assert lasted == pytest.approx(seconds, rel=0.06, abs=0.001)
        connection, = host.server.connections
        assert connection.stream.write_limit is None


def test_the_rate_in_the_signature_stands_instead_of_the_connections(app):
    with virtual(app, download_rate=10_000) as host:
        client = host.connect()
        for path, seconds in (('/at-1000/5000', 5), ('/bytes/20000', 2), ('/unlimited/50000', 0),
                              ('/at-100000/100000', 1), ('/bytes/20000', 2)):
            client.send(request(path))
            _, lasted = took(host, client)
            assert lasted == pytest.approx(seconds, rel=0.07, abs=0.001)


def test_no_answer_escapes_the_limit_of_the_worker(app):
    with virtual(app, worker_download_rate=10_000) as host:
        client = host.connect(request('/unlimited/50000'))
        _, seconds = took(host, client)
        assert seconds == pytest.approx(5, rel=0.04)


def test_pipelined_answers_have_each_its_own_rate(app):
    with virtual(app) as host:
        client = host.connect(request('/at-1000/5000') + request('/bytes/50000')
                              + request('/at-100000/100000') + request('/at-1000/1000')
                              + request('/'))
        lasted = []
        for _ in range(5):
            answer, seconds = took(host, client)
            lasted.append((len(answer.body), seconds))
        sizes, times = zip(*lasted)
        assert sizes == (5000, 50000, 100_000, 1000, 5)
        assert times == pytest.approx((5, 0, 1, 1, 0), rel=0.07, abs=0.001)


def test_a_chain_of_small_answers_is_as_slow_as_a_large_one(app):
    with virtual(app) as host:
        client = host.connect(request('/at-1000/1000'))
        size = len(client.take().head) + 4 + 1000
        began = host.now
        for _ in range(10):
            client.send(request('/at-1000/1000'))
            client.take()
        assert host.now - began == pytest.approx(size * 10 / 1000, rel=0.06)


def test_a_handler_sets_the_rate_before_the_first_bytes(app, logged):
    seen = []

    @app.route('/set/<int:rate>')
    def set_rate(response, rate):
        seen.append(response.rate)
        response.rate = rate
        seen.append(response.rate)
        yield b'x' * 2000
        yield sleep(0)
        try:
            response.rate = 5
        except HandlerError as error:
            seen.append(str(error))

    with virtual(app, download_rate='1MiB') as host:
        _, seconds = took(host, host.connect(request('/set/500')))
        assert seconds == pytest.approx(4, rel=0.12)
        assert seen == [MIB, 500, 'the head is sent already: the rate cannot change']
    with virtual(app) as host:
        _, seconds = took(host, host.connect(request('/set/0')))
        assert seconds == 0
        assert seen[3:5] == [0, 0]


@pytest.mark.parametrize('rate', [-1, 1.5, True, 'much', '1MB/s', b'1', []])
def test_a_rate_that_is_none_is_the_handlers_mistake(app, logged, rate):
    def signed(rate=rate):
        yield b'never sent'

    @app.route('/wrong')
    def wrong(response):
        response.rate = rate
        yield b'never sent'

    with pytest.raises(HandlerError, match='is not a number of bytes/second'):
        app.route('/signed')(signed)
    with virtual(app) as host:
        client = host.connect(request('/wrong'))
        assert client.take().status == 500
        client.send(request())
        assert client.take().body == b'hello'
    assert 'rate: ' in logged.text and 'is not a number of bytes/second' in logged.text


def test_rates_are_not_limits_for_what_is_refused_and_upgraded(app):
    @app.route('/upgrade')
    def upgrade(response, rate=1000):
        stream = response.upgrade('echo')
        stream.write(b'x' * 5000)
        yield stream.drain()

    with virtual(app) as host:
        client = host.connect(request('/upgrade', 'GET', 'Connection: upgrade', 'Upgrade: echo'))
        client.until_ended()
        assert client.received.endswith(b'x' * 5000)
        assert client.ended_at == pytest.approx(5, rel=0.07)


# -- whatever is asked for ------------------------------------------------------------------------


@pytest.mark.parametrize('options', [
    {'download_rate': 1000}, {'upload_rate': 1000}, {'worker_download_rate': 1000},
    {'worker_upload_rate': 1000}, {'download_rate': 700, 'upload_rate': 300,
                                   'worker_download_rate': 900, 'worker_upload_rate': 900}])
@pytest.mark.parametrize('pieces', [0, 7, 300])
def test_everything_works_at_a_rate(app, options, pieces):
    @app.route('/read', methods=['POST'])
    def read(request):
        while data := (yield request.read(100)):
            yield data

    @app.route('/empty')
    def empty(response):
        response.status = 204

    world = World(seed=3, latency=0.01, largest_piece=pieces)
    with virtual(app, world, **options) as host:
        client = host.connect(
            request('/bytes/3000', 'HEAD') + request('/bytes/3000') + request('/pieces/2000')
            + request('/empty') + request('/at-1000/2000')
            + request('/read', 'POST', body=b'y' * 2000)
            + request('/read', 'POST', 'Transfer-Encoding: chunked', 'Expect: 100-continue',
                      body=chunked(b'z' * 900, b'z' * 100))
            + request('/stream/3000', version='1.0'))
        client.until_ended()
        found = [(each.status, len(each.body)) for each in answers(client.received, 'HEAD')]
        assert found == [(200, 0), (200, 3000), (200, 2000), (204, 0), (200, 2000),
                         (200, 2000), (100, 0), (200, 1000), (200, 3000)]
        assert host.closed == {'done': 1}


def test_an_asgi_application_is_throttled(app):
    done = []

    async def application(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        for _ in range(20):
            await send({'type': 'http.response.body', 'body': b'x' * 10000, 'more_body': True})
        done.append(time.monotonic())
        await send({'type': 'http.response.body', 'body': b''})

    asgi = AsgiApplication(application)
    with asgi.start(port=0, download_rate=800_000, lifespan='off') as running:
        with in_good_time(0.25, 0.04), socket.create_connection(running.address) as sock:
            began = time.monotonic()
            sock.sendall(request('/', 'GET', 'Connection: close'))
            received = b''
            while data := sock.recv(65536):
                received += data
        assert len(bodies(received)[0]) == 200_000
        # The application had to wait until the client's buffer had room again.
        assert done[0] - began > 0.1


def test_an_async_handler_is_throttled(app):
    @app.route('/async')
    async def in_asyncio(request, rate='800000', stream=True):
        for _ in range(10):
            yield 'x' * 10000
        await sleep(0)
        yield 'y' * 100_000

    with serving(app) as host:
        with in_good_time(0.25, 0.05):
            answer, = host.ask(request('/async', 'GET', 'Connection: close'))
        assert answer.body.endswith(b'y' * 9)


def test_a_handler_waits_while_its_client_is_throttled(app):
    written = []

    @app.route('/watch')
    def watch(request, stream=True):
        for number in range(30):
            written.append(number)
            yield b'x' * 10000

    with virtual(app, download_rate=10_000) as host:
        client = host.connect(request('/watch'))
        host.advance(10)
        # A hundred kilobytes were sent, and 64 KiB are kept.
        assert 11 <= len(written) <= 18
        connection, = host.server.connections
        assert connection.stream.buffered < 80_000
        assert len(client.take().body) == 300_000


# -- nobody is punished for it --------------------------------------------------------------------


@pytest.mark.parametrize('path', ['/bytes/3000', '/stream/3000', '/at-1000/3000'])
@pytest.mark.parametrize('lines', [[], ['Connection: close']])
@pytest.mark.parametrize('options', [{'download_rate': 50}, {'worker_download_rate': 50}])
def test_an_answer_slower_than_answer_rate_is_not_the_clients_fault(app, path, lines, options):
    with virtual(app, connections=1, rate_grace=0.5, min_download_rate=240, idle_timeout=3,
                 half_close_timeout=0.1, **options) as host:
        client = host.connect(request(path, 'GET', *lines))
        if 'worker_download_rate' in options or path != '/at-1000/3000':
            answer, seconds = took(host, client)
            assert len(answer.body) == 3000
            assert seconds > 60
            taken = host.now
        else:
            client.take()
            taken = host.now
        client.until_ended()
        if lines:
            assert client.ended_at == pytest.approx(taken, abs=3.1)
        else:
            assert client.ended_at == pytest.approx(taken + 3, abs=0.1)
            assert host.closed == {'idle_timeout': 1}


def test_who_waits_for_a_turn_is_not_slow(app):
    @app.route('/sip', methods=['POST'])
    def sip(request):
        size = 0
        while data := (yield request.read(1)):
            size += len(data)
            yield sleep(0.1)
        yield f'{size}'

    with virtual(app, connections=2, rate_grace=0.5, worker_download_rate=100) as host:
        for client in [host.connect(request()) for _ in range(20)]:
            assert client.take().body == b'hello'
    with virtual(app, rate_grace=0.5, upload_rate=1) as host:
        client = host.connect(request('/sip', 'POST', body=b'x' * 10))
        assert client.take().body == b'10'


def test_the_idle_time_begins_when_a_throttled_answer_is_out(app):
    with virtual(app, download_rate=1000, idle_timeout=7) as host:
        client = host.connect(request('/bytes/20000'))
        client.take()
        taken = host.now
        client.until_ended()
        assert client.ended_at == pytest.approx(taken + 7, abs=0.01)


def test_a_throttled_client_that_takes_nothing_is_cut_all_the_same(app):
    with virtual(app, World(buffer_size=4000), download_rate=10_000, connections=1, rate_grace=5,
                 min_download_rate=240) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/bytes/100000'))
        host.until(lambda: host.server.closed)
        # What the kernel takes of us earns nothing.
        assert host.now == pytest.approx(5, abs=1)
        assert host.closed == {'min_download_rate': 1}


def test_a_throttled_client_that_takes_too_little_is_cut_all_the_same(app):
    with virtual(app, World(buffer_size=4000), download_rate=100_000, connections=1, rate_grace=5,
                 min_download_rate=4000, idle_timeout=10) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/bytes/1000000'))
        while not host.closed:
            assert host.now < 60
            client.reading = True
            host.advance(0.001)
            client.reading = False
            host.advance(4)
        assert host.closed == {'min_download_rate': 1}


@pytest.mark.parametrize('options, size', [
    ({'download_rate': 1}, 1000), ({'download_rate': 50}, 1000),
    ({'worker_download_rate': 3}, 1000),
    # More than is kept: the handler is still at work, and each rest is of 0.25 s.
    ({'download_rate': 1000}, 200_000), ({'worker_download_rate': 1000}, 200_000)])
@pytest.mark.parametrize('fin', [0, 1.1])
def test_a_half_closed_client_gets_a_throttled_answer(app, options, size, fin):
    with virtual(app, half_close_timeout=0.1, connections=1, rate_grace=0.2, **options) as host:
        client = host.connect(request(f'/stream/{size}', version='1.0'))
        host.advance(fin)
        client.fin()
        client.until_ended()
        assert len(bodies(client.received)[0]) == size


@pytest.mark.parametrize('options', [
    {'upload_rate': 20}, {'worker_upload_rate': 20}, {'upload_rate': 1}])
def test_an_upload_slower_than_body_rate_is_not_the_clients_fault(app, options):
    with virtual(app, connections=1, rate_grace=0.5, min_upload_rate=240, idle_timeout=2,
                 head_timeout=0.5, first_byte_timeout=0.5, **options) as host:
        client = host.connect(request('/body', 'POST', body=b'x' * 600))
        answer, seconds = took(host, client)
        assert answer.body == b'600'
        assert seconds > 30
        client.send(request('/body', 'POST', 'Transfer-Encoding: chunked',
                            body=chunked(b'x' * 10, b'y' * 10)))
        assert client.take().body == b'20'


@pytest.mark.parametrize('path', ['/', '/body'])
def test_a_throttled_upload_that_stalls_is_408_or_ends_all_the_same(app, path):
    with virtual(app, upload_rate=1000, rate_grace=3, min_upload_rate=240, stall_timeout=8,
                 linger_timeout=1) as host:
        client = host.connect(request(path, 'POST', 'Content-Length: 20000') + b'x' * 5000)
        client.until_ended()
        assert answers(client.received)[0].status == (200 if path == '/' else 408)
        # The bytes took 5 s.
        assert client.ended_at == pytest.approx(5 + 8, abs=0.5)


def test_a_throttled_head_that_stalls_is_408_all_the_same(app):
    with virtual(app, upload_rate=100, head_timeout=3) as host:
        client = host.connect(b'GET / HTTP/1.1\r\nHost: x\r\nX: ' + b'x' * 473)
        client.until_ended()
        assert answers(client.received)[0].status == 408
        assert client.ended_at == pytest.approx(5 + 3, abs=0.3)


def test_who_lingers_has_30_seconds_at_our_rate_too(app):
    with virtual(app, upload_rate=100, linger_timeout=2, discard_size=10) as host:
        client = host.connect(b'BAD\r\n\r\n' + b'x' * 10000)
        client.lingers = True
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(30, abs=0.1)


def test_a_pace_does_not_run_while_we_rest():
    minimum = MinimumRate(Settings(rate_grace=5, stall_timeout=30), 10)
    minimum.rest(0, 100)
    minimum.wait(1)
    assert (minimum.deadline(True), minimum.deadline(False)) == (6, 31)
    minimum.rest(3, 10)
    assert (minimum.deadline(True), minimum.deadline(False)) == (13, 40)
    minimum.moved(5, 10)
    assert (minimum.deadline(True), minimum.deadline(False)) == (14, 40)
    minimum.stop(11)
    assert minimum.credit == 3
    assert minimum.deadline(True) == minimum.deadline(False) == NEVER


# -- together -------------------------------------------------------------------------------------


@pytest.mark.parametrize('clients', [2, 10])
def test_connections_share_what_the_worker_has(app, clients):
    with virtual(app, worker_download_rate=100_000) as host:
        everybody = [host.connect(request('/bytes/1000000')) for _ in range(clients)]
        host.advance(1)
        before = [len(client.received) for client in everybody]
        host.advance(4)
        got = [len(client.received) - had for client, had in zip(everybody, before)]
        assert sum(got) == pytest.approx(400_000, rel=0.03)
        assert min(got) > 0.97 * max(got)
        # Who comes later is not kept waiting by who was there, and who leaves takes nothing away.
        late = host.connect(request('/bytes/10000'))
        for client in everybody[1:]:
            client.reset()
        _, seconds = took(host, late)
        assert seconds == pytest.approx(0.2, abs=0.08)


def test_connections_share_what_the_worker_receives(app):
    with virtual(app, worker_upload_rate=100_000) as host:
        everybody = [host.connect(request('/body', 'POST', body=bytes(100_000)))
                     for _ in range(5)]
        for client in everybody:
            assert client.take().body == b'100000'
            assert host.now == pytest.approx(5, rel=0.04)


def test_clients_that_leave_while_they_rest_leave_their_places(app):
    with virtual(app, worker_download_rate=10_000) as host:
        for _ in range(20):
            crowd = [host.connect(request('/bytes/100000')) for _ in range(20)]
            host.advance(0.01)
            for client in crowd:
                client.reset()
            host.advance(0.01)
        _, seconds = took(host, host.connect(request('/bytes/10000')))
        assert seconds < 1.3


def test_two_at_a_rate_do_not_slow_a_third(app):
    @app.route('/four')
    def four(rate='1MiB'):
        return bytes(4 * MIB)

    with virtual(app) as host:
        slow = [host.connect(request('/four')) for _ in range(2)]
        free = host.connect(request(f'/bytes/{8 * MIB}'))
        assert len(free.take().body) == 8 * MIB
        assert host.now < 0.01
        for client in slow:
            client.take()
            assert host.now == pytest.approx(4, rel=0.01)


# -- the ends -------------------------------------------------------------------------------------


def test_a_graceful_stop_waits_for_what_rests(app):
    with virtual(app, download_rate=1000, shutdown_timeout=20) as host:
        client = host.connect(request('/bytes/10000', 'GET', 'Connection: close'))
        host.advance(2)
        stopped = host.server.drain()
        host.until(stopped.done)
        assert host.now == pytest.approx(10, rel=0.08)
        assert len(client.take().body) == 10000
        assert stopped.result() == 0


def test_a_graceful_stop_gives_up_what_rests_too_long(app, logged):
    with virtual(app, download_rate=1000, shutdown_timeout=3) as host:
        host.connect(request('/bytes/10000'))
        host.advance(2)
        stopped = host.server.drain()
        host.until(stopped.done)
        assert host.now == pytest.approx(5, abs=0.01)
        assert stopped.result() == 1


@pytest.mark.parametrize('options', [
    {'download_rate': 1}, {'worker_download_rate': 1}, {'upload_rate': 1, 'download_rate': 1}])
def test_a_client_that_leaves_while_we_rest_is_noticed_at_once(app, options):
    ended = []

    @app.route('/long')
    def long():
        try:
            for _ in range(1000):
                yield b'x' * 16384
        finally:
            ended.append(True)

    with virtual(app, **options) as host:
        client = host.connect(request('/long'))
        host.until(lambda: client.received)
        host.advance(0.1)
        client.reset()
        host.settle()
        assert ended == [True]
        assert host.closed == {'reset': 1}
        before = host.reactor.turns
        host.advance(100)
        assert host.reactor.turns - before < 20


@pytest.mark.skipif(sys.implementation.name != 'cpython', reason='counts references')
def test_nothing_is_left_of_throttled_connections(app):
    with virtual(app, download_rate=1000, upload_rate=1000, worker_download_rate=1000,
                 worker_upload_rate=1000) as host:
        def one_round() -> None:
            for path in ('/bytes/3000', '/at-1000/3000', '/stream/3000'):
                client = host.connect(request(path))
                host.advance(1)
                client.reset()
                host.advance(0.1)
            host.connect(request('/', 'GET', 'Connection: close')).until_ended()
            del host.clients[:]

        one_round()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            one_round()
            gc.collect()
            left = [each for each in gc.garbage if isinstance(each, (Stream, Connection))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert left == []
        assert not host.server.connections


def test_without_a_rate_there_is_no_limit(app):
    with virtual(app) as host:
        client = host.connect(request())
        client.take()
        connection, = host.server.connections
        assert connection.stream.read_limit is None
        assert connection.stream.write_limit is None


# -- for real -------------------------------------------------------------------------------------


def test_both_directions_at_once_on_real_sockets(app):
    with serving(app, download_rate='2MiB', upload_rate='4MiB') as host:
        down, up = host.connect(), host.connect()
        began = time.monotonic()
        lasted = {}

        def fetch() -> None:
            down.send(request(f'/bytes/{MIB}'))
            down.take()
            lasted['down'] = time.monotonic() - began

        thread = threading.Thread(target=fetch)
        thread.start()
        up.send(request('/body', 'POST', body=bytes(2 * MIB)))
        assert up.take().body == b'%d' % (2 * MIB)
        lasted['up'] = time.monotonic() - began
        thread.join()
        # Never sooner; later when others have the processor now and then.
        assert 0.42 < lasted['down'] < 0.5 + LATE
        assert 0.42 < lasted['up'] < 0.5 + LATE

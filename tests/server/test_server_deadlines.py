"""Every deadline on the virtual clock: that it fires when it should, and not when it should not."""

from __future__ import annotations

import pytest
from server_support import answers, bodies, request, virtual
from simulated import World

from tremolo import StreamClosed, Tremolo, sleep


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        yield b'hello'

    @app.route('/body', methods=['POST'])
    def body(request):
        data = yield request.body()
        yield f'{len(data)}'

    @app.route('/wait/<int:seconds>', methods=['GET', 'POST'])
    def wait(seconds):
        yield sleep(seconds)
        yield b'waited'

    @app.route('/big')
    def big():
        return b'x' * 1_000_000

    @app.route('/stream')
    def stream():
        for _ in range(1000):
            yield b'x' * 1000

    return app


def trickle(host, client, seconds, data, pause):
    """Send one byte of `data` each `pause` seconds, for so long or until the server ends it."""
    end = host.now + seconds
    for byte in data:
        if host.now >= end or client.ended:
            return
        client.send(bytes([byte]))
        host.advance(pause)


# -- first byte, head, idle -----------------------------------------------------------------------


def test_who_sends_nothing_is_closed_quietly_after_first_byte_timeout(app):
    with virtual(app, first_byte_timeout=12) as host:
        client = host.connect()
        client.until_ended()
        assert client.received == b''
        assert client.ended == 'fin'
        assert client.ended_at == pytest.approx(12, abs=0.01)
        assert host.closed == {'first_byte_timeout': 1}


@pytest.mark.parametrize('idle', [5, 30, 0.01])
def test_first_byte_timeout_does_not_depend_on_idle_timeout(app, idle):
    with virtual(app, first_byte_timeout=20, idle_timeout=idle) as host:
        client = host.connect()
        client.until_ended()
        assert client.ended_at == pytest.approx(20, abs=0.01)
        assert host.reactor.turns < 1000


def test_a_head_that_stalls_is_408_after_head_timeout(app):
    with virtual(app, head_timeout=7) as host:
        client = host.connect()
        host.advance(5)
        client.send(b'GET / HTTP/1.1\r\nHo')
        client.until_ended()
        answer, = answers(client.received)
        assert (answer.status, answer.headers['connection']) == (408, 'close')
        assert client.ended_at == pytest.approx(12, abs=0.01)
        assert host.closed == {'head_timeout': 1}


@pytest.mark.parametrize('idle', [2, 30])
def test_a_slow_loris_is_408_however_often_it_sends_a_byte(app, idle):
    with virtual(app, head_timeout=7, idle_timeout=idle) as host:
        client = host.connect(b'GET / HTTP/1.1\r\nHost: x\r\nX: ')
        trickle(host, client, 60, b'x' * 600, 0.1)
        client.until_ended()
        assert answers(client.received)[0].status == 408
        assert client.ended_at == pytest.approx(7, abs=0.2)


def test_the_second_head_has_its_own_head_timeout(app):
    with virtual(app, head_timeout=7, idle_timeout=30) as host:
        client = host.connect(request())
        client.take()
        host.advance(20)
        client.send(b'GET')
        host.advance(6.9)
        client.send(request()[3:])
        assert client.take().body == b'hello'
        client.send(b'G')
        started = host.now
        client.until_ended()
        assert client.ended_at == pytest.approx(started + 7, abs=0.01)


@pytest.mark.parametrize('first_byte', [1, 30, 100])
@pytest.mark.parametrize('head', [1, 10, 100])
@pytest.mark.parametrize('idle', [0.5, 8, 50])
def test_an_idle_connection_is_closed_quietly_after_idle_timeout(app, first_byte, head, idle):
    with virtual(app, first_byte_timeout=first_byte, head_timeout=head, idle_timeout=idle) as host:
        client = host.connect(b'GET / HT')
        host.advance(0.3)
        client.send(b'TP/1.1\r\nHost: x\r\n\r\n')
        client.take()
        host.advance(idle / 2)
        client.send(request())
        client.take()
        last = host.now
        client.until_ended()
        assert client.received == b''
        assert client.ended_at == pytest.approx(last + idle, abs=0.06)
        assert host.closed == {'idle_timeout': 1}


@pytest.mark.parametrize('path', ['/', '/body', '/wait/3'])
def test_a_request_with_a_body_is_followed_by_idle_timeout_too(app, path):
    with virtual(app, idle_timeout=8) as host:
        client = host.connect(request(path, 'POST', body=b'abc'))
        assert client.take().status == 200
        last = host.now
        client.until_ended()
        assert client.ended_at == pytest.approx(last + 8, abs=0.01)
        assert host.closed == {'idle_timeout': 1}


def test_an_idle_timeout_of_nothing_closes_after_each_answer(app):
    with virtual(app, idle_timeout=0) as host:
        answer, = host.ask(request())
        assert answer.body == b'hello'
        assert host.reactor.turns < 200


def test_each_request_pushes_the_idle_deadline_back(app):
    with virtual(app, idle_timeout=10) as host:
        client = host.connect()
        for _ in range(20):
            client.send(request())
            assert client.take().body == b'hello'
            host.advance(9)
        assert not client.ended


def test_a_working_handler_is_not_idle(app):
    with virtual(app, idle_timeout=5, head_timeout=5) as host:
        client = host.connect(request('/wait/300'))
        assert client.take().body == b'waited'
        assert host.now == pytest.approx(300, abs=0.1)


def test_pipelined_requests_that_wait_for_their_turn_are_not_timed_out(app):
    with virtual(app, idle_timeout=5, head_timeout=5) as host:
        client = host.connect(request('/wait/50') + request('/wait/50') + request()[:10])
        assert client.take().body == b'waited'
        assert client.take().body == b'waited'
        host.advance(4)
        client.send(request()[10:])
        assert client.take().body == b'hello'


# -- the body -------------------------------------------------------------------------------------


def test_a_body_that_stalls_is_408_after_the_grace(app):
    with virtual(app, connections=1, rate_grace=5, min_upload_rate=100) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 1000'))
        client.until_ended()
        answer, = answers(client.received)
        assert (answer.status, answer.headers['connection']) == (408, 'close')
        assert client.ended_at == pytest.approx(5, abs=0.01)
        assert host.closed == {'min_upload_rate': 1}


def test_a_body_of_a_byte_now_and_then_is_408(app):
    with virtual(app, connections=1, rate_grace=5, min_upload_rate=100) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 1000'))
        trickle(host, client, 100, b'x' * 1000, 0.5)
        client.until_ended()
        assert answers(client.received)[0].status == 408
        assert client.ended_at < 8


def test_a_body_that_is_slow_but_fast_enough_is_taken_whatever_it_lasts(app):
    with virtual(app, connections=1, rate_grace=5, min_upload_rate=100) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 100000'))
        for _ in range(1000):
            client.send(b'x' * 100)
            host.advance(0.9)
        assert client.take().body == b'100000'


def test_a_fast_beginning_does_not_buy_a_long_stall(app):
    with virtual(app, connections=1, rate_grace=5, min_upload_rate=100, stall_timeout=40) as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 2000000'))
        client.send(b'x' * 1_000_000)
        client.until_ended()
        assert answers(client.received)[0].status == 408
        assert client.ended_at == pytest.approx(40, abs=1)


def test_no_body_rate_no_limit(app):
    with virtual(app, rate_grace=5, min_upload_rate='off', connections=1,
                 stall_timeout='off') as host:
        client = host.connect(request('/body', 'POST', 'Content-Length: 2'))
        host.advance(1000)
        client.send(b'xx')
        assert client.take().body == b'2'


def test_body_rate_does_not_count_while_the_handler_works(app):
    @app.route('/slow', methods=['POST'])
    def slow(request):
        size = 0
        while True:
            data = yield request.read(10)
            if not data:
                yield f'{size}'
                return
            size += len(data)
            yield sleep(20)

    with virtual(app, connections=1, rate_grace=1, min_upload_rate=1000, idle_timeout=2) as host:
        client = host.connect(request('/slow', 'POST', body=b'x' * 300))
        assert client.take().body == b'300'
        assert host.now > 500


def test_body_rate_does_not_count_while_nobody_reads(app):
    @app.route('/late', methods=['POST'])
    def late(request):
        yield sleep(100)
        data = yield request.body()
        yield f'{len(data)}'

    with virtual(app, connections=1, rate_grace=1, min_upload_rate=1000) as host:
        client = host.connect(request('/late', 'POST', 'Content-Length: 10'))
        host.advance(100.5)
        client.send(b'x' * 10)
        assert client.take().body == b'10'


def test_body_rate_does_not_count_while_we_pause(app):
    @app.route('/pause', methods=['POST'])
    def pause(request):
        first = yield request.read(1)
        yield sleep(100)
        rest = yield request.body()
        yield f'{len(first) + len(rest)}'

    world = World(buffer_size=10_000)
    with virtual(app, world, connections=1, rate_grace=1, min_upload_rate=1000,
                 idle_timeout=2) as host:
        client = host.connect(request('/pause', 'POST', body=b'x' * 500_000))
        host.advance(50)
        connection, = host.server.connections
        assert connection.stream.paused
        assert client.take().body == b'500000'


def test_an_unread_body_that_stalls_ends_the_connection(app):
    with virtual(app, connections=1, rate_grace=5, linger_timeout=2) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 1000'))
        client.until_ended()
        assert bodies(client.received) == [b'hello']
        assert client.ended_at == pytest.approx(5, abs=0.01)
        assert host.closed == {'unread': 1}


def test_a_slow_body_ends_a_begun_answer(app):
    caught = []

    @app.route('/echo', methods=['POST'])
    def echo(request, stream=True):
        yield 'begun'
        try:
            while True:
                yield (yield request.read())
        except Exception as error:
            caught.append(error)
            raise

    with virtual(app, connections=1, rate_grace=5) as host:
        client = host.connect(request('/echo', 'POST', 'Content-Length: 1000'))
        client.until_ended()
        assert not client.received.endswith(b'0\r\n\r\n')
        assert caught[0].status == 408


# -- the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize('path', ['/big', '/stream'])
def test_who_does_not_take_the_answer_is_cut_after_the_grace(app, path):
    with virtual(app, connections=1, rate_grace=5, min_download_rate=100, idle_timeout=20) as host:
        client = host.connect()
        client.reading = False
        client.send(request(path))
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(5, abs=0.1)
        assert host.closed == {'min_download_rate': 1}


@pytest.mark.parametrize('path', ['/big', '/stream'])
def test_who_takes_the_answer_slowly_but_fast_enough_gets_all_of_it(app, path):
    world = World(buffer_size=4000)
    with virtual(app, world, connections=1, rate_grace=5, min_download_rate=3000,
                 idle_timeout=10) as host:
        client = host.connect()
        client.reading = False
        client.send(request(path) + request())
        while len(client.received) < 1_000_000:
            client.reading = True
            client.pump()
            client.reading = False
            host.advance(1)
        client.reading = True
        assert len(client.take().body) == 1_000_000
        assert client.take().body == b'hello'
        assert host.now > 200


def test_an_answer_taken_too_slowly_is_cut(app):
    world = World(buffer_size=4000)
    with virtual(app, world, connections=1, rate_grace=5, min_download_rate=10_000,
                 idle_timeout=10) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/big'))
        while not host.closed:
            client.reading = True
            client.pump()
            client.reading = False
            host.advance(1)
        assert host.closed == {'min_download_rate': 1}
        assert host.now < 15


@pytest.mark.parametrize('path', ['/long', '/chunked'])
def test_answer_rate_does_not_count_the_time_before_an_answer_in_pieces(app, path):
    """The kernel has no room at all when it comes, and before it the client took everything."""
    @app.route('/first')
    def first():
        return b'x' * 20_000

    @app.route('/long')
    def long():
        return b'y' * 200_000

    @app.route('/chunked')
    def chunked():
        yield b'y' * 200_000

    world = World(seed=1, buffer_size=20_000)
    with virtual(app, world, connections=1, rate_grace=10, min_download_rate=100_000,
                 idle_timeout=60) as host:
        client = host.connect(request('/first'))
        client.reading = False
        host.advance(1)
        stream, = (each.stream for each in host.server.connections)
        assert stream.buffered > 0
        client.received += client.sock.recv(stream.buffered)
        host.advance(8)
        assert stream.buffered == 0
        client.send(request(path))
        host.advance(9)
        assert stream.buffered > 200_000
        assert host.closed == {}
        client.reading = True
        client.until(b'y' * 200_000)


def test_answer_rate_does_not_count_while_the_handler_works(app):
    @app.route('/now-and-then')
    def now_and_then():
        for _ in range(20):
            yield b'x' * 100_000
            yield sleep(15)

    with virtual(app, connections=1, rate_grace=1, min_download_rate=100_000,
                 idle_timeout=2) as host:
        client = host.connect(request('/now-and-then'))
        assert len(client.take().body) == 2_000_000


def test_no_answer_rate_no_limit(app):
    with virtual(app, rate_grace=5, min_download_rate='off', connections=1,
                 stall_timeout='off') as host:
        client = host.connect()
        client.reading = False
        client.send(request('/big') + request())
        host.advance(1000)
        client.reading = True
        assert len(client.take().body) == 1_000_000
        assert client.take().body == b'hello'


def test_the_idle_time_begins_when_the_last_answer_was_taken(app):
    world = World(buffer_size=4000)
    with virtual(app, world, idle_timeout=6, rate_grace=100) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/big'))
        host.advance(40)
        assert not host.closed
        client.reading = True
        answer = client.take()
        assert len(answer.body) == 1_000_000
        taken = host.now
        client.until_ended()
        assert taken + 5.9 < client.ended_at <= taken + 12.1
        assert host.closed == {'idle_timeout': 1}


def test_a_closing_connection_whose_answer_is_not_taken_is_cut(app):
    with virtual(app, connections=1, rate_grace=5, idle_timeout=20) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/big', 'GET', 'Connection: close'))
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(5, abs=0.1)
        assert host.closed == {'min_download_rate': 1}


def test_a_lingering_connection_whose_answer_is_not_taken_is_cut(app):
    @app.route('/post', methods=['POST'])
    def post():
        return b'x' * 1_000_000

    with virtual(app, connections=1, rate_grace=5, idle_timeout=20, discard_size=10,
                 linger_timeout=2) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/post', 'POST', 'Content-Length: 1000'))
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(5, abs=0.1)
        assert host.closed == {'min_download_rate': 1}


def test_pipelined_requests_whose_answers_are_not_taken_end_by_answer_rate(app):
    with virtual(app, connections=1, rate_grace=5, idle_timeout=20) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/big') * 100)
        host.until(lambda: host.server.closed)
        assert host.now == pytest.approx(5, abs=0.1)
        assert host.closed == {'min_download_rate': 1}


@pytest.mark.parametrize('lines', [(), ('Connection: close',)])
def test_small_answers_that_are_not_taken_end_the_connection_too(app, lines):
    @app.route('/small')
    def small():
        return b'x' * 10_000

    world = World(buffer_size=25_000)
    with virtual(app, world, connections=1, rate_grace=5, idle_timeout=20) as host:
        client = host.connect()
        client.reading = False
        for extra in ((), (), lines):
            client.send(request('/small', 'GET', *extra))
            host.advance(0.01)
        host.until(lambda: host.server.closed)
        assert host.now < 46
        assert host.closed == {'min_download_rate': 1}


# -- linger ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('bad', [b'BAD\r\n\r\n', b'GET / HTTP/3.0\r\nHost: x\r\n\r\n'])
def test_a_refused_client_that_stays_is_cut_after_linger_timeout(app, bad):
    with virtual(app, linger_timeout=3) as host:
        client = host.connect(bad)
        client.lingers = True
        client.until_ended()
        assert client.ended_at == pytest.approx(0, abs=0.01)
        assert not host.closed
        host.advance(2.9)
        assert not host.closed
        host.advance(0.2)
        assert host.closed == {'refused': 1}


# -- half-closed ----------------------------------------------------------------------------------


def test_a_waiting_handler_of_a_half_closed_client_is_cancelled(app):
    ended = []

    @app.route('/forever')
    def forever():
        try:
            yield sleep(1000)
        finally:
            ended.append(host.now)

    with virtual(app, half_close_timeout=3) as host:
        client = host.connect(request('/forever'))
        host.advance(1)
        client.fin()
        host.until(lambda: host.closed)
        assert ended == [pytest.approx(4, abs=0.01)]
        assert host.closed == {'half_closed': 1}


def test_a_fin_together_with_the_request_starts_the_same_clock(app):
    with virtual(app, half_close_timeout=3) as host:
        client = host.connect(request() + request('/wait/100'))
        client.fin()
        host.until(lambda: host.closed)
        assert host.now == pytest.approx(3, abs=0.01)
        assert bodies(client.received) == [b'hello']
        assert host.closed == {'half_closed': 1}


@pytest.mark.parametrize('before', [1, 31, 32, 33, 64, 100])
def test_a_half_closed_client_is_noticed_behind_many_pipelined_requests(app, before):
    with virtual(app, half_close_timeout=3) as host:
        client = host.connect(request() * before + request('/wait/100'))
        client.fin()
        host.until(lambda: host.closed)
        assert host.now == pytest.approx(3, abs=0.01)
        assert host.closed == {'half_closed': 1}


def test_each_answer_of_a_half_closed_client_has_the_whole_time(app):
    with virtual(app, half_close_timeout=3) as host:
        client = host.connect(request('/wait/2') * 4)
        client.fin()
        client.until_ended()
        assert bodies(client.received) == [b'waited'] * 4
        assert host.closed == {'client': 1}


def test_a_handler_that_streams_to_a_half_closed_client_goes_on(app):
    @app.route('/ticks')
    def ticks():
        for n in range(20):
            yield b'%d,' % n
            yield sleep(2)

    with virtual(app, half_close_timeout=3) as host:
        client = host.connect(request('/ticks'))
        client.fin()
        client.until_ended()
        assert bodies(client.received) == [b''.join(b'%d,' % n for n in range(20))]
        assert host.closed == {'client': 1}


def test_a_half_closed_client_that_takes_its_answer_slowly_gets_it(app):
    world = World(buffer_size=4000)
    with virtual(app, world, half_close_timeout=3) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/stream'))
        client.fin()
        while len(client.received) < 900_000:
            client.reading = True
            client.pump()
            client.reading = False
            host.advance(0.5)
        client.reading = True
        client.until_ended()
        assert len(bodies(client.received)[0]) == 1_000_000
        assert host.now > 60


# -- the handler ----------------------------------------------------------------------------------


def test_a_handler_that_takes_too_long_is_503(app, logged):
    ended = []

    @app.route('/slow')
    def slow():
        try:
            yield sleep(1000)
        finally:
            ended.append(host.now)

    with virtual(app, handler_timeout=4) as host:
        client = host.connect(request('/slow') + request())
        client.until_ended()
        answer, = answers(client.received)
        assert (answer.status, answer.headers['connection']) == (503, 'close')
        assert ended == [pytest.approx(4, abs=0.01)]
        assert host.closed == {'handler_timeout': 1}
        assert logged.count('the handler took too long (handler_timeout)') == 1
        assert not host.reactor.tasks


def test_a_handler_that_takes_too_long_after_the_head_was_sent_is_cut(app, logged):
    @app.route('/slow')
    def slow():
        yield b'begun'
        yield sleep(1000)

    with virtual(app, handler_timeout=4) as host:
        client = host.connect(request('/slow'))
        client.until_ended()
        assert client.received.endswith(b'5\r\nbegun\r\n')
        assert client.ended_at == pytest.approx(4, abs=0.01)
        assert host.closed == {'handler_timeout': 1}
        assert not host.reactor.tasks


def test_each_pipelined_request_has_its_own_handler_timeout(app):
    with virtual(app, handler_timeout=4) as host:
        client = host.connect(request('/wait/3') * 4)
        assert [client.take().body for _ in range(4)] == [b'waited'] * 4


def test_a_timed_out_handler_cannot_reach_the_client_any_more(app, logged):
    from tremolo import Cancelled
    seen = []

    @app.route('/stubborn', methods=['POST'])
    def stubborn(request, response):
        try:
            yield sleep(1000)
        except Cancelled:
            try:
                yield request.read()
            except StreamClosed:
                seen.append('read')
            try:
                response.send(b'late')
            except StreamClosed:
                seen.append('send')
            yield b'late'
            yield sleep(0.1)
            yield b'late'

    with virtual(app, handler_timeout=4) as host:
        client = host.connect(request('/stubborn', 'POST', 'Content-Length: 10'))
        client.lingers = True
        client.until_ended()
        host.advance(1)
        answer, = answers(client.received)
        assert answer.status == 503
        assert seen == ['read', 'send']


def test_a_threaded_or_waiting_handler_has_no_deadline_by_default(app):
    with virtual(app) as host:
        client = host.connect(request('/wait/100000'))
        host.advance(80000)
        assert not client.ended

"""Bodies of requests: read, refused, left unread; and answers that do not wait for them."""

from __future__ import annotations

import hashlib
import threading

import pytest
from server_support import answers, bodies, chunked, request, serving, virtual
from simulated import World

from tremolo import StreamClosed, Tremolo, sleep, spawn
from tremolo.exceptions import ProtocolError

CONTINUE = b'HTTP/1.1 100 Continue\r\n\r\n'


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/size', methods=['POST'])
    def size(request):
        body = yield request.body()
        yield f'{len(body)} {hashlib.sha256(body).hexdigest()[:8]}'

    @app.route('/echo', methods=['POST'])
    def echo(request, stream=True):
        while True:
            data = yield request.read(65536)
            if not data:
                return
            yield data

    @app.route('/ignore', methods=['POST', 'GET'])
    def ignore():
        return 'ignored'

    @app.route('/now/<name>')
    def now(name):
        return name

    @app.route('/late', methods=['POST'])
    def late(request):
        yield sleep(3)
        body = yield request.body()
        yield body

    @app.route('/json', methods=['POST'])
    def json(request):
        value = yield request.json()
        return {'got': value}

    @app.route('/trailers', methods=['POST'])
    def trailers(request):
        yield request.body()
        yield repr(list(request.trailers))

    return app


def digest(body: bytes) -> bytes:
    return f'{len(body)} {hashlib.sha256(body).hexdigest()[:8]}'.encode()


def test_a_body_of_64_kib_is_there_with_its_head(app):
    turns, sizes = [], []

    @app.route('/turns', methods=['POST'])
    def turns_of(request):
        reactor = request.connection.stream.reactor
        turns.append(reactor.turns)
        while data := (yield request.read(65536)):
            sizes.append(len(data))
        turns.append(reactor.turns)
        yield b'read'

    with virtual(app, World(buffer_size=1 << 20)) as host:
        client = host.connect(request('/turns', 'POST', body=bytes(65536)))
        client.until(b'read')
        assert sizes == [65536]
        assert turns[0] == turns[1]


def test_a_long_body_comes_in_pieces_that_need_not_be_cut(app):
    sizes = []

    @app.route('/sizes', methods=['POST'])
    def sizes_of(request):
        while data := (yield request.read(65536)):
            sizes.append(len(data))
        yield b'read'

    with virtual(app, World(buffer_size=8 << 20)) as host:
        client = host.connect()
        for _ in range(2):    # The second one finds the connection as the first one did.
            sizes.clear()
            client.send(request('/sizes', 'POST', 'Content-Length: 1000000') + bytes(1_000_000))
            client.until(b'read')
            assert sum(sizes) == 1_000_000
            # Only the piece that came with the head is longer than one read.
            assert sizes[2:-1] == [65536] * len(sizes[2:-1])
            client.received = b''
        client.send(request('/size', 'POST', body=bytes(65536)))
        client.until(digest(bytes(65536)))


@pytest.mark.parametrize('size', [1, 100, 65535, 65536, 65537, 200_000, 1_000_000])
@pytest.mark.parametrize('kind', ['sized', 'chunked'])
def test_a_body_of_any_size_is_read_whole(app, size, kind):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    if kind == 'sized':
        data = request('/size', 'POST', body=body)
    else:
        pieces = [body[at:at + 9000] for at in range(0, size, 9000)]
        data = request('/size', 'POST', 'Transfer-Encoding: chunked') + chunked(*pieces)
    with virtual(app) as host:
        client = host.connect(data + request('/now/next'))
        assert client.take().body == digest(body)
        assert client.take().body == b'next'


@pytest.mark.parametrize('seed', range(4))
def test_a_body_in_any_pieces_is_read_whole(app, seed):
    world = World(seed=seed, latency=0.01, jitter=0.1, buffer_size=700, largest_piece=100)
    body = b'0123456789' * 300
    with virtual(app, world) as host:
        client = host.connect(
            request('/size', 'POST', body=body)
            + request('/size', 'POST', 'Transfer-Encoding: chunked') + chunked(body[:77], body[77:])
            + request('/now/next', 'GET', 'Connection: close'))
        client.until_ended()
        assert bodies(client.received) == [digest(body), digest(body), b'next']


def test_an_empty_body_is_read_at_once(app):
    with virtual(app) as host:
        client = host.connect(request('/size', 'POST', 'Content-Length: 0')
                              + request('/size', 'POST')
                              + request('/size', 'POST', 'Transfer-Encoding: chunked')
                              + chunked())
        assert [client.take().body for _ in range(3)] == [digest(b'')] * 3


def test_trailers_are_there_when_the_body_has_been_read(app):
    with virtual(app) as host:
        client = host.connect(request('/trailers', 'POST', 'Transfer-Encoding: chunked')
                              + b'3\r\nabc\r\n0\r\nChecksum: 1\r\n\r\n')
        assert client.take().body == b"[(b'checksum', b'1')]"


def test_json_is_read_and_bad_json_is_the_clients_fault(app):
    with virtual(app) as host:
        client = host.connect(request('/json', 'POST', body=b'[1, 2]')
                              + request('/json', 'POST', body=b'[1, 2'))
        answer = client.take()
        assert answer.body == b'{"got": [1, 2]}'
        assert answer.headers['content-type'] == 'application/json'
        assert client.take().status == 400


@pytest.mark.parametrize('kind', ['sized', 'chunked'])
def test_a_body_larger_than_buffered_size_is_413(app, kind):
    body = b'x' * 3000
    if kind == 'sized':
        data = request('/size', 'POST', body=body)
    else:
        data = request('/size', 'POST', 'Transfer-Encoding: chunked') + chunked(body)
    with virtual(app, body_buffer_size=2000) as host:
        client = host.connect(data + request('/now/next'))
        assert client.take().status == 413
        assert client.take().body == b'next'


@pytest.mark.parametrize('kind', ['sized', 'chunked'])
def test_a_body_larger_than_body_size_is_413_and_closes(app, kind):
    body = b'x' * 3000
    if kind == 'sized':
        data = request('/size', 'POST', body=body)
    else:
        data = request('/size', 'POST', 'Transfer-Encoding: chunked') + chunked(body)
    with virtual(app, body_size=2000) as host:
        client = host.connect(data + request('/now/next'))
        client.until_ended()
        answer, = answers(client.received)
        assert answer.status == 413
        assert answer.headers['connection'] == 'close'


# -- Expect ---------------------------------------------------------------------------------------


def test_100_is_sent_once_when_the_handler_begins_to_read(app):
    with virtual(app) as host:
        client = host.connect(request('/late', 'POST', 'Expect: 100-continue',
                                      'Content-Length: 4'))
        host.advance(2.9)
        assert client.received == b''
        client.until(CONTINUE)
        assert client.received == CONTINUE
        assert host.now == pytest.approx(3, abs=0.01)
        client.send(b'body' + request('/now/next'))
        client.until(b'next')
        assert [answer.status for answer in answers(client.received)] == [100, 200, 200]
        assert not client.ended


def test_100_is_never_sent_when_the_handler_does_not_read_and_the_connection_closes(app):
    with virtual(app) as host:
        client = host.connect(request('/ignore', 'POST', 'Expect: 100-continue',
                                      'Content-Length: 4'))
        client.until_ended()
        answer, = answers(client.received)
        assert answer.body == b'ignored'
        assert answer.headers['connection'] == 'close'


def test_each_pipelined_request_has_its_own_100(app):
    with virtual(app) as host:
        one = request('/size', 'POST', 'Expect: 100-continue', 'Content-Length: 4')
        client = host.connect(one)
        client.until(CONTINUE)
        client.send(b'body' + one)
        client.until(CONTINUE, 2)
        client.send(b'BODY')
        client.until(digest(b'BODY'))
        assert [answer.status for answer in answers(client.received)] == [100, 200, 100, 200]


def test_no_100_for_a_request_without_a_body(app):
    with virtual(app) as host:
        client = host.connect(request('/size', 'POST', 'Expect: 100-continue'))
        assert client.take().status == 200
        assert not client.ended


def test_no_100_after_the_answer_began(app):
    @app.route('/early', methods=['POST'])
    def early(request, stream=True):
        yield 'begun '
        body = yield request.body()
        yield body

    with virtual(app) as host:
        client = host.connect(request('/early', 'POST', 'Expect: 100-continue',
                                      'Content-Length: 4'))
        client.until(b'begun')
        client.send(b'body')
        answer = client.take()
        assert answer.body == b'begun body'
        assert answer.status == 200


def test_http_1_0_gets_no_100(app):
    with virtual(app) as host:
        client = host.connect(request('/size', 'POST', 'Expect: 100-continue',
                                      'Content-Length: 4', version='1.0'))
        host.advance(1)
        assert client.received == b''
        client.send(b'body')
        client.until_ended()
        assert answers(client.received)[0].body == digest(b'body')


def test_an_unknown_expectation_is_417(app):
    with virtual(app) as host:
        client = host.connect(request('/size', 'POST', 'Expect: miracles', 'Content-Length: 4'))
        client.until_ended()
        assert answers(client.received)[0].status == 417


# -- unread bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['sized', 'chunked'])
def test_an_unread_body_is_thrown_away_and_the_connection_goes_on(app, kind):
    # (In chunks its end has to have come when it is answered.)
    body = b'GET /now/smuggled HTTP/1.1\r\nHost: x\r\n\r\n' * (2000 if kind == 'sized' else 1000)
    if kind == 'sized':
        data = request('/ignore', 'POST', body=body)
    else:
        data = request('/ignore', 'POST', 'Transfer-Encoding: chunked') + chunked(body)
    with virtual(app) as host:
        client = host.connect(data + request('/now/next', 'GET', 'Connection: close'))
        client.until_ended()
        assert bodies(client.received) == [b'ignored', b'next']


def test_an_unread_body_that_is_too_large_closes_the_connection(app):
    with virtual(app, discard_size=1000) as host:
        client = host.connect(request('/ignore', 'POST', body=b'x' * 5000) + request('/now/next'))
        client.until_ended()
        answer, = answers(client.received)
        assert answer.headers['connection'] == 'close'
        assert host.closed == {'unread': 1}


def test_an_unread_chunked_body_that_turns_out_too_large_closes_the_connection(app):
    with virtual(app, discard_size=1000) as host:
        client = host.connect(request('/ignore', 'POST', 'Transfer-Encoding: chunked')
                              + chunked(b'x' * 5000) + request('/now/next'))
        client.until_ended()
        assert bodies(client.received) == [b'ignored']
        assert host.closed == {'unread': 1}


def test_an_unread_body_that_is_malformed_closes_the_connection(app):
    with virtual(app) as host:
        client = host.connect(request('/ignore', 'POST', 'Transfer-Encoding: chunked')
                              + b'zz\r\n' + request('/now/next'))
        client.until_ended()
        assert bodies(client.received) == [b'ignored']
        assert host.closed == {'refused': 1}


def test_a_client_that_sends_10_mb_gets_the_whole_answer_of_a_handler_that_does_not_read(app):
    answer = b'a' * 3_000_000

    @app.route('/big', methods=['POST'])
    def big():
        return answer

    with serving(app, linger_timeout=60) as host:
        client = host.connect(
            request('/big', 'POST', f'Content-Length: {10 << 20}'))

        def send() -> None:
            try:
                client.send(b'x' * (10 << 20))
            except OSError:
                # The server need not take it all.
                return

        sender = threading.Thread(target=send)
        sender.start()
        try:
            got, = answers(client.read_all())
            assert got.body == answer
            assert got.headers['connection'] == 'close'
        finally:
            client.close()
            sender.join()


def test_a_slow_reader_whose_body_was_not_read_gets_the_whole_answer(app):
    answer = b'a' * 500_000

    @app.route('/big', methods=['POST'])
    def big():
        return answer

    world = World(latency=0.2, buffer_size=10_000)
    with virtual(app, world, discard_size=1000) as host:
        client = host.connect(request('/big', 'POST', 'Content-Length: 100000'))
        client.send(b'x' * 50_000)
        client.until_ended()
        assert host.now > 5
        assert bodies(client.received) == [answer]
        assert client.ended == 'fin'


def test_a_client_that_goes_on_sending_is_cut_after_30_seconds(app):
    with virtual(app, discard_size=10, linger_timeout=3) as host:
        client = host.connect(request('/ignore', 'POST', 'Content-Length: 1000000'))
        client.lingers = True
        host.settle()
        while not host.server.closed:
            client.sock.send(b'x' * 10)
            host.advance(0.25)
        assert host.now == pytest.approx(30, abs=0.26)
        assert bodies(client.received) == [b'ignored']
        assert host.closed == {'unread': 1}


def test_a_partly_read_body_is_drained_too(app):
    @app.route('/some', methods=['POST'])
    def some(request):
        data = yield request.read(10)
        yield data

    with virtual(app) as host:
        client = host.connect(request('/some', 'POST', body=b'0123456789' * 9000)
                              + request('/now/next', 'GET', 'Connection: close'))
        client.until_ended()
        assert bodies(client.received) == [b'0123456789', b'next']


# -- full duplex ----------------------------------------------------------------------------------


def test_an_echo_answers_while_the_body_still_arrives(app):
    with virtual(app) as host:
        client = host.connect(request('/echo', 'POST', 'Transfer-Encoding: chunked'))
        for piece in (b'one', b'two', b'three'):
            client.send(b'%x\r\n%s\r\n' % (len(piece), piece))
            client.until(piece)
        client.send(b'0\r\n\r\n' + request('/now/next'))
        assert client.take().body == b'onetwothree'
        assert client.take().body == b'next'


def test_a_large_echo_over_a_real_socket(app):
    body = bytes(range(256)) * 40_000
    with serving(app) as host:
        client = host.connect()
        sender = threading.Thread(target=client.send, args=(
            request('/echo', 'POST', 'Connection: close', body=body),))
        sender.start()
        got, = answers(client.read_all())
        sender.join()
        assert got.body == body


def test_an_echo_to_a_client_that_does_not_read_stops_reading(app):
    world = World(buffer_size=30_000)
    with virtual(app, world) as host:
        client = host.connect()
        client.reading = False
        client.send(request('/echo', 'POST', body=b'x' * 2_000_000))
        host.advance(3)
        connection, = host.server.connections
        assert client.unsent > 1_500_000
        assert connection.stream.buffered < 200_000
        client.reading = True
        answer = client.take()
        assert answer.body == b'x' * 2_000_000


# -- faults in a body -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'fault', [b'zz\r\n', b'3\r\nabcd\r\n', b'-1\r\n', b'0\r\nbad name: x\r\n\r\n'])
def test_a_malformed_body_is_400_for_a_handler_that_reads_it(app, fault):
    with virtual(app) as host:
        client = host.connect(request('/size', 'POST', 'Transfer-Encoding: chunked')
                              + fault + request('/now/next'))
        client.until_ended()
        answer, = answers(client.received)
        assert answer.status == 400
        assert answer.headers['connection'] == 'close'


def test_a_malformed_body_in_a_begun_answer_cuts_it(app, logged):
    with virtual(app) as host:
        client = host.connect(request('/echo', 'POST', 'Transfer-Encoding: chunked')
                              + b'3\r\nabc\r\n')
        client.until(b'abc')
        client.send(b'zz\r\n' + request('/now/next'))
        client.until_ended()
        assert not client.received.endswith(b'0\r\n\r\n')
        assert b'next' not in client.received


def test_a_handler_may_catch_a_malformed_body_and_still_nothing_more_is_read(app):
    @app.route('/catch', methods=['POST'])
    def catch(request):
        try:
            yield request.body()
        except ProtocolError as error:
            yield f'caught {error.status}'

    with virtual(app) as host:
        client = host.connect(request('/catch', 'POST', 'Transfer-Encoding: chunked')
                              + b'zz\r\n' + request('/now/next'))
        client.until_ended()
        answer, = answers(client.received)
        assert answer.body == b'caught 400'
        assert answer.headers['connection'] == 'close'


def test_a_body_that_ends_early_is_400_for_the_reader(app):
    with virtual(app) as host:
        client = host.connect(request('/size', 'POST', 'Content-Length: 10') + b'12345')
        client.fin()
        client.until_ended()
        answer, = answers(client.received)
        assert answer.status == 400


def test_a_read_left_waiting_when_the_answer_ends_raises_stream_closed(app):
    seen = []

    @app.route('/spawn', methods=['POST'])
    def spawner(request):
        from tremolo import spawn

        def reader():
            try:
                yield request.read()
            except StreamClosed as error:
                seen.append(error)

        spawn(reader())
        return 'gone'

    with virtual(app) as host:
        client = host.connect(request('/spawn', 'POST', 'Content-Length: 5'))
        assert client.take().body == b'gone'
        client.send(b'abcde' + request('/now/next'))
        assert client.take().body == b'next'
        assert len(seen) == 1


def test_reading_after_the_answer_ended_raises_stream_closed(app):
    kept = []

    @app.route('/keep', methods=['POST'])
    def keep(request):
        kept.append(request)
        return 'kept'

    with virtual(app) as host:
        client = host.connect(request('/keep', 'POST', body=b'abc') + request('/now/next'))
        client.take()
        client.take()
        with pytest.raises(StreamClosed):
            future = kept[0].read()
            future.result()


@pytest.mark.parametrize('lines', [(), ('Connection: close',)])
def test_a_job_that_waits_for_the_body_learns_at_once_that_the_answer_has_ended(lines):
    # (When the connection was not kept, it waited until the client had gone.)
    app, found = Tremolo(), []

    def job(request):
        try:
            while (yield request.read()):
                pass
        except StreamClosed:
            found.append(host.now)

    @app.route('/', methods=['POST'])
    def handler(request):
        spawn(job(request))
        return 'answered'

    with virtual(app) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 9', *lines) + b'1234')
        client.lingers = True
        assert client.take().body == b'answered'
        now = host.now
        host.advance(1)
        assert found and found[0] <= now

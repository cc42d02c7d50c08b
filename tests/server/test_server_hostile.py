"""Hostile clients: who leaves at every point, floods, dribbles, and does everything at random."""

from __future__ import annotations

import contextlib
import random

import pytest
from server_support import Incomplete, answers, chunked, read_answer, request, serving, virtual
from simulated import World

from tremolo import Cancelled, Tremolo, pace, sleep


def make_app() -> Tremolo:
    app = Tremolo()
    app.context.open = 0

    @app.route('/now/<name>', methods=['GET', 'POST'])
    def now(name):
        return name

    @app.route('/wait/<name>', methods=['GET', 'POST'])
    def wait(name):
        app.context.open += 1
        try:
            yield sleep(0.3)
            yield name
        finally:
            app.context.open -= 1

    @app.route('/stream/<name>', methods=['GET', 'POST'])
    def stream(name, stream=True):
        app.context.open += 1
        try:
            for _ in range(20):
                yield f'{name},'
                yield sleep(0.05)
        finally:
            app.context.open -= 1

    @app.route('/big/<name>', methods=['GET', 'POST'])
    def big(name):
        app.context.open += 1
        try:
            for _ in range(100):
                yield name * 10
        finally:
            app.context.open -= 1

    @app.route('/read/<name>', methods=['GET', 'POST'])
    def read(name, request):
        app.context.open += 1
        try:
            yield request.body()
            yield name
        finally:
            app.context.open -= 1

    @app.route('/echo/<name>', methods=['GET', 'POST'])
    def echo(name, request, stream=True):
        app.context.open += 1
        try:
            while True:
                data = yield request.read(100)
                if not data:
                    break
                yield data
            yield name
        finally:
            app.context.open -= 1
            yield sleep(0.1)

    @app.route('/stubborn/<name>', methods=['GET', 'POST'])
    def stubborn(name):
        try:
            yield sleep(0.3)
        except Cancelled:
            yield sleep(0.3)
        yield name

    return app


@pytest.fixture
def app() -> Tremolo:
    return make_app()


def settled(host, app, seconds=40):
    """See that nothing is left when all clients have gone."""
    host.advance(seconds)
    assert not host.server.connections
    assert not host.reactor.tasks
    assert app.context.open == 0
    if host.server.draining:
        assert host.server.stopped.done()
        return
    assert host.connect(request('/now/alive')).take().body == b'alive'


WHOLE = (request('/wait/a') + request('/echo/b', 'POST', 'Transfer-Encoding: chunked')
         + chunked(b'one', b'two') + request('/read/c', 'POST', body=b'body'))


@pytest.mark.parametrize('end', ['reset', 'close', 'fin'])
def test_a_client_leaves_at_every_byte(app, end):
    with virtual(app) as host:
        for size in range(len(WHOLE) + 1):
            client = host.connect(WHOLE[:size])
            host.advance(0.01)
            {'reset': client.reset, 'close': client.close, 'fin': client.fin}[end]()
        settled(host, app)
        assert sum(host.closed.values()) == len(WHOLE) + 1


@pytest.mark.parametrize('end', ['reset', 'close', 'fin'])
def test_a_client_leaves_at_every_moment(app, end):
    with virtual(app, World(latency=0.01)) as host:
        for step in range(60):
            client = host.connect(WHOLE + request('/stream/d') + request('/big/e') * 20)
            host.advance(step * 0.05)
            {'reset': client.reset, 'close': client.close, 'fin': client.fin}[end]()
        settled(host, app)


@pytest.mark.parametrize('seed', range(40))
def test_clients_that_do_everything_at_random_get_right_answers_or_none(seed):
    """Each answer is that of its request, in order, and nothing is left behind."""
    app = make_app()
    dice = random.Random(seed)
    world = World(seed=seed, latency=dice.choice([0, 0.01, 0.1]), jitter=dice.choice([0, 0.05]),
                  buffer_size=dice.choice([500, 5000, 65536]),
                  largest_piece=dice.choice([0, 7, 1000]))
    with virtual(app, world, pipeline_size=dice.choice([100, 65536]),
                 buffer_size=dice.choice([100, 16384]), discard_size=dice.choice([0, 1000]),
                 idle_timeout=dice.choice([0.2, 5]), half_close_timeout=0.5) as host:
        players = []
        for number in range(6):
            client = host.connect()
            players.append((client, []))
            for _ in range(dice.randrange(1, 8)):
                client.send(_random_request(dice, number, players[-1][1]))
        for _ in range(30):
            host.advance(dice.choice([0, 0.01, 0.2, 1]))
            client, _ = dice.choice(players)
            action = dice.randrange(6)
            if action == 0:
                client.fin()
            elif action == 1 and dice.random() < 0.3:
                client.reset()
            elif action == 2:
                client.reading = not client.reading
            elif action == 3 and dice.random() < 0.05:
                host.server.drain()
        for client, _ in players:
            client.reading = True
        host.advance(120)
        for client, sent in players:
            _check(client, sent)
            client.close()
        settled(host, app)


def _random_request(dice: random.Random, number: int, sent: list[tuple[str, bytes]]) -> bytes:
    kind = dice.choice(['now', 'wait', 'stream', 'big', 'read', 'echo', 'stubborn'])
    name = f'{number}-{len(sent)};'
    body = bytes(dice.randrange(97, 123) for _ in range(dice.choice([0, 1, 50, 600])))
    expected = {'stream': f'{name},' * 20, 'big': name * 1000}.get(kind, name).encode()
    sent.append((kind, body + expected if kind == 'echo' else expected))
    path = f'/{kind}/{name}'
    if dice.random() < 0.3:
        return request(path) if not body or kind != 'echo' else request(path, 'POST', body=body)
    lines = ['Expect: 100-continue'] if dice.random() < 0.1 else []
    if dice.random() < 0.5:
        return request(path, 'POST', 'Transfer-Encoding: chunked', *lines) + chunked(
            *[body] * bool(body))
    return request(path, 'POST', *lines, body=body)


def _check(client, sent: list[tuple[str, bytes]]) -> None:
    data = client.received
    for kind, expected in sent:
        if not data:
            return
        try:
            answer, data = read_answer(data, 'GET', False)
            while answer.status == 100:
                answer, data = read_answer(data, 'GET', False)
        except Incomplete:
            # Only an answer that was cut may be incomplete.
            assert client.ended
            return
        assert answer.status in (200, 400, 408), answer
        if answer.status != 200:
            assert data == b''
            return
        assert answer.body == expected, kind
    assert not data


def flood(host):
    client = host.connect(receive_buffer=4096)
    client.sock.setblocking(False)
    data = request('/big/' + 'x' * 100) * 5000
    # (Until it takes no more, or has cut us already.)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while data:
            data = data[client.sock.send(data):]


def test_a_flood_of_pipelined_requests_that_is_never_read_is_bounded(app):
    with serving(app, rate_grace=100, idle_timeout=100) as host:
        for _ in range(5):
            flood(host)
        assert host.connect(request('/now/alive')).take().body == b'alive'
        held = host.on_loop(lambda: [
            each.stream.buffered + each.parser.buffered for each in host.server.connections])
        assert max(held) < 1_000_000


def test_a_flood_of_pipelined_requests_that_is_never_read_is_cut(app):
    with serving(app, rate_grace=0.1, stall_timeout=0.2) as host:
        for _ in range(5):
            flood(host)
        host.wait_for(lambda: host.server.closed['stall_timeout'] == 5)


def test_a_slow_loris_holds_a_connection_but_nobody_else(app):
    with virtual(app, head_timeout=10) as host:
        lorises = [host.connect(b'GET / HTTP/1.1\r\nHost: x\r\n') for _ in range(200)]
        for _ in range(9):
            for each in lorises:
                each.send(b'X: y\r\n')
            assert host.connect(request('/now/alive')).take().body == b'alive'
            host.advance(1)
        host.advance(2)
        assert all(answers(each.received)[0].status == 408 for each in lorises)


def test_a_byte_a_minute_is_too_slow_everywhere(app):
    with virtual(app, stall_timeout=59) as host:
        head = host.connect(request('/now/a')[:15])
        body = host.connect(request('/read/a', 'POST', 'Content-Length: 100'))
        chunk = host.connect(request('/read/a', 'POST', 'Transfer-Encoding: chunked'))
        unread = host.connect(request('/now/a', 'POST', 'Content-Length: 100'))
        for _ in range(3):
            for client in (head, body, chunk, unread):
                client.send(b'1')
            host.advance(60)
        assert answers(head.received)[0].status == 408
        assert answers(body.received)[0].status == 408
        assert answers(chunk.received)[0].status == 408
        assert answers(unread.received)[0].body == b'a'
        assert not host.server.connections


@pytest.mark.parametrize('data', [
    b'1;' + b'x' * 10_000_000, b'0' * 10_000_000, b'0\r\n' + b'A: b\r\n' * 100_000,
    b'1;a=b\r\nx\r\n' * 100_000, b'ffffffffffffffff\r\n' + b'x' * 1000,
    b'fffffffffffffffff\r\n', b'0\r\nX: ' + b'x' * 1_000_000])
def test_giant_chunk_heads_and_trailers_are_refused_soon(app, data):
    with virtual(app) as host:
        client = host.connect(request('/read/a', 'POST', 'Transfer-Encoding: chunked') + data)
        client.until_ended()
        assert answers(client.received)[0].status in (400, 408, 413, 431)


def test_a_handler_that_raises_in_finally_for_every_client_that_leaves(app, logged, monkeypatch):
    monkeypatch.setattr(pace, 'MOST_LINES', 20)    # (More would be counted: tests/test_pace.py.)

    @app.route('/fail')
    def fail():
        try:
            yield b'x'
            yield sleep(10)
        finally:
            raise ValueError

    with virtual(app) as host:
        for _ in range(20):
            client = host.connect(request('/fail'))
            client.until(b'x')
            client.reset()
        settled(host, app)
        assert logged.count('failed on GET') == 20


def test_a_handler_that_yields_for_ever_to_a_client_that_left_is_ended(app, logged):
    @app.route('/deaf')
    def deaf():
        while True:
            host.world.now += 0.01
            try:
                yield b'x' * 100_000
                yield None
            except Cancelled:
                continue

    with virtual(app) as host:
        client = host.connect(request('/deaf'))
        client.until(b'x')
        client.reset()
        settled(host, app, 20)


def test_two_hundred_connections_at_once_over_real_sockets(app):
    with serving(app) as host:
        clients = [host.connect(request(f'/now/{n}') * 5) for n in range(200)]
        for n, client in enumerate(clients):
            assert [client.take().body for _ in range(5)] == [b'%d' % n] * 5

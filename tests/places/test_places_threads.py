"""Threads: whoever sends or reads slowly holds none that others need, and what waits is bounded."""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from server_support import PATIENCE, chunked, request, serving

from tremolo import Tremolo, run_in_thread, sleep
from tremolo.loop import waits
from tremolo.loop.timers import NEVER
from tremolo.loop.waits import WAITING_MOST
from tremolo.wsgi.pool import Pool
from tremolo.wsgi_app import WsgiApplication

QUEUE_MOST = 48    # (1,024 clients would take a while.)
KINDS = pytest.mark.parametrize('kind', ['native', 'wsgi'])
PIECE = bytes(65536)
SOME = b'0123456789'
HANDSHAKE = ('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
             'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')


@pytest.fixture(autouse=True)
def short_queue(monkeypatch: Any) -> None:
    monkeypatch.setattr(waits, 'QUEUE_MOST', QUEUE_MOST)


class Scene:
    """An application whose handlers are in threads, and what they tell. `go` lets them go on."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = threading.Event()

    def native(self) -> Tremolo:
        app = Tremolo()

        @app.route('/quick', methods=['GET', 'POST'])
        def quick(thread=True):
            return 'quick'

        @app.route('/held')
        def held(thread=True):
            self.begun.append('held')
            self.go.wait(PATIENCE)
            return 'held'

        @app.route('/read', methods=['POST'])
        def read(request, thread=True):
            self.begun.append('read')
            size = 0
            while data := request.read().result():
                size += len(data)
            return str(size)

        @app.route('/send')
        def send(response, thread=True):
            self.begun.append('send')
            for _ in range(100):
                response.write(PIECE).result()
            response.end()

        @app.route('/events')
        def events(sse, thread=True):
            while True:
                sse.send('x' * 1_000_000).result()

        @app.route('/socket')
        def socket(websocket, thread=True):
            websocket.accept().result()
            for message in iter(lambda: websocket.receive().result(), None):
                websocket.send(message).result()

        @app.route('/nested')
        def nested(thread=True):
            def inner(depth: int) -> int:
                return depth and 1 + run_in_thread(inner, depth - 1).result()
            return str(inner(3))

        return app

    def wsgi(self) -> WsgiApplication:
        def app(environ: Any, start_response: Any) -> Any:
            name = environ['PATH_INFO'][1:]
            start_response('200 OK', [('Content-Type', 'text/plain')])
            if name == 'quick':
                return [b'quick']
            self.begun.append(name)
            if name == 'read':
                data = environ['wsgi.input'].read()
                return [b'%d' % len(data)]
            if name == 'send':
                return (PIECE for _ in range(100))
            self.go.wait(PATIENCE)
            return [b'held']

        return WsgiApplication(app)


class Threads:
    """How many threads of a pool there are, wait for clients, and how many calls wait for one."""

    def __init__(self, host: Any, kind: str) -> None:
        self.host = host
        self.wsgi = kind == 'wsgi'

    def count(self) -> int:
        pool: Any = Pool.of(self.host.reactor) if self.wsgi else self.host.reactor.pool
        return len(pool._threads) if self.wsgi else len(pool._busy) + len(pool._idle)

    def waiting(self) -> int:
        pool: Any = Pool.of(self.host.reactor) if self.wsgi else self.host.reactor.pool
        return 0 if pool is None else len((pool.waits if self.wsgi else pool._waits).events)

    def queued(self) -> int:
        pool: Any = Pool.of(self.host.reactor) if self.wsgi else self.host.reactor.pool
        return len(pool.calls) if self.wsgi else pool._queued

    def settle(self, most: int) -> None:
        self.host.wait_for(lambda: self.count() <= most and not self.waiting())


def ask(host: Any, target: str = '/quick') -> Any:
    client = host.connect(request(target))
    answer = client.take()
    client.close()
    return answer


def scene(kind: str, **options: Any) -> tuple[Scene, Any]:
    stage = Scene()
    return stage, serving(getattr(stage, kind)(), **options)


# -- the body first -------------------------------------------------------------------------------

@KINDS
@pytest.mark.parametrize('framing', ['length', 'chunks'])
def test_forty_slow_uploads_take_no_thread_before_they_are_whole(kind, framing):
    stage, served = scene(kind, threads=2)
    wire = request('/read', 'POST', body=SOME)
    if framing == 'chunks':
        wire = request('/read', 'POST', 'Transfer-Encoding: chunked') + chunked(SOME[:5], SOME[5:])
    with served as host:
        clients = [host.connect(wire[:-6]) for _ in range(40)]
        host.wait_for(lambda: sum(each.request_body is not None
                                  for each in host.server.connections) == 40)
        assert host.on_loop(lambda: {each.task.where() for each in host.server.connections}) == \
            {'waiting for its body'}
        assert ask(host).body == b'quick'
        assert stage.begun == []
        for client in clients:
            client.send(wire[-6:])
        assert [client.take().body for client in clients] == [b'10'] * 40
        assert Threads(host, kind).count() <= 2


@KINDS
def test_a_body_that_has_come_before_its_thread_is_read_in_each_way(kind):
    _, served = scene(kind, body_buffer_size=200_000)
    # As much as is collected, a byte more, and what came at once.
    with served as host:
        for size in 1, 65536, 199_999, 200_000, 200_001, 1_000_000:
            for wire in (request('/read', 'POST', body=bytes(size)),
                         request('/read', 'POST', 'Transfer-Encoding: chunked')
                         + chunked(*[bytes(7000)] * (size // 7000), b'last')):
                client = host.connect(wire[:30])
                client.send(wire[30:-3])
                client.send(wire[-3:] + request('/quick'))
                found = size if b'Content-Length' in wire else size // 7000 * 7000 + 4
                assert client.take().body == b'%d' % found
                assert client.take().body == b'quick'    # (The connection goes on.)


@KINDS
def test_a_handler_that_does_not_read_has_its_body_before_it_too(kind):
    _, served = scene(kind)
    with served as host:
        client = host.connect(request('/quick', 'POST', 'Content-Length: 10') + b'part')
        client.send(b'of it.')
        assert client.take().body == b'quick'
        assert ask(host).body == b'quick'


@KINDS
def test_a_client_that_asks_first_is_answered_by_the_head_alone(kind):
    _, served = scene(kind)
    with served as host:
        client = host.connect(request('/quick', 'POST', 'Content-Length: 10',
                                      'Expect: 100-continue'))
        assert client.take().body == b'quick'


@KINDS
@pytest.mark.parametrize('leave', ['reset', 'stalls', 'late'])
def test_a_client_that_leaves_before_its_body_is_whole_never_takes_a_thread(kind, leave, logged):
    options = {'handler_timeout': 0.02} if leave == 'late' else {}
    stage, served = scene(kind, threads=1, **options)
    with served as host:
        client = host.connect(request('/read', 'POST', 'Content-Length: 10') + b'part')
        host.wait_for(lambda: any(each.request_body is not None and each.request_body.reading
                                  for each in host.server.connections))
        if leave == 'late':
            assert client.take().status == 503
            client.close()
        elif leave == 'reset':
            client.reset()
        else:
            host.on_loop(lambda: [each.abort('stall_timeout') for each in
                                  list(host.server.connections)])
        host.wait_for(lambda: not host.server.connections)
        assert leave == 'late' or ask(host).body == b'quick'
    assert stage.begun == []
    assert leave == 'late' or not logged.messages


@KINDS
def test_a_body_that_ends_too_early_is_an_error_to_the_handler(kind):
    """Its client may still take an answer."""
    stage, served = scene(kind)
    with served as host:
        client = host.connect(request('/read', 'POST', 'Content-Length: 10') + b'part')
        client.fin()
        assert client.take().status == 400
    assert stage.begun == ['read']


def test_the_handler_runs_in_the_context_of_its_middleware():
    variable: ContextVar[str] = ContextVar('variable', default='none')
    app = Tremolo()

    @app.middleware
    def around(request):
        variable.set('of the request')
        yield

    @app.route('/', methods=['POST'])
    def index(request, thread=True):
        return variable.get() + request.body().result().decode()

    with serving(app) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 2') + b':')
        client.send(b')')
        assert client.take().body == b'of the request:)'


def test_an_error_handler_in_a_thread_does_not_wait_for_the_body():
    app = Tremolo()

    @app.error(404)
    def missing(thread=True):
        return 'nothing here'

    with serving(app) as host:
        client = host.connect(request('/', 'POST', 'Content-Length: 10') + b'part')
        assert client.take().body == b'nothing here'


@KINDS
def test_a_server_that_stops_waits_for_the_body_and_the_answer(kind):
    stage, served = scene(kind, threads=1)
    with served as host:
        client = host.connect(request('/read', 'POST', 'Content-Length: 10') + b'part')
        host.wait_for(lambda: any(each.request_body is not None and each.request_body.reading
                                  for each in host.server.connections))
        host.on_loop(lambda: host.server.drain() and None)
        assert stage.begun == []
        client.send(b'of it.')
        assert client.take().body == b'10'


def test_a_long_body_in_chunks_that_nobody_reads_ends_the_connection():
    """So the client knows before it sends the next request (server/early_answer.py)."""
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def index(response, thread=True):
        response.write('not read').result()
        response.end()

    with serving(app, body_buffer_size=4) as host:
        head = request('/', 'POST', 'Transfer-Encoding: chunked')
        client = host.connect(head + b'5\r\n12345\r\n')
        assert client.take().headers['connection'] == 'close'


# -- threads that wait for clients ----------------------------------------------------------------

def begin(host: Any, what: str, count: int) -> list[Any]:
    """Begin so many requests whose threads will wait for their clients."""
    heads = {
        # (Longer than `body_buffer_size`, so the thread begins.)
        'upload': request('/read', 'POST', 'Content-Length: 10') + b'part',
        'expects': request('/read', 'POST', 'Content-Length: 10', 'Expect: 100-continue'),
        'reader': request('/send'),
        'events': request('/events'),
        'socket': request('/socket', 'GET', *HANDSHAKE),
    }
    return [host.connect(heads[what], 4096 if what in ('reader', 'events') else 0)
            for _ in range(count)]


@pytest.mark.parametrize('kind, what', [
    ('native', 'upload'), ('native', 'expects'), ('native', 'reader'), ('native', 'events'),
    ('native', 'socket'), ('wsgi', 'upload'), ('wsgi', 'expects'), ('wsgi', 'reader')])
def test_threads_that_wait_for_their_clients_leave_their_places_to_others(kind, what):
    _, served = scene(kind, threads=2, body_buffer_size=4)
    with served as host:
        threads = Threads(host, kind)
        # (To fill the buffers of more takes seconds.)
        count = 5 if what in ('events', 'reader') else 12
        clients = begin(host, what, count)
        host.wait_for(lambda: threads.waiting() == count)
        for _ in range(5):
            assert ask(host).body == b'quick'
        assert threads.count() <= 14
        if kind == 'native':
            assert ask(host, '/nested').body == b'3'
        for client in clients:
            if what == 'upload':
                client.send(b'of it.')
                assert client.take().body == b'10'
            client.reset()
        threads.settle(2)
        assert ask(host).body == b'quick'


@pytest.mark.parametrize('kind, what', [
    ('native', 'upload'), ('native', 'socket'), ('wsgi', 'upload')])
def test_beyond_the_bound_is_503_and_afterwards_all_is_well(kind, what, caplog):
    caplog.set_level(logging.INFO, 'tremolo.server')
    _, served = scene(kind, threads=1, body_buffer_size=4)
    with served as host:
        threads = Threads(host, kind)
        clients = begin(host, what, WAITING_MOST + 1)
        host.wait_for(lambda: threads.waiting() == WAITING_MOST + 1)
        refused = host.connect(request('/quick') * 2)
        for answer in refused.take(), refused.take():    # (Its connection goes on.)
            assert (answer.status, answer.headers['retry-after']) == (503, '1')
        if kind == 'native':
            # The pool still does what the program itself asks for, and what jobs ask for.
            others = [request('/socket', 'GET', *HANDSHAKE), request('/events')]
            assert [host.connect(each).take().status for each in others] == [503, 503]
        clients.pop().reset()
        host.wait_for(lambda: threads.waiting() == WAITING_MOST)
        refused.send(request('/quick'))
        assert refused.take().body == b'quick'
        for client in clients:
            client.reset()
        threads.settle(1)
        assert ask(host).body == b'quick'
    assert 'refused: 503: no thread is free (threads)' in caplog.text


@KINDS
def test_what_waits_for_a_thread_has_a_bound(kind):
    stage, served = scene(kind, threads=1)
    with served as host:
        threads = Threads(host, kind)
        held = host.connect(request('/held'))
        host.wait_for(lambda: stage.begun == ['held'])
        waiting = [host.connect(request('/quick')) for _ in range(QUEUE_MOST)]
        host.wait_for(lambda: threads.queued() == QUEUE_MOST)
        late = host.connect(request('/quick', 'POST', 'Content-Length: 10'))
        answer = late.take()    # (Before its body has come.)
        assert (answer.status, answer.headers['retry-after']) == (503, '1')
        stage.go.set()
        assert [client.take().body for client in [held, *waiting]] == \
            [b'held'] + [b'quick'] * QUEUE_MOST
        assert threads.queued() == 0
        assert ask(host).body == b'quick'


@KINDS
def test_a_body_that_is_whole_too_late_is_503(kind):
    stage, served = scene(kind, threads=1)
    with served as host:
        threads = Threads(host, kind)
        late = host.connect(request('/quick', 'POST', 'Content-Length: 10') + b'part')
        host.wait_for(lambda: any(each.request_body is not None and each.request_body.reading
                                  for each in host.server.connections))
        host.connect(request('/held'))
        host.wait_for(lambda: stage.begun == ['held'])
        for _ in range(QUEUE_MOST):
            host.connect(request('/quick'))
        host.wait_for(lambda: threads.queued() == QUEUE_MOST)
        late.send(b'of it.')
        assert late.take().status == 503
        stage.go.set()


@KINDS
def test_a_client_that_leaves_the_queue_is_taken_out_at_once(kind):
    stage, served = scene(kind, threads=1, limit_concurrency=3)
    with served as host:
        threads = Threads(host, kind)
        held = host.connect(request('/held'))
        host.wait_for(lambda: stage.begun == ['held'])
        for _ in range(5):
            client = host.connect(request('/held'))
            host.wait_for(lambda: threads.queued() == 1)
            client.reset()
            host.wait_for(lambda: threads.queued() == 0)
            host.wait_for(lambda: len(host.server.places._busy) == 1)
        stage.go.set()
        assert held.take().body == b'held'
        assert ask(host).body == b'quick'
    assert stage.begun == ['held']


def test_reading_what_is_there_gives_no_place_away():
    app, lock, inside, most = Tremolo(), threading.Lock(), 0, 0

    @app.route('/', methods=['POST'])
    def index(request, response, thread=True):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        body = request.body().result()
        response.write(body).result()
        with lock:
            inside -= 1
        response.end()

    with serving(app, threads=2) as host:
        # (Where turns are rationed, what a client has asked for may wait longer.)
        host.on_loop(lambda: setattr(host.reactor, 'long_turn', NEVER))
        clients = [host.connect() for _ in range(20)]
        for _ in range(3):
            for client in clients:
                client.send(request('/', 'POST', body=SOME))
            assert {client.take().body for client in clients} == {SOME}
    assert most == 2


def test_handlers_that_wait_for_anything_leave_their_places_and_jobs_go_on():
    """All threads wait, the queue is full, and what they wait for needs threads: no deadlock."""
    app, gate = Tremolo(), []

    def deep(depth: int) -> int:
        return depth and 1 + run_in_thread(deep, depth - 1).result()

    @app.route('/')
    def index(request, thread=True):
        gate.append(1)
        while len(gate) < 6:    # (All of them are inside, though there are two threads.)
            sleep(0.001).result()
            deep(2)
        return str(deep(5))

    with serving(app, threads=2) as host:
        clients = [host.connect(request()) for _ in range(6)]
        assert [client.take().body for client in clients] == [b'5'] * 6
        Threads(host, 'native').settle(2)


def test_jobs_within_a_handler_refuse_nobody():
    """They are in threads beside those that wait, as many as the handler begins."""
    app, go = Tremolo(), threading.Event()

    @app.route('/')
    def index(thread=True):
        def inner() -> None:
            while not go.is_set():
                sleep(0.001).result()
        jobs = [run_in_thread(inner) for _ in range(2 * WAITING_MOST + 4)]
        return str([job.result() for job in jobs].count(None))

    @app.route('/quick')
    def quick(thread=True):
        return 'quick'

    with serving(app, threads=2) as host:
        client = host.connect(request())
        host.wait_for(lambda: host.reactor.pool and len(host.reactor.pool._busy) > 20)
        assert ask(host).body == b'quick'
        go.set()
        assert client.take().body == b'20'
        Threads(host, 'native').settle(2)


def test_jobs_of_generators_that_wait_for_clients_leave_their_places():
    app = Tremolo()

    @app.route('/', methods=['POST'])
    def index(request):
        def size() -> int:
            return len(request.body().result())
        return str((yield run_in_thread(size)))

    @app.route('/quick')
    def quick(thread=True):
        return 'quick'

    with serving(app, threads=1) as host:
        clients = [host.connect(request('/', 'POST', 'Content-Length: 10')) for _ in range(5)]
        host.wait_for(lambda: Threads(host, 'native').waiting() == 5)
        assert ask(host).body == b'quick'
        for client in clients:
            client.send(SOME)
            assert client.take().body == b'10'


def test_the_503_of_a_mounted_wsgi_application_goes_through_what_stands_around_it():
    app, stage = Tremolo(), Scene()
    app.mount('/sub', stage.wsgi())

    @app.error(503)
    def busy(error):
        return 'come back later'

    with serving(app, threads=1) as host:
        host.connect(request('/sub/held'))
        host.wait_for(lambda: stage.begun == ['held'])
        waiting = [host.connect(request('/sub/quick')) for _ in range(QUEUE_MOST)]
        host.wait_for(lambda: len(Pool.of(host.reactor).calls) == QUEUE_MOST)
        answer = ask(host, '/sub/quick')
        assert (answer.status, answer.body) == (503, b'come back later')
        assert answer.headers['retry-after'] == '1'
        stage.go.set()
        assert {client.take().body for client in waiting} == {b'quick'}

"""limit_concurrency: a request too many is refused at once, and those in progress are counted."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest
from server_support import chunked, request, serving, virtual

from tremolo import Future, Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.settings import Settings


class Held:
    """An application whose requests wait until they are told to go on."""

    def __init__(self) -> None:
        self.app = Tremolo()
        self.called = 0
        self.waiting: list[Future] = []
        self.app.route('/hold', methods=['GET', 'POST'])(self.hold)
        self.app.route('/stream')(self.stream)
        self.app.route('/', methods=['GET', 'POST'])(self.at_once)

    def wait(self, reactor) -> Future:
        self.waiting.append(Future(reactor))
        return self.waiting[-1]

    def hold(self, reactor):
        self.called += 1
        yield (yield self.wait(reactor))

    def stream(self, reactor):
        self.called += 1
        yield b'x' * 100_000
        yield (yield self.wait(reactor))

    def at_once(self):
        self.called += 1
        return 'at once'

    def release(self, value=b'held', error=None) -> None:
        future = self.waiting.pop(0)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)


@pytest.fixture
def held() -> Held:
    return Held()


def busy(host, path='/hold'):
    """A client whose request is being answered."""
    client = host.connect(request(path))
    host.advance(0.01)
    return client


def refused(host, held, data=None, method='GET'):
    """Ask, expect to be refused, and return all that was received."""
    called = held.called
    client = host.connect(data or request('/', method))
    answer = client.take(method)
    assert (answer.status, answer.headers['connection']) == (503, 'close')
    client.until_ended()
    assert client.ended == 'fin'
    assert held.called == called
    return answer, client.received


def busy_of(host):
    return sum(each.response is not None for each in host.server.connections)


def served(host):
    client = host.connect(request())
    assert client.take().status == 200
    client.close()


def test_it_is_off_and_then_nothing_stands_before_the_application(held):
    with virtual(held.app) as host:
        # What the server calls is the application's own, whatever kind of application it is.
        assert host.server.handle.__self__.__class__.__module__ in (
            'tremolo.web.dispatcher', 'tremolo.asgi.runner')
        assert host.server.request_observers == []
        clients = [busy(host) for _ in range(200)]
        assert held.called == len(clients)


def test_a_request_too_many_is_refused_at_once_and_its_handler_not_called(held):
    with virtual(held.app, limit_concurrency=2) as host:
        first, second = busy(host), busy(host)
        start = host.now
        answer, rest = refused(host, held)
        assert b'503 Service Unavailable' in answer.body and not rest
        assert host.now - start < 0.01
        held.release()
        assert first.take().body == b'held'
        served(host)
        third = busy(host)
        refused(host, held)
        held.release()
        held.release()
        assert second.take().body == third.take().body == b'held'


def test_answers_that_are_given_at_once_do_not_count(held):
    with virtual(held.app, limit_concurrency=1) as host:
        client = host.connect(request() * 50)
        assert [client.take().body for _ in range(50)] == [b'at once'] * 50
        busy(host)
        client.send(request())
        assert client.take().status == 503


def test_a_refused_head_request_gets_no_body(held):
    with virtual(held.app, limit_concurrency=1) as host:
        busy(host)
        assert refused(host, held, method='HEAD')[1] == b''


@pytest.mark.parametrize('data', [
    request('/', 'POST', 'Expect: 100-continue', 'Content-Length: 5'),
    request('/', 'POST', 'Content-Length: 1000000000') + b'x' * 100_000,
    request('/', 'POST', 'Transfer-Encoding: chunked', body=chunked(b'a' * 1000) + b'nonsense'),
    request('/', 'POST', body=b'12345') + request(),
    request() + request('/hold'),
    request('/', 'GET', 'Connection: keep-alive', version='1.0'),
], ids=['expect', 'large', 'chunked', 'sized', 'pipelined', 'old'])
def test_nothing_that_follows_a_refused_head_is_read(held, data):
    with virtual(held.app, limit_concurrency=1) as host:
        busy(host)
        start = host.now
        assert refused(host, held, data)[1] == b''
        assert host.now - start < 0.1


def test_a_connection_does_not_count_twice(held):
    with virtual(held.app, limit_concurrency=1) as host:
        client = busy(host)
        for _ in range(3):
            held.release()
            assert client.take().body == b'held'
            client.send(request('/hold'))
            host.advance(0.01)
        refused(host, held)
        # Two at once on one connection are answered one after the other.
        client.send(request('/hold') * 2)
        for _ in range(3):
            held.release()
            assert client.take().body == b'held'
            host.advance(0.01)
        assert not held.waiting


@pytest.mark.parametrize('path', ['/hold', '/stream'])
@pytest.mark.parametrize('leave', ['close', 'reset', 'fin'])
def test_a_client_that_left_does_not_count(held, path, leave):
    with virtual(held.app, limit_concurrency=2, half_close_timeout=0.5) as host:
        busy(host)
        client = busy(host, path)
        refused(host, held)
        getattr(client, leave)()
        host.advance(1)
        served(host)
        busy(host)
        refused(host, held)


@pytest.mark.parametrize('path', ['/hold', '/stream'])
def test_a_handler_that_failed_does_not_count(held, logged, path):
    with virtual(held.app, limit_concurrency=1) as host:
        busy(host, path)
        refused(host, held)
        held.release(error=RuntimeError('failed'))
        host.advance(0.01)
        served(host)
        busy(host)
        refused(host, held)
        assert logged.count('failed') == 1


def test_a_handler_that_took_too_long_does_not_count(held, logged):
    with virtual(held.app, limit_concurrency=1, handler_timeout=5) as host:
        client = busy(host)
        host.advance(4)
        refused(host, held)
        host.advance(2)
        assert client.take().status == 503
        served(host)
        busy(host)
        refused(host, held)
        assert logged.count('handler_timeout') == 1


def test_a_body_that_came_too_slowly_does_not_count(held):
    @held.app.route('/upload', methods=['POST'])
    def upload(request):
        yield str(len((yield request.body())))

    with virtual(held.app, limit_concurrency=1, min_upload_rate=1000, rate_grace=1) as host:
        client = host.connect(request('/upload', 'POST', 'Content-Length: 10'))
        host.advance(0.1)
        refused(host, held)
        assert client.take().status == 408
        served(host)


def test_an_upgraded_connection_counts_until_it_ends(held):
    @held.app.route('/echo')
    def echo(response):
        stream = response.upgrade('echo')
        while True:
            data = yield stream.read(100)
            if not data:
                return
            stream.write(data)

    with virtual(held.app, limit_concurrency=1) as host:
        client = host.connect(request('/echo', 'GET', 'Connection: upgrade', 'Upgrade: echo'))
        client.until(b'101')
        refused(host, held)
        client.fin()
        client.until_ended()
        served(host)


def test_few_of_those_that_have_gone_are_kept(held):
    with virtual(held.app, limit_concurrency=1000) as host:
        for _ in range(10):
            clients = [busy(host) for _ in range(20)]
            for client in clients:
                client.reset()
            host.advance(0.01)
        # About twice as many as were ever busy at a time.
        assert len(host.server.handle.__self__._busy) <= 41


@pytest.mark.parametrize('seed', range(10))
def test_the_count_is_right_whatever_happens(held, seed):
    """A seeded run of arrivals, answers and departures, against a count that is plainly right."""
    rng = random.Random(seed)
    most = rng.choice([1, 2, 5, 20])
    with virtual(held.app, limit_concurrency=most) as host:
        clients = []
        for _ in range(150):
            action = rng.random()
            if clients and action < 0.15:
                clients.pop(rng.randrange(len(clients))).reset()
            elif clients and action < 0.35:
                waiting = [each for each in held.waiting if not each.done()]
                rng.choice(waiting).set_result(b'held')
                host.advance(0.01)
                held.waiting = [each for each in waiting if not each.done()]
                answered = next(each for each in clients if each.received)
                assert answered.take().body == b'held'
                clients.remove(answered)
            else:
                client = busy(host, rng.choice(['/hold', '/']))
                if len(clients) == most:
                    assert client.take().status == 503
                elif client.received:
                    assert client.take().body == b'at once'
                else:
                    clients.append(client)
            host.advance(0.01)
            # The generators of those that left were ended, and their Futures with them.
            held.waiting = [each for each in held.waiting if not each.done()]
            assert busy_of(host) == len(clients)


def test_threads_and_asyncio_count_too():
    app = Tremolo()
    go_on = threading.Event()
    begun = []

    @app.route('/thread')
    def thread(thread=True):
        begun.append(go_on)
        assert go_on.wait(10)
        return 'thread'

    @app.route('/async')
    async def wait():
        begun.append(go_on)
        while not go_on.is_set():
            await sleep(0.001)
        return 'async'

    with serving(app, limit_concurrency=2) as host:
        clients = [host.connect(request(path)) for path in ('/thread', '/async')]
        host.wait_for(lambda: len(begun) == 2)
        refusal, = host.ask(request('/thread'))
        assert (refusal.status, len(begun)) == (503, 2)
        go_on.set()
        assert [client.take().body for client in clients] == [b'thread', b'async']
        assert [host.connect(request('/thread')).take().status for _ in range(5)] == [200] * 5


def test_asgi_applications_count_too(logged):
    begun = []
    gate: list[asyncio.Event] = []

    async def app(scope, receive, send):
        begun.append(scope['path'])
        if not gate:
            gate.append(asyncio.Event())
        if scope['path'] == '/fails':
            await asyncio.sleep(0)
            raise RuntimeError('failed')
        if scope['path'] == '/listens':
            while (await receive())['type'] != 'http.disconnect':
                pass
            return
        if scope['path'] == '/waits':
            await gate[0].wait()
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'hello'})

    with serving(AsgiApplication(app), lifespan='off', limit_concurrency=2) as host:
        def status(path):
            return host.connect(request(path)).take().status

        waits = host.connect(request('/waits'))
        listens = host.connect(request('/listens'))
        host.wait_for(lambda: len(begun) == 2)
        refusal, = host.ask(request('/', 'POST', body=b'x' * 1000))
        assert (refusal.status, refusal.headers['connection'], len(begun)) == (503, 'close', 2)
        listens.reset()
        host.wait_for(lambda: busy_of(host) == 1)
        assert [status('/fails') for _ in range(3)] == [500] * 3
        assert [status('/') for _ in range(3)] == [200] * 3
        host.on_loop(gate[0].set)
        assert waits.take().body == b'hello'
        assert [status('/waits') for _ in range(3)] == [200] * 3


def test_it_is_an_option_like_any_other():
    assert Settings().limit_concurrency == 0
    assert Settings(limit_concurrency='off').limit_concurrency == 0
    assert Settings.load({}, {'TREMOLO_LIMIT_CONCURRENCY': '7'}).limit_concurrency == 7

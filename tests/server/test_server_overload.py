"""Too much of everything: each row of README's table of overload that has no test elsewhere.

    connections             test_rule_15_connections_have_a_cap_and_more_wait_in_the_kernel
    pipelined requests      test_rule_12_what_is_pipelined_is_bounded_and_reading_pauses
    limit_concurrency       test_server_concurrency.py; here: what the 503 says
    descriptors             test_loop_listener.py; here: that all are answered in the end
    the loop is held up     test_loop_full_polls.py; here: that nobody is cut for it
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from server_support import PATIENCE, Client, bodies, request, serving, virtual

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.loop import Reactor
from tremolo.polling import poller

CLOSE = request('/', 'GET', 'Connection: close')


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/wait')
    def wait():
        yield sleep(5)
        yield b'waited'

    return app


class Gate:
    """A handler that blocks its thread until it is let go; `begun` counts those inside."""

    def __init__(self, app: Tremolo, path: str, thread: bool) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

        def work(thread=thread):
            self.begun.release()
            assert self.opened.wait(PATIENCE)
            return 'worked'

        app.route(path)(work)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=PATIENCE)


# -- a 503 says when to come back -----------------------------------------------------------------


async def asgi(scope, receive, send):
    while (await receive())['type'] != 'http.disconnect':
        pass


@pytest.mark.parametrize('kind', ['native', 'ASGI'])
def test_a_request_too_many_is_told_when_to_come_back(app, kind):
    served = app if kind == 'native' else AsgiApplication(asgi)
    with serving(served, limit_concurrency=1, lifespan='off') as host:
        host.connect(request('/wait'))
        host.wait_for(lambda: any(each.phase == 'busy' for each in host.server.connections))
        answer, = host.ask(request())
        assert (answer.status, answer.headers['retry-after']) == (503, '1')
        assert answer.headers['connection'] == 'close'
        assert b'<title>503 Service Unavailable</title>' in answer.body
        for each in host.clients:
            each.reset()
        host.wait_for(lambda: not host.server.connections)


def test_a_handler_that_was_too_slow_is_no_reason_to_come_back_soon(app, logged):
    with virtual(app, handler_timeout=1) as host:
        answer, = host.ask(request('/wait'))
        assert answer.status == 503
        assert 'retry-after' not in answer.headers


# -- before a connection is accepted --------------------------------------------------------------


def test_who_does_not_fit_into_the_accept_queue_waits_and_is_answered(app):
    """Linux forgets such a client's SYN, and the client sends another one after a second."""
    gate = Gate(app, '/block', thread=False)
    with serving(app, backlog=2) as host:
        blocking = host.connect(request('/block'))
        gate.wait_for(1)
        received = []
        clients = [threading.Thread(target=lambda: received.append(host.ask(CLOSE)[0].body))
                   for _ in range(8)]
        for each in clients:
            each.start()
        probe = socket.socket()
        # All places are taken when one more does not get in at once.
        probe.settimeout(0.2)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                probe.connect(host.running.address)
            except OSError:
                break
            assert time.monotonic() < deadline
            probe.close()
            probe = socket.socket()
            probe.settimeout(0.2)
        probe.close()
        assert received == []
        gate.opened.set()
        for each in clients:
            each.join(PATIENCE)
        assert received == [b'hello'] * 8
        assert blocking.take().body == b'worked'


def test_a_full_queue_of_a_unix_socket_lets_connect_wait(app, tmp_path):
    gate = Gate(app, '/block', thread=False)
    with serving(app, bind=f'unix:{tmp_path}/s', backlog=1) as host:
        blocking = host.connect(request('/block'))
        gate.wait_for(1)
        waiting = []
        # Not to block: then it is told that it would have to wait.
        with pytest.raises(BlockingIOError) as told:
            for _ in range(100):
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(f'{tmp_path}/s')
        assert told.value.errno == errno.EAGAIN
        for each in waiting:
            each.close()
        gate.opened.set()
        assert blocking.take().body == b'worked'
        host.wait_for(lambda: sum(host.server.closed.values()) == len(waiting) - 1)
        assert host.ask(CLOSE)[0].body == b'hello'


def test_without_descriptors_all_wait_and_are_answered_in_their_turn(app, logged):
    with virtual(app) as host:
        clients = [host.connect(CLOSE) for _ in range(30)]
        network = host.world.network
        network.most_descriptors = len(network.sockets) + 3
        for each in clients:
            each.until_ended()
        assert all(bodies(each.received) == [b'hello'] for each in clients)
        assert host.now < 30
    assert logged.messages[0] == 'no new connections for now: Too many open files'


# -- threads --------------------------------------------------------------------------------------


@pytest.fixture
def few() -> int:
    """So many threads; 32 are as good, but slower to start."""
    return 4


def test_while_all_threads_are_busy_jobs_wait_and_the_others_are_answered(app, few):
    gate = Gate(app, '/thread', thread=True)
    with serving(app, threads=few) as host:
        clients = [host.connect(request('/thread')) for _ in range(3 * few)]
        gate.wait_for(few)
        host.wait_for(lambda: len(host.server.connections) == 3 * few)
        for _ in range(10):
            assert host.ask(CLOSE)[0].body == b'hello'
        assert not gate.begun.acquire(blocking=False)
        # One that leaves gives up its place in the queue.
        clients.pop().reset()
        host.wait_for(lambda: len(host.server.connections) == 3 * few - 1)
        gate.opened.set()
        assert [each.take().body for each in clients] == [b'worked'] * (3 * few - 1)
        gate.wait_for(2 * few - 1)
        assert not gate.begun.acquire(blocking=False)


def test_what_waits_for_a_thread_counts_for_the_limit(app, few):
    gate = Gate(app, '/thread', thread=True)
    with serving(app, threads=few, limit_concurrency=few + 2) as host:
        clients = [host.connect(request('/thread')) for _ in range(few + 2)]
        gate.wait_for(few)
        host.wait_for(lambda: sum(each.phase == 'busy' for each in host.server.connections)
                      == few + 2)
        answer, = host.ask(request('/thread'))
        assert (answer.status, answer.headers['retry-after']) == (503, '1')
        gate.opened.set()
        assert [each.take().body for each in clients] == [b'worked'] * (few + 2)


def test_a_handler_that_waits_too_long_for_a_thread_is_given_up(app, few, logged):
    gate = Gate(app, '/thread', thread=True)
    with serving(app, threads=few, handler_timeout=0.3) as host:
        clients = [host.connect(request('/thread')) for _ in range(few + 3)]
        gate.wait_for(few)
        assert {each.take().status for each in clients} == {503}
        host.on_loop(lambda: None)    # (The turn that gave up the last one is over.)
        gate.opened.set()
        assert host.ask(CLOSE)[0].body == b'hello'
    # The three that waited were never called.
    assert not gate.begun.acquire(blocking=False)


def test_the_threads_of_asyncio_are_a_queue_of_their_own_and_count_for_the_limit():
    begun, opened = threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        assert opened.wait(PATIENCE)

    async def answer(scope, receive, send):
        if scope['path'] == '/thread':
            asyncio.get_running_loop().set_default_executor(pool)
            await asyncio.to_thread(work)
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'done'})

    with ThreadPoolExecutor(2) as pool, \
            serving(AsgiApplication(answer), lifespan='off', limit_concurrency=6) as host:
        clients = [host.connect(request('/thread')) for _ in range(5)]
        for _ in range(2):
            assert begun.acquire(timeout=PATIENCE)
        host.wait_for(lambda: sum(each.phase == 'busy' for each in host.server.connections) == 5)
        assert host.ask(CLOSE)[0].body == b'done'
        clients.append(host.connect(request('/thread')))
        host.wait_for(lambda: sum(each.phase == 'busy' for each in host.server.connections) == 6)
        refused, = host.ask(CLOSE)
        assert (refused.status, refused.headers['retry-after']) == (503, '1')
        # A client that leaves counts as long as its application runs, whose job is in the queue.
        clients.pop().reset()
        host.wait_for(lambda: sum(each.phase == 'busy' for each in host.server.connections) == 5)
        assert host.ask(CLOSE)[0].status == 503
        opened.set()
        assert [each.take().body for each in clients] == [b'done'] * 5
        for _ in range(4):
            assert begun.acquire(timeout=PATIENCE)
        host.wait_for(lambda: not host.server.places._busy)
        assert host.ask(CLOSE)[0].body == b'done'


# -- the loop is held up --------------------------------------------------------------------------


@pytest.mark.parametrize('path', ['/', '/pause'])
def test_a_handler_that_holds_up_the_loop_lets_all_wait_and_cuts_nobody(app, path, monkeypatch):
    """For an hour, which is longer than every deadline; all clients do their part meanwhile."""
    held = 0.0
    begun, opened = threading.Event(), threading.Event()

    @app.route('/block')
    def block():
        nonlocal held
        begun.set()
        assert opened.wait(PATIENCE)
        held += 3600
        return 'worked'

    @app.route('/pause')
    def pause():
        yield sleep(0.001)
        yield b'hello'

    # Many of them: more than a few polls show.
    monkeypatch.setattr(poller, 'MOST_EVENTS', 8)
    for module in 'loop.reactor', 'polling.full_polls':
        monkeypatch.setattr(f'tremolo.{module}.MANY', 4)
    with Reactor(clock=lambda: time.monotonic() + held) as reactor, \
            serving(app, reactor=reactor) as host:
        kept = [host.connect(request()) for _ in range(20)]
        new = [host.connect() for _ in range(20)]
        part = [host.connect(request(path)[:20]) for _ in range(20)]
        assert [each.take().body for each in kept] == [b'hello'] * 20
        host.wait_for(lambda: sum(each.phase == 'head' for each in host.server.connections) == 20)
        blocking = host.connect(request('/block'))
        assert begun.wait(PATIENCE)
        for each in (*kept, *new):
            each.send(request(path))
        for each in part:
            each.send(request(path)[20:])
        opened.set()
        assert [each.take().body for each in (*kept, *new, *part)] == [b'hello'] * 60
        assert blocking.take().body == b'worked'


def test_the_clients_of_another_thread_are_not_held_up(app, few):
    """A handler that computes belongs on a thread: then the loop goes on."""
    gate = Gate(app, '/thread', thread=True)
    with serving(app, threads=few) as host:
        busy = host.connect(request('/thread'))
        gate.wait_for(1)
        client = Client(host.running.address)
        for _ in range(5):
            client.send(request())
            assert client.take().body == b'hello'
        client.close()
        gate.opened.set()
        assert busy.take().body == b'worked'

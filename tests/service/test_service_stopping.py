"""`app.stopping`: handlers, streams and jobs learn that the server stops, however it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from server_support import PATIENCE, Client, answers, request, serving, virtual

from tremolo import Tremolo, run_in_thread, spawn, timeout
from tremolo.asgi_app import AsgiApplication
from tremolo.exceptions import InvalidState
from tremolo.workers.channel import ROOM, TAKEN, Channel
from tremolo.workers.handover import Handover

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/events')
    def events(app, content_type='text/event-stream', stream=True):
        yield b': begun\n\n'
        while not app.stopping.done():
            try:
                yield timeout(15, app.stopping)
            except TimeoutError:
                yield b': still here\n\n'
        yield b'event: end\n\n'

    @app.route('/generator')
    def by_yield(app):
        yield b'begun '
        yield app.stopping
        yield b'ended'

    @app.route('/thread')
    def in_thread(app, thread=True):
        begun.set()
        app.stopping.result()
        return b'begun ended'

    begun = threading.Event()
    app.context.begun = begun
    return app


def test_before_a_server_there_is_nothing_to_wait_for():
    for app in (Tremolo(), AsgiApplication(lambda *_: None)):
        with pytest.raises(InvalidState, match='no server serves this application yet'):
            app.stopping    # noqa: B018


def test_a_stream_goes_on_for_ever_and_ends_politely_at_a_stop(app):
    with virtual(app) as host:
        clients = [host.connect(request('/events')) for _ in range(5)]
        host.advance(100)
        assert {each.received.count(b': still here') for each in clients} == {6}
        # One that leaves takes nothing from the others.
        clients.pop().close()
        host.advance(50)
        start = host.now
        host.server.drain()
        for each in clients:
            each.until_ended()
            answer, = answers(each.received)
            assert answer.body.endswith(b': still here\n\nevent: end\n\n')
        assert host.now < start + 1
        assert host.server.stopped.result() == 0
        assert host.closed.get('shutdown', 0) == len(clients)    # Idle, after their answers.


@pytest.mark.parametrize('path', ['/generator', '/coroutine', '/thread', '/events'])
def test_each_kind_of_handler_can_wait_for_it(app, path):
    @app.route('/coroutine')
    async def by_await(**server):
        yield b'begun '
        await server['app'].stopping
        yield b'ended'

    with serving(app) as host:
        client = host.connect(request(path))
        if path == '/thread':
            assert app.context.begun.wait(PATIENCE)
        else:
            client.until(b'begun')
        assert not app.stopping.done()
        app.stop()
        answer, = answers(client.read_all())
        assert answer.body.rstrip().endswith((b'ended', b'end'))


def test_a_job_learns_of_it(app):
    said = []

    def job():
        yield app.stopping
        said.append('job')

    def threaded():
        app.stopping.result()
        said.append('thread')

    @app.on_worker_start
    def begin(reactor):
        reactor.call_soon(spawn, job())
        reactor.call_soon(lambda: run_in_thread(threaded).add_done_callback(id))

    @app.route('/never')
    def never():
        yield app.stopping
        yield b'x'

    with serving(app) as host:
        client = host.connect(request())
        client.take()
        busy = host.connect(request('/never', 'GET', 'Connection: close'))
        host.wait_for(lambda: any(each.phase == 'busy' for each in host.server.connections))
        assert said == []
        host.running.stop()
        assert busy.take().body == b'x'
    assert 'job' in said


def test_a_thread_outside_waits_for_it_too(app):
    with serving(app):
        waiter = threading.Thread(target=app.stopping.result)
        waiter.start()
        app.stop()
        waiter.join(PATIENCE)
        assert not waiter.is_alive()


def test_it_is_done_when_the_server_is_closed_at_once(app):
    with virtual(app) as host:
        host.server.close()
        assert app.stopping.done()


def test_it_is_done_before_the_first_connection_is_drained(app):
    seen = []

    @app.route('/gone')
    def gone():
        try:
            yield b'begun'
            yield app.stopping
        finally:
            seen.append(app.stopping.done())

    with virtual(app) as host:
        client = host.connect(request('/gone'))
        client.until(b'begun')
        host.server.close()
        host.settle()
        assert seen == [True]


def test_an_address_with_options_of_its_own_belongs_to_it(app):
    app.listen(0, idle_timeout=5)
    with virtual(app) as host:
        clients = [host.connect(request('/generator'), listener) for listener in (0, 1)]
        for each in clients:
            each.until(b'begun')
        assert {id(part.stopping) for part in host.server.parts.values()} == {id(app.stopping)}
        host.server.drain()
        for each in clients:
            each.until_ended()
            assert each.received.endswith(b'ended\r\n0\r\n\r\n')


def test_the_next_server_has_another(app):
    with virtual(app) as host:
        first = app.stopping
        host.server.drain()
        assert first.done()
    with virtual(app) as host:
        assert first.done() and not app.stopping.done()


def test_of_two_servers_it_is_that_of_the_last(app):
    with virtual(app) as host:
        first = app.stopping
        host.server.drain()
        assert first.done()
        with virtual(app, host.world) as other:
            assert app.stopping is other.server.stopping is not first
            assert not app.stopping.done()


def test_an_application_for_asgi_and_a_host_of_asyncio_have_it():
    async def answer(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'begun ', 'more_body': True})
        await app.stopping
        await send({'type': 'http.response.body', 'body': b'ended'})

    app = AsgiApplication(answer)

    async def main():
        async with app.serve(lifespan='off') as server:
            reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
            writer.write(request())
            await reader.readuntil(b'begun ')
            waiter = asyncio.ensure_future(app.stopping)
            # (A task of asyncio that gives up cancels it for nobody.)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(app.stopping, 0.001)
            app.stop()
            await waiter
            rest = await reader.read()
            assert b'ended' in rest
            writer.close()

    asyncio.run(main())


# -- the end of a worker, and of a process --------------------------------------------------------


def test_it_is_done_as_soon_as_another_worker_takes_over(app):
    """At SIGHUP, TTOU and `max_requests`: the drain itself comes last, and may come much later."""
    host = app.start(thread=False)
    ours, theirs = socket.socketpair()
    channels = [Channel(host.reactor, ours, lambda *message: handover.heard(*message),
                        lambda: None)]

    def heard(_, sock):
        sock.close()
        channels[1].send(TAKEN)

    channels.append(Channel(host.reactor, theirs, heard, lambda: None))
    client = Client(host.address)
    client.send(request('/generator'))
    client.sock.setblocking(False)
    while b'begun' not in client.received:
        host.step(0.01)
        with contextlib.suppress(BlockingIOError):
            client.received += client.sock.recv(65536)
    handover = Handover(host.server, channels[0], takes_named=False)
    handover.start()
    channels[1].send(ROOM)
    assert app.stopping.done() and not host.server.draining
    while not host.server.stopped.done():
        host.step(0.01)
    client.sock.settimeout(PATIENCE)
    client.until(b'ended')
    client.close()
    for each in channels:
        each.close()
    host.stop()


PROGRAM = """
    from tremolo import Tremolo

    app = Tremolo()

    @app.route('/events')
    def events(app, stream=True):
        yield b'begun '
        yield app.stopping
        yield b'ended'

    app.run('127.0.0.1', 0, shutdown_timeout=3600)
"""


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_stream_end_politely(signum):
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, 'PYTHONUNBUFFERED': '1'})
    try:
        port = int(process.stdout.readline().split()[2].rpartition(':')[2])
        client = Client(('127.0.0.1', port))
        client.send(request('/events'))
        client.until(b'begun')
        process.send_signal(signum)
        assert client.take().body == b'begun ended'
        client.close()
        _, log = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert 'Traceback' not in log

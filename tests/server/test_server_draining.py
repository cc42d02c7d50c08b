"""Draining: what is in flight is finished, what is idle is closed, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from server_support import Client, answers, bodies, request, virtual

from tremolo import Tremolo, sleep

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index():
        return 'hello'

    @app.route('/wait/<int:seconds>')
    def wait(seconds):
        yield sleep(seconds)
        yield b'waited'

    @app.route('/stream/<int:seconds>')
    def stream(seconds):
        yield b'begun '
        yield sleep(seconds)
        yield b'waited'

    return app


def test_an_idle_server_stops_at_once(app):
    with virtual(app) as host:
        host.server.drain()
        host.settle()
        assert host.server.stopped.result() == 0
        assert host.server.drain() is host.server.stopped


def test_a_client_that_comes_while_the_hooks_of_a_stop_run_is_answered(app):
    """Nothing stands between the last accept and the close, which resets who waits then."""
    with app.start(thread=False) as running, socket.socket() as client:
        def come():
            client.connect(running.address)
            client.sendall(request())
        running.server.at_drain = come
        running.server.drain()
        client.shutdown(socket.SHUT_WR)    # (It has no more to ask.)
        while not running.server.stopped.done():
            running.step(0.1)
        client.settimeout(60)
        assert client.recv(9999).startswith(b'HTTP/1.1 200 ')


def test_nothing_more_is_accepted(app):
    with virtual(app) as host:
        busy = host.connect(request('/wait/5'))
        host.advance(0.1)
        address = host.server.listeners[0].address
        host.server.drain()
        other = host.world.network.socket()
        other.connect_ex(address)
        host.advance(0.1)
        assert other.getsockopt(1, 4) != 0 or other.state == 'new'
        other.close()
        assert busy.take().body == b'waited'


def test_what_is_in_flight_is_answered_and_told_to_close(app):
    with virtual(app) as host:
        client = host.connect(request('/wait/5') + request())
        host.advance(1)
        host.server.drain()
        client.until_ended()
        answer, = answers(client.received)
        assert (answer.body, answer.headers['connection']) == (b'waited', 'close')
        host.settle()
        assert host.server.stopped.result() == 0
        assert host.closed == {'done': 1}


def test_an_answer_that_began_before_is_finished_and_the_next_is_told_to_close(app):
    with virtual(app) as host:
        client = host.connect(request('/stream/5') + request() + request())
        client.until(b'begun')
        host.server.drain()
        client.until_ended()
        assert bodies(client.received) == [b'begun waited', b'hello']
        assert host.closed == {'done': 1}


def test_a_head_that_has_begun_may_be_finished(app):
    with virtual(app) as host:
        client = host.connect(request()[:20])
        host.advance(0.1)
        host.server.drain()
        host.advance(5)
        client.send(request()[20:])
        answer = client.take()
        assert (answer.body, answer.headers['connection']) == (b'hello', 'close')


def test_a_body_that_has_begun_may_be_finished_and_100_is_still_sent(app):
    @app.route('/read', methods=['POST'])
    def read(request):
        yield sleep(1)
        data = yield request.body()
        yield data

    with virtual(app) as host:
        client = host.connect(request('/read', 'POST', 'Expect: 100-continue',
                                      'Content-Length: 4'))
        host.advance(0.5)
        host.server.drain()
        client.until(b'100 Continue\r\n\r\n')
        client.send(b'body')
        client.until_ended()
        first, answer = answers(client.received)
        assert (first.status, answer.body) == (100, b'body')
        assert answer.headers['connection'] == 'close'


def test_what_takes_longer_than_shutdown_timeout_is_cut_and_told(app, logged):
    with virtual(app, shutdown_timeout=20) as host:
        client = host.connect(request('/wait/1000'))
        other = host.connect(request('/stream/10'))
        host.advance(1)
        host.server.drain()
        client.until_ended()
        assert client.received == b''
        assert client.ended_at == pytest.approx(21, abs=0.1)
        assert bodies(other.received) == [b'begun waited']
        assert host.server.stopped.result() == 1
        # The other one's head had promised to go on.
        assert host.closed == {'shutdown': 2}
        assert logged.count("shutdown_timeout is over: cut GET '/wait/1000'") == 1
        host.advance(0.1)
        assert not host.reactor.tasks


def test_a_half_closed_client_is_answered_while_draining(app):
    with virtual(app, half_close_timeout=5) as host:
        client = host.connect(request('/wait/3'))
        client.fin()
        host.advance(1)
        host.server.drain()
        client.until_ended()
        assert bodies(client.received) == [b'waited']


# -- signals, in a process of its own -------------------------------------------------------------


PROGRAM = """
    import sys
    from tremolo import Tremolo, sleep

    app = Tremolo()

    @app.route('/')
    def index():
        return 'hello'

    @app.route('/wait')
    def wait(stream=True):
        yield b'begun '
        yield sleep(0.3)
        yield b'waited'

    @app.route('/forever')
    def forever(stream=True):
        yield b'begun '
        yield sleep(1000)

    @app.route('/modules')
    def modules():
        return [name for name in ('asyncio', 'ssl', 'http.server') if name in sys.modules]

    app.run('127.0.0.1', 0, **{options})
"""


class Program:
    """A server in a process of its own."""

    def __init__(self, **options) -> None:
        source = textwrap.dedent(PROGRAM).replace('{options}', repr(options))
        self.process = subprocess.Popen(
            [sys.executable, '-c', source], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=ROOT, env={**os.environ, 'PYTHONUNBUFFERED': '1'})
        line = self.process.stdout.readline()
        assert line.startswith('running on http://127.0.0.1:'), line
        self.port = int(line.split()[2].rpartition(':')[2])
        self.clients = []

    def connect(self, data=b''):
        client = Client(('127.0.0.1', self.port))
        self.clients.append(client)
        client.send(data)
        return client

    def kill(self, signum):
        self.process.send_signal(signum)

    def wait(self):
        """Give the exit status and what was logged."""
        try:
            _, log = self.process.communicate(timeout=20)
        finally:
            self.process.kill()
            for client in self.clients:
                client.close()
        return self.process.returncode, log


@pytest.fixture
def program():
    started = []

    def start(**options):
        started.append(Program(**options))
        return started[-1]

    yield start
    for each in started:
        each.wait()


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_what_is_in_flight_and_exits_0(program, signum):
    server = program()
    client = server.connect(request('/wait'))
    client.until(b'begun')
    server.kill(signum)
    assert client.take().body == b'begun waited'
    client.close()
    status, log = server.wait()
    assert status == 0
    assert 'Traceback' not in log


@pytest.mark.parametrize(('signals', 'expected'), [
    ([signal.SIGTERM, signal.SIGINT], 130), ([signal.SIGINT, signal.SIGINT], 130),
    ([signal.SIGQUIT], 131), ([signal.SIGTERM, signal.SIGQUIT], 131)])
def test_a_forced_stop_exits_with_128_and_the_signal(program, signals, expected):
    server = program()
    client = server.connect(request('/forever'))
    client.until(b'begun')
    for number, signum in enumerate(signals, 1):
        server.kill(signum)
        if number < len(signals):
            # The first has been heard when nobody listens any more.
            while True:
                try:
                    Client(('127.0.0.1', server.port)).close()
                except (ConnectionRefusedError, ConnectionResetError):
                    break
    status, log = server.wait()
    assert status == expected
    assert 'Traceback' not in log


def test_an_expired_shutdown_timeout_is_logged_and_exits_0(program):
    server = program(shutdown_timeout=0.2)
    client = server.connect(request('/forever'))
    client.until(b'begun')
    server.kill(signal.SIGTERM)
    status, log = server.wait()
    assert status == 0
    assert "shutdown_timeout is over: cut GET '/forever'" in log


def test_a_server_of_sync_handlers_never_imports_asyncio(program):
    server = program()
    client = server.connect(request('/wait') + request('/modules'))
    client.take()
    assert client.take().body == b'[]'
    client.close()
    server.kill(signal.SIGTERM)
    assert server.wait()[0] == 0


def test_importing_tremolo_imports_no_asyncio():
    code = "import sys, tremolo; print([m for m in ('asyncio', 'ssl') if m in sys.modules])"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT,
                          timeout=20, check=True)
    assert done.stdout == '[]\n'

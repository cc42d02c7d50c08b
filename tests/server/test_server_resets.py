"""An answer that only the close ends is never taken for whole when it was cut: it ends by a reset.

Such an answer has no Content-Length and is not chunked: an answer to HTTP/1.0, or one whose handler
asks for it. The client then knows that the body is whole from the FIN alone.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_support import PATIENCE, Client, answers, request, serving, virtual
from simulated import World

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def app() -> Tremolo:
    app = Tremolo()

    @app.route('/begun', methods=['GET', 'POST'])
    def begun():
        yield b'begun'
        yield sleep(1000)

    @app.route('/unframed')
    def unframed(chunked=False):
        yield b'begun'
        yield sleep(1000)

    @app.route('/endless')
    def endless():
        while True:
            yield b'x' * 10_000

    @app.route('/fails')
    def fails():
        yield b'begun'
        yield sleep(0.1)
        raise ValueError('a mistake')

    @app.route('/closes')
    def closes(request):
        yield b'begun'
        yield sleep(0.1)
        request.connection.stream.close()
        yield sleep(0.1)

    @app.route('/reads', methods=['POST'])
    def reads(request, chunked=False):
        yield b'begun'
        yield sleep(0.1)
        yield (yield request.body())

    @app.route('/whole')
    def whole():
        yield b'begun'
        yield sleep(0.1)
        yield b' and ended'

    @app.route('/long')
    def long():
        yield b'x' * 10_000
        yield sleep(0.1)
        yield b'x' * 60_000

    return app


def ask(path: str, method: str = 'GET', *lines: str) -> bytes:
    return request(path, method, *lines, version='1.0')


def fails(host: Any) -> Any:
    return host.connect(ask('/fails'))


def closes_itself(host: Any) -> Any:
    return host.connect(ask('/closes'))


def takes_too_long(host: Any) -> Any:
    return host.connect(ask('/begun'))


def takes_too_long_unframed(host: Any) -> Any:
    return host.connect(request('/unframed'))


def is_half_closed(host: Any) -> Any:
    client = host.connect(ask('/begun'))
    client.until(b'begun')
    client.fin()
    return client


def reads_slowly(host: Any) -> Any:
    client = host.connect(ask('/endless'))
    client.reading = False
    host.until(lambda: host.server.closed)
    client.reading = True
    return client


def breaks_http(host: Any) -> Any:
    return host.connect(request('/reads', 'POST', 'Transfer-Encoding: chunked') + b'zz\r\n')


def sends_too_much(host: Any) -> Any:
    return host.connect(ask('/reads', 'POST', 'Content-Length: 100') + b'x' * 100)


def sends_slowly(host: Any) -> Any:
    return host.connect(ask('/reads', 'POST', 'Content-Length: 10'))


def drains(host: Any) -> Any:
    client = host.connect(ask('/begun'))
    client.until(b'begun')
    host.server.drain()
    return client


def ends_at_once(host: Any) -> Any:
    client = host.connect(ask('/begun'))
    client.until(b'begun')
    host.server.close()
    return client


CUTS = [
    (fails, {}, 'failed'),
    (closes_itself, {}, 'hang-up'),
    (takes_too_long, {'handler_timeout': 4}, 'handler_timeout'),
    (takes_too_long_unframed, {'handler_timeout': 4}, 'handler_timeout'),
    (is_half_closed, {}, 'half_closed'),
    (reads_slowly, {'connections': 1}, 'min_download_rate'),
    (breaks_http, {}, 'refused'),
    (sends_too_much, {'body_buffer_size': 10}, 'failed'),
    (sends_slowly, {'connections': 1}, 'min_upload_rate'),
    (drains, {'shutdown_timeout': 3}, 'shutdown'),
    (ends_at_once, {}, 'shutdown'),
]


@pytest.mark.parametrize(('cut', 'options', 'reason'), CUTS,
                         ids=[each[0].__name__ for each in CUTS])
def test_a_cut_is_a_reset_where_only_the_close_ends_the_body(app, cut, options, reason, logged):
    with virtual(app, World(seed=1, buffer_size=20_000), **options) as host:
        client = cut(host)
        client.until_ended()
        head, _, body = client.received.partition(b'\r\n\r\n')
        assert body and b'Content-Length' not in head and b'Transfer-Encoding' not in head
        assert client.ended == 'reset'
        assert host.closed == {reason: 1}


@pytest.mark.parametrize('path', ['/whole', '/long'])
@pytest.mark.parametrize('slow', [False, True])
def test_a_whole_answer_ends_in_good_order(app, path, slow):
    with virtual(app, World(seed=1, buffer_size=5000)) as host:
        client = host.connect(ask(path))
        client.reading = not slow
        host.advance(1)
        client.reading = True
        client.until_ended()
        answer, = answers(client.received)
        assert answer.body == (b'begun and ended' if path == '/whole' else b'x' * 70_000)
        assert client.ended == 'fin'
        assert host.closed == {'done': 1}


@pytest.mark.parametrize('end', ['stall', 'close'])
def test_a_complete_answer_that_the_client_has_not_taken_is_cut_by_a_reset(app, end):
    with virtual(app, World(seed=1, buffer_size=5000)) as host:
        client = host.connect(ask('/long'))
        client.reading = False
        host.advance(1)
        connection, = host.server.connections
        assert connection.phase in ('closing', 'linger') and connection.stream.buffered
        if end == 'close':
            host.server.close()
        host.until(lambda: host.server.closed)
        client.reading = True
        client.until_ended()
        assert len(client.received) < 50_000
        assert client.ended == 'reset'


def test_an_answer_whose_framing_tells_still_ends_by_a_fin(app, logged):
    with virtual(app) as host:
        client = host.connect(request('/fails'))
        client.until_ended()
        assert client.received.endswith(b'5\r\nbegun\r\n')
        assert client.ended == 'fin'


def test_the_same_on_real_sockets(app, logged):
    with serving(app) as host:
        client = host.connect(ask('/fails'))
        with pytest.raises(ConnectionResetError):
            client.read_all()
        assert host.connect(ask('/whole')).read_all().endswith(b'\r\n\r\nbegun and ended')


def test_the_same_with_asgi(logged):
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'begun', 'more_body': True})
        raise ValueError

    with serving(AsgiApplication(asgi), lifespan='off') as host, \
            pytest.raises(ConnectionResetError):
        host.connect(ask('/')).read_all()


# -- when the process ends ------------------------------------------------------------------------

PROGRAM = '''
import os, tremolo

app = tremolo.Tremolo()

@app.route('/held')
def held():
    yield b'begun'
    yield tremolo.sleep(1000)

@app.route('/leaves')
def leaves():
    yield b'begun'
    yield tremolo.sleep(0.1)
    os._exit(0)

app.run(port=0)
'''


@pytest.fixture
def program(tmp_path) -> Iterator[Any]:
    (tmp_path / 'program.py').write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, str(tmp_path / 'program.py')], cwd=ROOT,
                               env={'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[2]
        process.address = ('127.0.0.1', int(url.rpartition(':')[2]))    # type: ignore[attr-defined]
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait(PATIENCE)


@pytest.mark.parametrize('how', ['SIGKILL', 'SIGQUIT', 'os._exit'])
def test_the_same_when_the_process_ends(program, how):
    client = Client(program.address)
    try:
        client.send(ask('/leaves' if how == 'os._exit' else '/held'))
        client.until(b'begun')
        if how != 'os._exit':
            program.send_signal(getattr(signal, how))
        with pytest.raises(ConnectionResetError):
            client.read_all()
    finally:
        client.close()


def test_a_stream_can_be_told_to_end_by_a_reset_and_not_to(reactor):
    from tremolo.loop import Stream
    for wanted in (True, False):
        ours, theirs = socket.socketpair()
        stream = Stream(reactor, ours)
        stream.end_by_reset(True)
        stream.end_by_reset(wanted)
        linger = ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        assert linger == bytes((wanted, 0, 0, 0, 0, 0, 0, 0))
        stream.close()
        stream.end_by_reset(True)
        theirs.close()

"""Workers are renewed while clients speak TLS to them: no request is lost.

A TLS connection is not handed over: the old worker answers on it, and then drains it. Lost is a
request that was sent before the close_notify came, and that was not answered.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from certificates import LOCALHOST
from server_support import answers, request, virtual
from tls_support import Peer, context_of, strict_client

from tremolo import Tremolo, sleep
from tremolo.server import Server
from tremolo.workers.handover import Handover

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
APPLICATION = '''
import os, tremolo
app = tremolo.Tremolo()

@app.route('/')
def index():
    yield f'{os.getpid()}'

@app.route('/', methods=['POST'])
def upload(request):
    body = yield request.body()
    yield tremolo.sleep(0.005)
    yield f'{os.getpid()} {len(body)}'
'''


@pytest.fixture(scope='module')
def context():
    return context_of()


class Load(threading.Thread):
    """A client that asks on and on, on one connection as long as that lasts."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.ended = port, False
        self.lost: list[object] = []
        self.pids: set[str] = set()
        self.context = strict_client()

    def run(self) -> None:
        while not self.ended and not self.lost:
            client = http.client.HTTPSConnection('127.0.0.1', self.port, context=self.context,
                                                 timeout=PATIENCE)
            try:
                self._use(client)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)
            finally:
                client.close()

    def _use(self, client: http.client.HTTPSConnection) -> None:
        while not self.ended:
            client.request('POST', '/', body=bytes(40000))
            answer = client.getresponse()
            said = answer.read().decode().split()
            if answer.status != 200 or said[1:] != ['40000']:
                self.lost.append((answer.status, said))
            self.pids.add(said[0])
            if answer.getheader('Connection') == 'close':
                return


def test_a_renewal_under_load_loses_no_request_over_tls(tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    command = [sys.executable, '-m', 'tremolo', 'example:app', '--workers', '2', '--port', '0',
               '--ssl-certfile', LOCALHOST.cert, '--ssl-keyfile', LOCALHOST.key,
               '--shutdown-timeout', '1']
    with (tmp_path / 'log').open('w') as log, subprocess.Popen(
            command, cwd=tmp_path, env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin',
                                        'PYTHONDONTWRITEBYTECODE': '1'},
            stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith('running on https://127.0.0.1:'), line
            loads = [Load(int(line.split()[2].rpartition(':')[2])) for _ in range(3)]
            for load in loads:
                load.start()
            end = time.monotonic() + PATIENCE
            while not all(load.pids or load.lost for load in loads):
                assert time.monotonic() < end
                time.sleep(0.01)
            before = set().union(*(load.pids for load in loads))
            process.send_signal(signal.SIGHUP)
            # New workers answer all of them.
            while not all(load.lost or load.pids - before for load in loads):
                assert time.monotonic() < end
                time.sleep(0.01)
            for load in loads:
                load.ended = True
            for load in loads:
                load.join()
            assert [load.lost for load in loads] == [[], [], []]
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert 'Traceback' not in (tmp_path / 'log').read_text()


def application():
    app = Tremolo()

    @app.route('/')
    def index():
        yield b'hello'

    @app.route('/slow')
    def slow():
        yield sleep(0.5)
        yield b'slow'

    return app


def test_a_tls_connection_is_not_transferable(context):
    with virtual(application(), ssl_context=context) as host:
        Peer(host)
        plain, = host.server.connections
        assert plain.phase == 'new' and not plain.transferable


class Line:
    """A channel to the next worker, whose other end is nobody."""

    idle = True

    def send(self, kind, sock=None, carried=b''):
        sock.close()


def test_a_tls_connection_leaves_the_old_worker_with_its_next_answer(context):
    # A client that asks on and on would be answered by the old program for 15 s.
    with virtual(application(), ssl_context=context) as host:
        busy, asking, idle = Peer(host), Peer(host), Peer(host)
        busy.send(request('/slow'))
        host.settle()
        Handover(host.server, Line(), takes_named=True).start()
        host.advance(0.1)
        asking.send(request('/'))
        for peer in (busy, asking):
            assert peer.take().headers['connection'] == 'close'
            peer.until_ended()
            assert peer.notified and host.now < 3
        host.until(host.server.stopped.done)
        idle.until_ended()
        assert idle.notified and idle.client.ended_at > 15


def test_a_socket_that_is_lent_speaks_the_tls_of_its_part(context):
    app = application()
    app.listen(0, ssl_context=context)
    with virtual(app) as host:
        _, secure = host.server.listeners
        part = host.server.part_at(secure.address)
        assert isinstance(part, Server) and part is host.server.parts[secure]
        assert part.arrive is not None and host.server.arrive is None


def test_what_is_on_its_way_when_the_server_drains_is_answered(context):
    """All that came before the close_notify: in the kernel, in OpenSSL, behind another request."""
    with virtual(application(), ssl_context=context) as host:
        idle, busy, whole, part = (Peer(host) for _ in range(4))
        busy.send(request('/slow') + request('/') * 3)
        host.advance(0.1)
        whole.client.send(whole.sealed(request('/')))
        data = part.sealed(request('/'))
        part.client.send(data[:20])
        host.settle()
        host.server.drain()
        host.advance(0.02)
        part.client.send(data[20:])
        idle.send(request('/'))
        for peer, count in ((busy, 1), (whole, 1), (part, 1), (idle, 1)):
            peer.until_ended()
            assert len(answers(peer.data)) == count, peer.data
            assert peer.notified
        host.until(host.server.stopped.done)
        assert host.server.stopped.result() == 0


def test_an_idle_connection_that_drains_is_told_so(context):
    with virtual(application(), ssl_context=context) as host:
        peer = Peer(host)
        peer.send(request('/'))
        peer.take()
        stopped = host.server.drain()
        peer.until_ended()
        assert peer.notified and peer.client.ended == 'fin' and not peer.data
        host.until(stopped.done)

"""Releases behind a proxy, under load: no request fails, whoever is renewed or replaced meanwhile.

ROLLING_REQUESTS says how many requests there are; 20,000 unless set.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from conftest import PATIENCE, ROOT
from fronts import running_haproxy, running_nginx

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='SIGHUP')

REQUESTS = int(os.environ.get('ROLLING_REQUESTS', 20_000))
RENEWALS = 20
RESTARTS = 6
CLIENTS = 8

APPLICATION = '''
import os, time
import tremolo

app = tremolo.Tremolo()
born = f'{os.getpid()} {time.monotonic_ns()}'

@app.route('/')
def index():
    return born

@app.route('/late')
def late():
    yield tremolo.sleep(0.02)
    yield born

@app.route('/in', methods=['POST'])
async def upload(request):
    return f'{born} {len(await request.body())}'
'''

NGINX = '''
    upstream tremolo {{
        {servers}
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://tremolo;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream {next};
        }}
    }}
'''
# What is released is drained by HAProxy first. (Else a request may be on its way on a kept
# connection that is closed; `retry-on empty-response` would send it again.)
HAPROXY = '''
global
    stats socket {folder}/haproxy.sock level admin
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    retries 3
    option redispatch
    http-reuse safe
frontend all
    bind fd@{descriptor}
    default_backend tremolo
backend tremolo
    balance roundrobin
    default-server check inter 100ms fall 1 rise 1
    {servers}
'''


@contextlib.contextmanager
def proxied(name, ports, tool, folder, try_next=True):
    """Run a proxy in front of these ports; give its own port."""
    with socket.create_server(('127.0.0.1', 0), backlog=500) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        if name == 'nginx':
            servers = '\n'.join(f'server 127.0.0.1:{each} max_fails=0;' for each in ports)
        else:
            servers = '\n'.join(f'server s{each} 127.0.0.1:{each}' for each in ports)
        config, run = (NGINX, running_nginx) if name == 'nginx' else (HAPROXY, running_haproxy)
        with run(tool(name), folder, config.format(
                folder=folder, port=port, descriptor=descriptor, servers=servers,
                next='error non_idempotent' if try_next else 'off'), listener):
            yield port


def tell(folder, command) -> None:
    """Give HAProxy a command."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(folder / 'haproxy.sock'))
        sock.sendall(command.encode() + b'\n')
        assert sock.recv(1000).strip() == b''


class Load:
    """Clients that ask again and again, on kept connections and on new ones."""

    def __init__(self, port, context=None, pause=0.0) -> None:
        """They ask at this port, with TLS if there is a context, and so many seconds apart."""
        self._port = port
        self._context = context
        self._pause = pause
        self.count = 0
        self.wrong: list[object] = []
        self.answers: Counter[str] = Counter()
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,))
                         for number in range(CLIENTS)]

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for each in self._threads:
            each.join(PATIENCE)

    def wait_for(self, count) -> None:
        """Wait until there were so many requests."""
        deadline = time.monotonic() + 10 * PATIENCE
        while self.count < count and not self.wrong:
            assert time.monotonic() < deadline, self.count
            time.sleep(0.01)

    def _ask(self, number) -> None:
        if self._context is None:
            connection = http.client.HTTPConnection('127.0.0.1', self._port, timeout=PATIENCE)
        else:
            connection = http.client.HTTPSConnection('127.0.0.1', self._port, timeout=PATIENCE,
                                                     context=self._context)
        try:
            self._ask_on(connection, number)
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(error)
        finally:
            connection.close()

    def _ask_on(self, connection, number) -> None:
        ways = [('GET', '/', None), ('GET', '/late', None), ('POST', '/in', b'x' * 3000)]
        turn = number
        while not self.over.is_set():
            turn += 1
            method, path, body = ways[turn % 3 if number % 2 else 0]
            connection.request(method, path, body)
            with connection.getresponse() as answer:
                said, status = answer.read().decode(), answer.status
            if status != 200 or (path == '/in' and not said.endswith(' 3000')):
                self.wrong.append((status, said[:200]))
                return
            self.count += 1
            self.answers[' '.join(said.split()[:2])] += 1
            if number == 1 or turn % 100 == 0:
                connection.close()    # (The next request opens it again.)
            if self._pause:
                self.over.wait(self._pause)


class Instance:
    """A server at a port of its own, which is replaced by another one at the same port."""

    def __init__(self, folder, *options) -> None:
        with socket.create_server(('127.0.0.1', 0)) as sock:
            self.port = sock.getsockname()[1]
        self._folder, self._options = folder, options
        self.start()

    def start(self) -> None:
        self._log = open(self._folder / f'log-{self.port}', 'a')  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tremolo', 'example:app', '--port', str(self.port),
             *self._options], cwd=self._folder, env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self.process.stdout.readline().startswith('running on ')

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(PATIENCE) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self._log.close()


@pytest.mark.parametrize('options', [(), ('--workers', '2')], ids=['alone', 'workers'])
@pytest.mark.parametrize('name', ['haproxy', 'nginx'])
def test_two_instances_are_drained_and_restarted_in_turn(name, options, tool, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    instances = [Instance(tmp_path, *options) for _ in range(2)]
    try:
        with proxied(name, [each.port for each in instances], tool, tmp_path) as port, \
                Load(port) as load:
            load.wait_for(100)
            for number in range(RESTARTS):
                each = instances[number % 2]
                if name == 'haproxy':
                    tell(tmp_path, f'set server tremolo/s{each.port} state drain')
                each.stop()
                each.start()
                if name == 'haproxy':
                    tell(tmp_path, f'set server tremolo/s{each.port} state ready')
                load.wait_for(max(load.count + 500, (number + 1) * REQUESTS // RESTARTS))
        print(f'{name}: {load.count} requests, {RESTARTS} restarts, {len(load.answers)} processes')
        assert load.wrong == []
        assert len(load.answers) >= RESTARTS
    finally:
        for each in instances:
            each.stop()


@pytest.mark.parametrize('options', [(), ('--workers', '2')], ids=['alone', 'workers'])
def test_renewals_behind_kept_connections_of_nginx(serve, options, tool, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    # (On a UNIX socket or a port of this machine alone nothing but a renewal ends a connection.)
    with serve('example:app', *options, folder=tmp_path) as server:
        with proxied('nginx', [server.port], tool, tmp_path, try_next=False) as port, \
                Load(port) as load:
            for number in range(1, RENEWALS + 1):
                born = len(load.answers)
                server.process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + PATIENCE
                while len(load.answers) < born + 1 and not load.wrong:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                load.wait_for(number * REQUESTS // RENEWALS)
        print(f'{load.count} requests, {RENEWALS} renewals, {len(load.answers)} processes')
        assert load.wrong == []
        log = (tmp_path / 'error.log').read_text()
        assert not [line for line in log.splitlines() if '[notice]' not in line]

"""nginx and HAProxy in front, while workers are renewed: no error, and always the right client.

Each client has an address of its own, sends what pretends to be another one, and compares what each
answer says of it. The proxies keep their connections to us, and send many clients over one of them.
100,000 requests and 20 renewals in all; PROXIES_REQUESTS is another number.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from certificates import CA, A
from fronts import running_haproxy, running_nginx

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='all of 127/8 is on Linux')

SITE = str(Path(__file__).resolve().parent / 'site.py')
PATIENCE = 60.0
CLIENTS = 16
TLS = ('--ssl-certfile', A.cert, '--ssl-keyfile', A.key)
# What our server has, the line of the proxy for it, how often it is renewed, and how it sees that a
# request came by TLS.
CASES = {
    'nginx': ((), 'http', 4),
    'nginx to tls': (TLS, 'https', 4),
    'haproxy': ((), 'option forwardfor\n    http-request set-header X-Forwarded-Proto https', 3),
    'haproxy v1': (('--proxy-protocol', 'v1'), 'send-proxy', 3),
    'haproxy v2': (('--proxy-protocol', 'v2'), 'send-proxy-v2', 3),
    'haproxy v2 to tls': (('--proxy-protocol', 'v2', *TLS), 'send-proxy-v2', 3),
}
REQUESTS = int(os.environ.get('PROXIES_REQUESTS', 100_000)) // len(CASES)

NGINX = '''
    keepalive_requests 10000000;
    upstream tremolo {{
        server 127.0.0.1:{upstream};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {line}://tremolo;
            proxy_http_version 1.1;
            proxy_ssl_trusted_certificate {ca};
            proxy_ssl_verify on;
            proxy_ssl_name a.example;
            proxy_ssl_server_name on;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
        }}
    }}
'''

HAPROXY = '''
defaults
    mode http
    timeout connect 20s
    timeout client 60s
    timeout server 60s
frontend all
    bind fd@{descriptor}
    default_backend tremolo
backend tremolo
    {option}
    server tremolo 127.0.0.1:{upstream} {line}
'''


@contextlib.contextmanager
def in_front(name: str, line: str, upstream: int, tool, folder: Path):
    """Run the proxy of a case; give its port. It inherits a socket that listens already."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        option = ''
        if line.startswith('option'):
            option, line = line, ''
        if name.startswith('haproxy') and name.endswith('tls'):
            line += f' ssl verify required ca-file {CA} verifyhost a.example sni str(a.example)'
        program = name.split()[0]
        config, run = (NGINX, running_nginx) if program == 'nginx' else (HAPROXY, running_haproxy)
        with run(tool(program), folder, config.format(
                port=port, descriptor=descriptor, upstream=upstream, line=line, option=option,
                ca=CA), listener):
            yield port


class Client:
    """One connection to the proxy, from an address of its own; one request at a time."""

    def __init__(self, number: int, port: int) -> None:
        self.socket = socket.create_connection(
            ('127.0.0.1', port), PATIENCE, source_address=(f'127.0.0.{number + 2}', 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = self.socket.getsockname()
        self._received = b''
        self._request = (
            f'GET /who?{number} HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 6.6.6.{number}\r\n'
            'X-Forwarded-Proto: gopher\r\nForwarded: for=6.6.6.6;proto=gopher\r\n\r\n').encode()

    def ask(self) -> None:
        self.socket.sendall(self._request)

    def receive(self) -> dict | None:
        """Return the answer, if it is complete."""
        data = self.socket.recv(65536)
        assert data, f'closed after {self._received!r}'
        self._received += data
        head, mark, body = self._received.partition(b'\r\n\r\n')
        if not mark:
            return None
        assert head.startswith(b'HTTP/1.1 200'), self._received
        size = int(re.search(rb'(?i)\r\ncontent-length: *(\d+)', head)[1])
        if len(body) < size:
            return None
        assert len(body) == size
        assert b'connection: close' not in head.lower(), head
        self._received = b''
        return json.loads(body)


class Load:
    """All clients at once, and the renewals meanwhile."""

    def __init__(self, clients: list[Client], has_port: bool, process: subprocess.Popen) -> None:
        self._clients = {client.socket.fileno(): client for client in clients}
        self._has_port = has_port
        self._process = process
        self._seen: set[int] = set()    # Who has answered since the last renewal began.
        self._old: set[int] = set()     # Who had before.
        self._new = 0                   # Answers, in a row, of others than those.
        self.requests = self.renewals = 0

    def run(self, requests: int, renewals: int) -> None:
        poller = select.epoll()
        with contextlib.closing(poller):
            for fd, client in self._clients.items():
                poller.register(fd, select.EPOLLIN)
                client.ask()
            deadline = time.monotonic() + PATIENCE
            while self.requests < requests or self.renewals < renewals or self._renewing():
                ready = poller.poll(PATIENCE)
                assert ready, 'nothing comes'
                for fd, _ in ready:
                    self._look(self._clients[fd])
                if (self.renewals < renewals and not self._renewing()
                        and self.requests >= self.renewals * requests // renewals):
                    self._old, self._seen, self._new = self._seen, set(), 0
                    self._process.send_signal(signal.SIGHUP)
                    self.renewals += 1
                    deadline = time.monotonic() + PATIENCE
                assert not self._renewing() or time.monotonic() < deadline, 'not renewed'

    def _renewing(self) -> bool:
        # (So many that nobody waits any more who asked before.)
        return self._new < 20 * CLIENTS

    def _look(self, client: Client) -> None:
        answer = client.receive()
        if answer is not None:
            host, port = client.address
            assert answer['client'] == [host, port if self._has_port else 0]
            assert answer['scheme'] == self.scheme
            self.requests += 1
            self._seen.add(answer['pid'])
            self._new = 0 if answer['pid'] in self._old else self._new + 1
            client.ask()

    scheme = 'https'


@pytest.mark.parametrize('name', CASES)
def test_nobody_behind_a_proxy_notices_renewals_and_each_has_its_address(
        name, serve, tool, tmp_path):
    arguments, line, renewals = CASES[name]
    by_proxy = '--proxy-protocol' in arguments
    with serve(SITE, '--workers', '2', '--trusted-proxies', '127.0.0.1', *arguments,
               folder=tmp_path) as server:
        with in_front(name, line, server.port, tool, tmp_path) as port, \
                contextlib.ExitStack() as stack:
            clients = [Client(number, port) for number in range(CLIENTS)]
            for client in clients:
                stack.enter_context(client.socket)
            load = Load(clients, by_proxy, server.process)
            # What HAProxy tells by PROXY is the client; TLS is between us.
            load.scheme = 'https' if not by_proxy or 'tls' in name else 'http'
            began = time.monotonic()
            load.run(REQUESTS, renewals)
            print(f'{load.requests} requests, {load.renewals} renewals in '
                  f'{time.monotonic() - began:.1f} s')
        if name.startswith('nginx'):
            log = (tmp_path / 'error.log').read_text()
            assert not [each for each in log.splitlines() if '[notice]' not in each], log
    for word in 'WARNING', 'ERROR', 'Traceback':
        assert word not in server.log, server.log

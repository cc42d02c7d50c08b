"""PROXY as HAProxy speaks it: each version and option, health checks, renewals, TLS."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))
from certificates import LOCALHOST, client_context

# How many requests the load makes in all, and how often the workers are renewed meanwhile.
REQUESTS = int(os.environ.get('PROXY_REQUESTS', 2000))
RENEWALS = int(os.environ.get('PROXY_RENEWALS', 3))
CLIENTS = 8
PATIENCE = 60.0

SITE = '''
import os
import tremolo

app = tremolo.Tremolo()

@app.route('/')
def index(request):
    client = request.client
    return f'{client and client[0]} {client and client[1]} {os.getpid()} {request.scheme}'
'''

CONFIG = '''
defaults
    mode {mode}
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout check 30s
frontend all
    bind fd@{descriptor} {bind}
    unique-id-format %{{+X}}o\\ %ci:%cp_%ts
    default_backend tremolo
backend tremolo
    {backend}
    server tremolo {upstream} {options}
'''


@contextlib.contextmanager
def haproxy(tool, folder, upstream, options, mode='http', backend='', bind=''):
    """Run HAProxy in front of an address; give its own port."""
    with socket.create_server(('127.0.0.1', 0), backlog=1024) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        config = folder / 'haproxy.conf'
        config.write_text(CONFIG.format(
            mode=mode, descriptor=descriptor, upstream=upstream, options=options, backend=backend,
            bind=bind))
        with (folder / 'haproxy.log').open('w') as log:
            process = subprocess.Popen(
                [tool('haproxy'), '-db', '-f', str(config)], pass_fds=[descriptor],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def site(serve, tool, tmp_path):
    """Run a site behind HAProxy; give the port of HAProxy, and the server."""
    (tmp_path / 'proxied.py').write_text(SITE)

    @contextlib.contextmanager
    def run(options, *arguments, mode='http', backend='', bind='', version='auto'):
        with serve('proxied:app', '--proxy-protocol', version, '--trusted-proxies', '127.0.0.1',
                   *arguments, folder=tmp_path) as server, \
                haproxy(tool, tmp_path, f'127.0.0.1:{server.port}', options, mode, backend,
                        bind) as port:
            yield port, server

    return run


def connected(port: int, host: str = '127.0.0.9') -> socket.socket:
    """Connect from an address of its own: it is not HAProxy's."""
    return socket.create_connection(('127.0.0.1', port), PATIENCE, (host, 0))


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ask(sock: socket.socket) -> list[str]:
    """Ask on a connection that is kept; return the words of the answer."""
    sock.sendall(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    body = answer.read().decode()
    assert answer.status == 200, body
    return body.split()


OPTIONS = {
    'v1': ('v1', 'send-proxy'),
    'v2': ('v2', 'send-proxy-v2'),
    'checksum': ('v2', 'send-proxy-v2 proxy-v2-options crc32c'),
    'all': ('v2', 'send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn,'
                  'ssl-cipher,cert-sig,cert-key'),
    'tls': ('v2', 'send-proxy-v2-ssl'),
    'names': ('v2', 'send-proxy-v2-ssl-cn'),
}


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('name', OPTIONS)
def test_each_header_that_haproxy_sends_is_read(name, mode, site):
    version, options = OPTIONS[name]
    for wanted in (version, 'auto'):
        with site(options, mode=mode, version=wanted) as (port, server):
            for _ in range(3):
                with connected(port) as sock:
                    for _ in range(3):
                        assert ask(sock)[:2] == ['127.0.0.9', str(sock.getsockname()[1])]
        assert ' proxy_header: ' not in server.log and ' stranger: ' not in server.log


def test_haproxy_that_ends_tls_tells_of_it_and_nothing_comes_of_that(site, tmp_path):
    """What it says of TLS (with a checksum over all of it) is walked over."""
    both = tmp_path / 'both.pem'
    both.write_text(Path(LOCALHOST.cert).read_text() + Path(LOCALHOST.key).read_text())
    with site(OPTIONS['all'][1], bind=f'ssl crt {both}', version='v2') as (port, _), \
            client_context().wrap_socket(connected(port), server_hostname='localhost') as sock:
        client, number, _, scheme = ask(sock)
        assert (client, number) == ('127.0.0.9', str(sock.getsockname()[1]))
        assert scheme == 'http'


def test_tls_goes_through_haproxy_behind_the_header(site):
    with site('send-proxy-v2', '--ssl-certfile', LOCALHOST.cert, '--ssl-keyfile', LOCALHOST.key,
              mode='tcp') as (port, _):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context()
            context.maximum_version = version
            with context.wrap_socket(connected(port), server_hostname='localhost') as sock:
                client, number, _, scheme = ask(sock)
                assert (client, number) == ('127.0.0.9', str(sock.getsockname()[1]))
                assert scheme == 'https'


@pytest.mark.parametrize('backend', ['', 'option httpchk GET /'])
@pytest.mark.parametrize('options', ['send-proxy', 'send-proxy-v2', 'send-proxy check-send-proxy',
                                     'send-proxy-v2 proxy-v2-options crc32c check-send-proxy'])
def test_health_checks_find_it_up_and_leave_no_line(options, backend, site, tmp_path):
    """They connect and leave, or send LOCAL and ask."""
    if backend and 'check-send-proxy' not in options:
        options += ' check-send-proxy'
    with site(f'{options} check inter 20ms fastinter 20ms', backend=backend) as (port, server):
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            with connected(port) as sock:
                assert ask(sock)[0] == '127.0.0.9'
    assert ' is DOWN' not in (tmp_path / 'haproxy.log').read_text()
    assert [line for line in server.log.splitlines() if 'INFO tremolo: stopping' not in line] == []


@pytest.mark.parametrize('mode', ['http', 'tcp'])
@pytest.mark.parametrize('options', ['send-proxy', 'send-proxy-v2 proxy-v2-options crc32c'])
def test_kept_connections_keep_their_clients_through_renewals(options, mode, site):
    """Zero errors, and each answer names the client that asked."""
    with site(f'{options} pool-max-conn 100', '--workers', '2', mode=mode,
              backend='http-reuse always' if mode == 'http' else '') as (port, server):
        failed: list[BaseException] = []
        workers: set[str] = set()
        ended = threading.Event()

        def load(number: int) -> None:
            host, asked = f'127.0.0.{10 + number}', 0
            try:
                while asked < REQUESTS // CLIENTS or not ended.is_set():
                    with connected(port, host) as sock:
                        for _ in range(50):
                            client, seen, worker, _ = ask(sock)
                            assert (client, seen) == (host, str(sock.getsockname()[1]))
                            workers.add(worker)
                            asked += 1
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=load, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            # (A worker that is still starting has nothing to hand over.)
            wait_until(lambda: len(workers) > 1 or failed)
            for count in range(RENEWALS):
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: server.log.count(' handed over ') >= 2 * (count + 1) or failed)  # noqa: B023
        finally:
            ended.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(workers) >= 2 + RENEWALS

"""nginx and HAProxy as tremolo/deployment.md shows them, in front of servers as it starts them.

DEPLOYMENT_REQUESTS is how many requests each test of a drain makes at least; 800 unless set.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from certificates import LOCALHOST, client_context
from conftest import PATIENCE, ROOT
from deployment import APPLICATION, block, variables, yaml_value, yaml_variables
from fronts import running_haproxy, running_nginx
from test_rolling_release import Load

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='all of 127/8 is on Linux')

REQUESTS = int(os.environ.get('DEPLOYMENT_REQUESTS', 800))
# Seconds between two requests of each client.
PAUSE = 0.01
# The checks come sooner than on the page, and the delay of a drain is shorter.
SOON = {'inter 2s': 'inter 100ms'}
# The load has to get through without a second try.
NO_SECOND_TRY = {'    retries 3\n    option redispatch\n': '    retries 0\n'}


class Machine:
    """A server at an address of its own; another one takes its place there."""

    def __init__(self, folder, host, port, given) -> None:
        self._folder, self._host, self.port, self._given = folder / host, host, port, given
        self._folder.mkdir()
        (self._folder / 'shop.py').write_text(APPLICATION)
        self.start()

    def start(self) -> None:
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), **self._given,
                       'TREMOLO_HOST': self._host, 'TREMOLO_PORT': str(self.port)}
        self._log = open(self._folder / 'log', 'a')  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tremolo', 'shop:app'], cwd=self._folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True)
        line = self.process.stdout.readline()
        assert line.startswith('running on '), self.log
        self.port = int(re.search(r':(\d+) ', line)[1])
        # (Who stops it while one of its workers starts resets the clients of that one.)
        wanted, seen = int(self._given.get('TREMOLO_WORKERS', 1)), set()
        deadline = time.monotonic() + PATIENCE
        while wanted > 1 and len(seen) < wanted:
            assert time.monotonic() < deadline
            with urllib.request.urlopen(f'http://{self._host}:{self.port}/') as answer:
                seen.add(answer.read().split()[0])

    def health(self) -> int:
        """Return the status of the health path, by HTTP/1.0 and without a Host."""
        with socket.create_connection((self._host, self.port), PATIENCE) as sock:
            sock.sendall(f'GET {self._given["TREMOLO_HEALTH"]} HTTP/1.0\r\n\r\n'.encode())
            return int(sock.recv(1000).split()[1])

    def stop(self, patience=PATIENCE) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.gone(patience)

    def gone(self, patience=PATIENCE) -> None:
        try:
            assert self.process.wait(patience) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self._log.close()

    def runs(self, answer: str) -> bool:
        """Return whether this machine gave an answer, which begins with a process id."""
        pid = self.process.pid
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
        return answer.split()[0] in (str(pid), *children)

    @property
    def log(self) -> str:
        return (self._folder / 'log').read_text()


@contextlib.contextmanager
def machines(folder, given, *hosts):
    """Run a server at each of these addresses, all at the same port."""
    with contextlib.ExitStack() as stack:
        found, port = [], 0
        for host in hosts:
            found.append(Machine(folder, host, port, given))
            stack.callback(lambda each=found[-1]: each.process.poll() is None and each.stop())
            port = found[0].port
        yield found


def certificate(folder):
    """Return the path of a certificate with its key in the same file, as HAProxy wants it."""
    path = folder / 'shop.pem'
    path.write_text(Path(LOCALHOST.cert).read_text() + Path(LOCALHOST.key).read_text())
    return path


@contextlib.contextmanager
def in_front(tool, folder, name, found, **replaced):
    """Run HAProxy by a block of the page, in front of two machines; give its port."""
    if os.geteuid():
        replaced['    user haproxy\n    group haproxy\n'] = ''
    port = re.search(r'one 10\.0\.0\.11:(\d+)', block(name))[1]
    with socket.create_server(('127.0.0.1', 0), backlog=500) as listener:
        text = block(name, {
            'bind :443': f'bind fd@{listener.fileno()}', f'11:{port}': f'11:{found[0].port}',
            f'12:{port}': f'12:{found[0].port}', '10.0.0.': '127.0.0.', **SOON, **replaced})
        with running_haproxy(tool('haproxy'), folder, text, listener):
            yield listener.getsockname()[1]


@contextlib.contextmanager
def secure(port, host='127.0.0.9'):
    """Give a connection by TLS, from an address of its own: it is not the proxy's."""
    with socket.create_connection(('127.0.0.1', port), PATIENCE, (host, 0)) as plain, \
            client_context().wrap_socket(plain, server_hostname='localhost') as sock:
        yield sock


def ask(sock: ssl.SSLSocket, path: str, *fields: str, method: str = 'GET', body: bytes = b''):
    """Return the status and the body of an answer on a kept connection."""
    lines = [f'{method} {path} HTTP/1.1', 'Host: shop.example.org', *fields, '', '']
    sock.sendall('\r\n'.join(lines).encode() + body)
    file = sock.makefile('rb')
    with file:
        status = int(file.readline().split()[1])
        fields = {}
        for line in iter(file.readline, b'\r\n'):
            name, _, value = line.decode().partition(':')
            fields[name.lower()] = value.strip()
        return status, fields, file.read(int(fields.get('content-length', 0)))


def echoes(sock: ssl.SSLSocket) -> bool:
    """Open a WebSocket, and return whether it echoes (RFC 6455 section 5.7)."""
    status, *_ = ask(sock, '/echo', 'Upgrade: websocket', 'Connection: Upgrade',
                     'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')
    assert status == 101
    sock.sendall(b'\x81\x85\0\0\0\0Hello')
    return sock.recv(100) == b'\x81\x05Hello'


def tells_who_asks(sock: ssl.SSLSocket) -> dict:
    status, _, body = ask(sock, '/who', 'X-Forwarded-For: 6.6.6.6', 'X-Forwarded-Proto: gopher')
    assert status == 200, body
    return json.loads(body)


def of_the_machine(delay=2) -> dict[str, str]:
    """Return the variables of /etc/shop.env, with a shorter delay."""
    return variables(block('shop.env', {
        'DELAY=10': f'DELAY={delay}', '/var/log/shop': '.', '127.0.0.1:9100': 'unix:metrics',
        '/run/shop': '.'}))


# -- nginx ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def behind_nginx(tool, folder, upstream, **replaced):
    with socket.create_server(('127.0.0.1', 0), backlog=500) as listener:
        port = listener.getsockname()[1]
        text = block('shop.conf', {
            'listen 443': f'listen 127.0.0.1:{port}', '/etc/ssl/shop.pem': LOCALHOST.cert,
            '/etc/ssl/shop.key': LOCALHOST.key, 'server 127.0.0.1:8000;': upstream, **replaced})
        with running_nginx(tool('nginx'), folder, text, listener):
            yield port
    # (What nginx refuses by itself is an error in its log as well, and a server that is not there.)
    lines = (folder / 'error.log').read_text().splitlines()
    found = [each for each in lines if 'upstream' in each and not re.search(
        'too large body|Connection refused', each)]
    # (On a busy machine nginx may not see in time that a stopped server has ended a connection that
    # was idle. It asks the other server then, and the client is told nothing.)
    tried_again = [each for each in found if re.search(
        'prematurely closed connection|reset by peer', each) and upstream.count('server ') > 1]
    assert found == tried_again and len(found) <= 2


def test_nginx_passes_all_on_that_the_page_says(tool, tmp_path):
    with machines(tmp_path, of_the_machine(), '127.0.0.1') as (server,), \
            behind_nginx(tool, tmp_path, f'server 127.0.0.1:{server.port};') as port:
        with secure(port) as sock:
            seen = tells_who_asks(sock)
            assert seen['client'][0] == '127.0.0.9'
            assert (seen['scheme'], seen['host']) == ('https', 'shop.example.org')
            assert ask(sock, '/healthz')[0] == 404
            assert server.health() == 200
            # What is too large is refused by nginx.
            status, fields, _ = ask(sock, '/in', f'Content-Length: {(64 << 20) + 1}', method='POST')
            assert (status, fields['server'].partition('/')[0]) == (413, 'nginx')
        # A body of which a part has come is read already.
        with secure(port) as sock:
            sock.sendall(b'PUT /uploads/first HTTP/1.1\r\nHost: shop.example.org\r\n'
                         b'Content-Length: 100000000\r\n\r\nabc')
            answer = b''
            while b'abc' not in answer:
                answer += sock.recv(9999)
        # An event is there before the next one is made.
        with secure(port) as sock:
            sock.sendall(b'GET /events HTTP/1.1\r\nHost: shop.example.org\r\n\r\n')
            answer = b''
            while b'data: first' not in answer:
                answer += sock.recv(9999)
        with secure(port) as sock:
            assert echoes(sock)


def test_nginx_ends_an_idle_connection_before_we_do(tool, tmp_path):
    """Both by their numbers of the page, nginx's in milliseconds: ours is longer."""
    import tremolo
    app = tremolo.Tremolo()
    app.route('/')(lambda: 'Hello world!')
    with app.start() as server, behind_nginx(
            tool, tmp_path, f'server 127.0.0.1:{server.port};',
            **{'keepalive_timeout 60s': 'keepalive_timeout 60ms'}) as port:
        with secure(port) as sock:
            assert ask(sock, '/')[0] == 200
        deadline = time.monotonic() + PATIENCE
        while not sum(server.server.closed.values()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert dict(server.server.closed) == {'client': 1}


def test_two_servers_behind_nginx_are_stopped_in_turn_and_nothing_is_lost(tool, tmp_path):
    with machines(tmp_path, of_the_machine(1), '127.0.0.11', '127.0.0.12') as found, behind_nginx(
            tool, tmp_path, ''.join(f'server 127.0.0.{each}:{found[0].port} fail_timeout=1s;'
                                    for each in (11, 12))) as port, \
            Load(port, client_context(), PAUSE) as load:
        load.wait_for(100)
        for number, each in enumerate(found, 1):
            each.stop()
            replaced(each, load)
            load.wait_for(max(load.count + 100, number * REQUESTS // 2))
    assert load.wrong == []


# -- HAProxy --------------------------------------------------------------------------------------


def replaced(machine: Machine, load: Load) -> None:
    """Start a machine again, and wait until the proxy sends requests to it."""
    machine.start()
    deadline = time.monotonic() + PATIENCE
    while not load.wrong and not any(machine.runs(answer) for answer in list(load.answers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def drained(machine: Machine, load: Load, given) -> None:
    """Stop a machine under load: it says so, serves on meanwhile, and then it is replaced."""
    assert machine.health() == 200
    began = time.monotonic()
    machine.process.send_signal(signal.SIGTERM)
    while (said := machine.health()) == 200:
        assert time.monotonic() < began + PATIENCE
    assert said == 503
    machine.gone()
    assert time.monotonic() - began >= float(given['TREMOLO_DRAIN_DELAY'])
    load.wait_for(load.count + 100)
    replaced(machine, load)


def test_haproxy_passes_all_on_that_the_page_says(tool, tmp_path):
    with machines(tmp_path, of_the_machine(), '127.0.0.11', '127.0.0.12') as found, \
            in_front(tool, tmp_path, 'haproxy.cfg', found, **{
                '/etc/haproxy/shop.pem': certificate(tmp_path)}) as port:
        with secure(port) as sock:
            seen = tells_who_asks(sock)
            assert seen['client'][0] == '127.0.0.9'
            assert (seen['scheme'], seen['host']) == ('https', 'shop.example.org')
            assert ask(sock, '/healthz')[0] == 404
            sock.sendall(b'GET /events HTTP/1.1\r\nHost: shop.example.org\r\n\r\n')
            answer = b''
            while b'data: first' not in answer:
                answer += sock.recv(9999)
        with secure(port) as sock:
            assert echoes(sock)
        done = subprocess.run(
            [tool('curl'), '-sS', '--noproxy', '*', '-k', '--http2', '-o', os.devnull, '-w',
             '%{http_version} %{http_code}', f'https://127.0.0.1:{port}/late'],
            capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert done.stdout == '2 200'


def test_of_two_machines_behind_haproxy_each_is_drained_under_load_without_an_error(
        tool, tmp_path):
    given = of_the_machine()
    with machines(tmp_path, given, '127.0.0.11', '127.0.0.12') as found, in_front(
            tool, tmp_path, 'haproxy.cfg', found, **NO_SECOND_TRY, **{
                '/etc/haproxy/shop.pem': certificate(tmp_path)}) as port, \
            Load(port, client_context(), PAUSE) as load:
        load.wait_for(100)
        for number, each in enumerate(found, 1):
            drained(each, load, given)
            load.wait_for(number * REQUESTS // 2)
    print(f'{load.count} requests of {len(load.answers)} processes')
    assert load.wrong == []
    assert len(load.answers) > 4


def test_a_rolling_update_with_the_numbers_for_kubernetes_loses_nothing(tool, tmp_path):
    """Each pod gets SIGTERM and is replaced, as a rolling update does it, again and again."""
    text = block('shop.yaml', {'"10"': '"2"', '10.0.0.0/8': '127.0.0.0/8'})
    given = yaml_variables(text)
    with machines(tmp_path, given, '127.0.0.11', '127.0.0.12') as found, in_front(
            tool, tmp_path, 'haproxy.cfg', found, **NO_SECOND_TRY, **{
                '/etc/haproxy/shop.pem': certificate(tmp_path)}) as port, \
            Load(port, client_context(), PAUSE) as load:
        load.wait_for(100)
        for number, each in enumerate(found, 1):
            each.stop(int(yaml_value(text, 'terminationGracePeriodSeconds')))
            replaced(each, load)
            load.wait_for(max(load.count + 100, number * REQUESTS // 2))
    assert load.wrong == []


def test_haproxy_passes_tls_on_and_names_its_clients(tool, tmp_path):
    given = variables(block('shop-tls.env', {
        '/etc/ssl/shop.pem': LOCALHOST.cert, '/etc/ssl/shop.key': LOCALHOST.key,
        # (A busy machine needs a second for what HAProxy checks by TLS.)
        'PROXIES=10.0.0.1': 'PROXIES=127.0.0.1', 'DELAY=10': 'DELAY=5'}))
    with machines(tmp_path, given, '127.0.0.11', '127.0.0.12') as found, in_front(
            tool, tmp_path, 'passes-tls-on.cfg', found) as port:
        with secure(port) as sock:
            seen = tells_who_asks(sock)
            assert (seen['client'][0], seen['secure']) == ('127.0.0.9', True)
            assert echoes(sock)
        with Load(port, client_context(), PAUSE) as load:
            load.wait_for(100)
            for number, each in enumerate(found, 1):
                each.stop()
                replaced(each, load)
                load.wait_for(max(load.count + 100, number * REQUESTS // 2))
        assert load.wrong == []
        for each in found:
            assert 'proxy_header' not in each.log and 'refused' not in each.log, each.log


# -- metrics --------------------------------------------------------------------------------------


def test_a_scrape_by_the_configuration_of_prometheus_finds_each_machine(tmp_path):
    text = block('prometheus.yml', {'10.0.0.': '127.0.0.'})
    targets = re.findall(r'"(127\.0\.0\.\d+):9100"', text)
    given = of_the_machine()
    for number, host in enumerate(targets, 1):
        with socket.create_server((host, 0)) as sock:
            port = sock.getsockname()[1]
        machine = Machine(tmp_path, host, 0, {**given, 'TREMOLO_METRICS': f'{host}:{port}'})
        try:
            for _ in range(number):
                with urllib.request.urlopen(f'http://{host}:{machine.port}/in', b'x') as answer:
                    answer.read()
            assert machine.health() == 200
            with urllib.request.urlopen(f'http://{host}:{port}/metrics') as answer:
                lines = answer.read().decode().splitlines()
            assert f'tremolo_requests_total{{method="POST",status="200"}} {number}' in lines
        finally:
            machine.stop()

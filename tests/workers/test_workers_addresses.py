"""Where workers listen, the options of each address, and what the system refuses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server_support import Client, request
from worker_group import APPLICATION, PATIENCE, ROOT, TWO, runs, wait_until

from tremolo import SettingError, Tremolo

resource = pytest.importorskip('resource')
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def size_of_body(address, size):
    """Return the status of the answer to a body of so many bytes."""
    client = Client(address)
    try:
        client.send(request('/', 'POST', body=b'x' * size))
        return client.take().status
    finally:
        client.close()


@pytest.fixture
def app():
    app = Tremolo()

    @app.route('/', methods=['GET', 'POST'])
    def index(request, context):
        yield (yield request.body())

    @app.route('/options')
    def options(request):
        yield f'{request.context.options["body_size"]}'

    return app


# -- one process ----------------------------------------------------------------------------------


def test_each_address_has_options_of_its_own(app, tmp_path):
    path = str(tmp_path / 'socket')
    app.listen(0, body_size=10, download_rate='100KiB')
    app.listen(f'unix:{path}', body_size='1KiB', idle_timeout=0)
    app.listen('127.0.0.1:0')
    with app.start(body_size=100) as running:
        first, small, unix, plain = [each.address for each in running.server.listeners]
        assert unix == path
        for address, most in ((first, 100), (small, 10), (unix, 1024), (plain, 100)):
            assert size_of_body(address, most) in (200, 204)
            assert size_of_body(address, most + 1) == 413
        began = time.monotonic()
        assert size_of_body(first, 100) == 200
        client = Client(unix)
        client.send(request())
        # An idle_timeout of 0 keeps no connection, and it is an option of this address only.
        assert client.take().headers['connection'] == 'close'
        client.close()
        client = Client(first)
        client.send(request() * 2)
        assert [client.take().headers.get('connection') for _ in range(2)] == [None] * 2
        client.close()
        assert time.monotonic() - began < PATIENCE


def test_a_rate_is_that_of_one_address(app):
    app.route('/big')(lambda: b'x' * 200_000)
    app.listen(0, download_rate=800_000)
    with app.start() as running:
        quick, slow = [each.address for each in running.server.listeners]
        lasted = []
        for address in (quick, slow):
            client = Client(address)
            began = time.monotonic()
            client.send(request('/big'))
            assert len(client.take().body) == 200_000
            lasted.append(time.monotonic() - began)
            client.close()
        assert lasted[1] > 0.22


@pytest.mark.parametrize(('given', 'options', 'words'), [
    (8001, {'workers': 2}, 'workers: is an option of the whole server'),
    (8001, {'shutdown_timeout': 2}, 'shutdown_timeout: is an option of the whole'),
    (8001, {'limit_concurrency': 2}, 'limit_concurrency: is an option of the whole'),
    (8001, {'debug': True}, 'debug: is an option of the whole'),
    (8001, {'idle_timeot': 2}, 'did you mean idle_timeout'),
    (8001, {'idle_timeout': 'soon'}, 'idle_timeout: '),
    (70000, {}, 'bad port'),
    (-1, {}, 'bad port'),
    ('somewhere', {}, 'has no port'),
    ('unix:', {}, 'has no path'),
])
def test_what_listen_refuses(app, given, options, words):
    with pytest.raises(SettingError, match=words):
        app.listen(given, **options)


def test_a_graceful_end_is_of_all_addresses(app):
    app.listen(0, idle_timeout=100)
    with app.start() as running:
        clients = [Client(each.address) for each in running.server.listeners]
        for each in clients:
            each.send(request())
            each.take()
        running.server.reactor.call_soon_threadsafe(running.server.drain)
        for each in clients:
            assert each.sock.recv(1) == b''
            each.close()
        wait_until(lambda: not running.server.connections)


# -- workers --------------------------------------------------------------------------------------


MANY = APPLICATION + '''
@app.route('/body', methods=['POST'])
def body(request):
    yield (yield request.body())

app.listen(PORT, body_size=10)
app.listen('unix:PATH', body_size=20)

if __name__ == '__main__':
    app.run('127.0.0.1', 0, worker_num=2)
'''


def many(port, path):
    return MANY.replace('PORT', str(port)).replace('PATH', str(path))


@pytest.mark.parametrize('command', [
    ('many.py',), ('-m', 'tremolo', 'many:app', '--port', '0', '--workers', '2', '--preload')])
def test_workers_know_the_options_of_each_address(group, tmp_path, command):
    port, path = free_port(), tmp_path / 'socket'
    (tmp_path / 'many.py').write_text(many(port, path))
    workers = group(command=command)
    first = workers.wait_for(2)

    def check():
        for address, most in ((('127.0.0.1', port), 10), (str(path), 20)):
            for size, status in ((most, 200), (most + 1, 413)):
                client = Client(address)
                client.send(request('/body', 'POST', body=b'x' * size))
                assert client.take().status == status
                client.close()

    check()
    # A connection that is handed over keeps the options of its address; so does a lent listener.
    kept = []
    for address in (('127.0.0.1', port), str(path)):
        kept.append(Client(address))
        kept[-1].send(request())
        kept[-1].take()
    workers.signal('SIGHUP')
    wait_until(lambda: not first & workers.pids and workers.wait_for(2))
    for client, most in zip(kept, (10, 20)):
        client.send(request('/body', 'POST', body=b'x' * (most + 1)))
        assert client.take().status == 413
        client.close()
    workers.signal('SIGTTOU')
    workers.wait_for(1)
    for _ in range(4):
        check()
    assert workers.end() == 0
    assert not path.exists()


def test_a_path_that_only_the_application_knows_is_not_for_workers(group, tmp_path):
    (tmp_path / 'many.py').write_text(many(0, tmp_path / 'socket'))
    workers = group(*TWO, command=('-m', 'tremolo', 'many:app'))
    assert workers.end() == 1
    assert workers.log.count('error') == 1
    assert 'with workers, name it with --bind, or say --preload' in workers.log


STUCK = '''
@app.route('/stuck')
def stuck():
    open('stuck', 'w').close()
    time.sleep(1000)
'''


def test_one_socket_for_all_workers(group, tmp_path):
    (tmp_path / 'stuck.py').write_text(APPLICATION + STUCK)
    workers = group(*TWO, '--shared-socket', command=('-m', 'tremolo', 'stuck:app'))
    workers.wait_for(2)
    # Both workers accept from it: a worker that hangs delays no client.
    with workers.connect() as stuck:
        stuck.sendall(b'GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n')
        wait_until((tmp_path / 'stuck').exists)
        for _ in range(20):
            assert workers.get().endswith('first')
        inodes = [socket_of(pid, workers.address) for pid in workers.pids]
        assert len(inodes) == 2
        assert len(set(inodes)) == 1
    workers.signal('SIGQUIT')
    for pid in workers.pids:    # (One of them hangs.)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not workers.pids)


def socket_of(pid, address):
    """Return the inode of the socket on which a process listens."""
    port = f':{int(address.rpartition(":")[2]):04X}'
    lines = [line.split() for line in Path(f'/proc/{pid}/net/tcp').read_text().splitlines()[1:]]
    listening = {f'socket:[{each[9]}]' for each in lines
                 if each[1].endswith(port) and each[3] == '0A'}
    links = {os.readlink(each) for each in Path(f'/proc/{pid}/fd').iterdir()}
    inode, = listening & links
    return inode


# -- what the system refuses ----------------------------------------------------------------------


def refused(tmp_path, *command, **more):
    """Run a command that fails to start; return its status and its one line on stderr."""
    (tmp_path / 'example.py').write_text(APPLICATION)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1'}
    environment.pop('PORT', None)
    # (A tool that measures coverage would complain that it may not write.)
    environment.pop('COVERAGE_PROCESS_CONFIG', None)
    ended = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, timeout=PATIENCE, text=True,
        capture_output=True, check=False, **more)
    assert ended.stdout == ''
    line, = ended.stderr.splitlines()
    return ended.returncode, line


@pytest.mark.parametrize('workers', [(), ('--workers', '2')])
def test_a_directory_in_the_place_of_a_socket(tmp_path, workers):
    place = tmp_path / 'place'
    place.mkdir()
    status, line = refused(
        tmp_path, '-m', 'tremolo', 'example:app', '--bind', f'unix:{place}', *workers)
    assert status == 1
    assert line.endswith(f'cannot listen on unix:{place}: something that is no socket is there')
    assert place.is_dir()


@pytest.mark.parametrize('workers', [(), ('--workers', '2')])
def test_the_first_address_is_given_up_when_the_second_is_refused(tmp_path, workers):
    place = tmp_path / 'socket'
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, line = refused(
            tmp_path, '-m', 'tremolo', 'example:app', '--bind', f'unix:{place}', '--bind',
            f'127.0.0.1:{port}', *workers)
    assert status == 1
    assert line.endswith(f'cannot listen on 127.0.0.1:{port}: Address already in use')
    assert not place.exists()


@pytest.mark.parametrize('workers', [(), ('--workers', '2')])
def test_a_socket_file_that_a_killed_server_left(group, tmp_path, workers):
    place = tmp_path / 'socket'
    arguments = ('--bind', f'unix:{place}', *workers)
    killed = group(*arguments)
    if workers:
        killed.wait_for(2)
    pids = {killed.process.pid, *killed.pids}
    killed.process.kill()
    killed.process.wait()
    wait_until(lambda: not any(map(runs, pids)))
    assert place.exists()
    again = group(*arguments)
    assert again.get().endswith('first')
    assert again.end() == 0
    assert not place.exists()


@pytest.mark.parametrize('workers', [(), ('--workers', '2')])
def test_more_connections_than_descriptors(tmp_path, workers):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 500))

    status, line = refused(tmp_path, '-m', 'tremolo', 'example:app', '--connections', '500',
                           *workers, preexec_fn=limit)
    assert status == 1
    assert line == ('tremolo: error: connections: 500 need 564 file descriptors, and the system '
                    'allows 500 (ulimit -n)')


def test_descriptors_are_asked_for_as_far_as_one_may(group):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        server = group('--connections', '300', '--port', '0', fresh=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == 364


# The number of processes has a limit only for a user that is not root.
UNPRIVILEGED = APPLICATION + '''
import os, resource, sys
import email.utils, tremolo.service.report, tremolo.workers.supervisor
'its folders may be closed to others'.encode('idna')
if not os.getuid():
    os.setgid(65534)
    os.setuid(65534)
import signal
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)

def toggle(*_):
    now, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (0 if now else soft, hard))

signal.signal(signal.SIGUSR1, toggle)
if sys.argv[1:]:
    toggle()
app.run(port=0, workers=2, preload=True)
'''


def test_a_first_fork_that_fails(tmp_path):
    status, line = refused(tmp_path, '-c', UNPRIVILEGED, 'limited')
    assert status == 1
    assert line == 'tremolo: error: cannot fork a worker: Resource temporarily unavailable'


def test_a_fork_that_fails_later_is_tried_again(group):
    workers = group(command=('-c', UNPRIVILEGED))
    workers.wait_for(2)
    workers.signal('SIGUSR1')
    limits = Path(f'/proc/{workers.process.pid}/limits')
    wait_until(lambda: re.search('Max processes +0 ', limits.read_text()))
    workers.get('/exit')
    wait_until(lambda: 'cannot fork a worker' in workers.log)
    assert workers.get().endswith('first')
    workers.signal('SIGUSR1')
    workers.wait_for(2)

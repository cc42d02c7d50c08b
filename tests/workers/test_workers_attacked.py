"""What an attack on the workers found: failed requests, lost requests, and processes that ended."""

from __future__ import annotations

import errno
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest
from worker_group import APPLICATION, PATIENCE, ROOT, TWO, runs, wait_until

from tremolo import Tremolo
from tremolo.loop import Reactor
from tremolo.workers import channel
from tremolo.workers.channel import CONNECTION, READY, Channel
from tremolo.workers.lock import Lock

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

resource = pytest.importorskip('resource', reason='not on Windows')

ASK = b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'


def answer(sock: socket.socket) -> bytes:
    """Return all bytes until the end of the connection."""
    received = b''
    with sock:
        while data := sock.recv(65536):
            received += data
    return received


def hold(workers) -> socket.socket:
    """Begin a request whose answer ends when there is a file `go`."""
    sock = workers.connect()
    sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    while b'begun' not in sock.recv(4096):
        pass
    return sock


def one_with_each(workers, pids):
    """Return an idle connection to each worker, by process id."""
    found = {}
    while found.keys() != pids:
        connection = http.client.HTTPConnection('127.0.0.1', timeout=PATIENCE)
        connection.sock = workers.connect()
        connection.request('GET', '/')
        pid = int(connection.getresponse().read().split()[0])
        if found.setdefault(pid, connection) is not connection:
            connection.close()
    return found


# -- what the processes have --------------------------------------------------------------------


@pytest.mark.parametrize('where', ['full', 'nobody', 'closed'])
@pytest.mark.parametrize('workers', [[], ['--workers', '2']], ids=['one', 'two'])
def test_it_serves_though_nobody_can_read_what_it_says(tmp_path, where, workers):
    (tmp_path / 'example.py').write_text(APPLICATION)
    path = tmp_path / 'socket'
    with open('/dev/full', 'w') as full:
        reading, writing = os.pipe()
        os.close(reading)
        output = {'full': full.fileno(), 'nobody': writing, 'closed': None}[where]
        command = [
            sys.executable, '-m', 'tremolo', 'example:app', '--bind', f'unix:{path}', *workers]
        if where == 'closed':
            command = ['sh', '-c', 'exec "$@" >&- 2>&-', 'sh', *command]
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        os.close(writing)

    def get(target='/') -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.connect(str(path))
                sock.sendall(ASK.replace(b'/', target.encode(), 1))
                return sock.recv(65536)
            except OSError:
                return b''

    children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text
    try:
        wait_until(lambda: process.poll() is not None or get().endswith(b'first'))
        if workers:
            # The supervisor logs each crash, and nobody can read it.
            for _ in range(3):
                get('/exit')
                wait_until(lambda: process.poll() is not None or len(children().split()) == 2)
                assert get().endswith(b'first')
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_the_default_timeout_of_sockets_is_left_alone_when_connections_come(monkeypatch):
    # The default is shared by all threads, and another thread may open a socket just then.
    if sys.implementation.name != 'pypy':
        monkeypatch.setattr(socket, 'setdefaulttimeout', None)
    ours, theirs = socket.socketpair()
    with ours, theirs, channel.copy_of(ours) as other:
        assert other.fileno() not in (ours.fileno(), theirs.fileno())


def test_no_program_inherits_the_connections_that_were_handed_over(group):
    workers = group(*TWO)
    old = workers.wait_for(2)
    kept = one_with_each(workers, old)
    workers.signal('SIGHUP')
    new = wait_until(lambda: not old & workers.pids and workers.wait_for(2))
    for connection in kept.values():
        connection.request('GET', '/')
        assert int(connection.getresponse().read().split()[0]) in new
    for pid in new:
        for fd in Path(f'/proc/{pid}/fd').iterdir():
            if os.readlink(fd).startswith('socket:'):
                info = Path(f'/proc/{pid}/fdinfo/{fd.name}').read_text()
                assert int(re.search(r'flags:\s+(\d+)', info)[1], 8) & os.O_CLOEXEC
    for connection in kept.values():
        connection.close()


@pytest.mark.parametrize('workers', [[], ['--workers', '1']], ids=['one', 'two'])
def test_a_process_that_the_application_forks_has_none_of_our_signals_and_sockets(
        group, tmp_path, workers):
    (tmp_path / 'example.py').write_text(APPLICATION + '''
@app.route('/fork')
def fork():
    child = os.fork()
    if not child:
        time.sleep(1000)
    return str(child)
''')
    started = group('--port', '0', *workers)
    wait_until(lambda: started.get().endswith('first'))
    held = hold(started)
    child = int(started.get('/fork'))
    try:
        # The client sees the end of its connection at once, though the child lives.
        (tmp_path / 'go').touch()
        assert answer(held).endswith(b'ended\r\n0\r\n\r\n')
        assert runs(child)
        # The port is free as soon as the server has ended.
        started.signal('SIGTERM')
        assert started.process.wait(PATIENCE) == 0
        with socket.create_server(('127.0.0.1', int(started.address.split(':')[2]))):
            pass
        os.kill(child, signal.SIGTERM)
        wait_until(lambda: not runs(child))
    finally:
        if runs(child):
            os.kill(child, signal.SIGKILL)


def test_what_multiprocessing_started_in_a_worker_ends_with_it(group, tmp_path):
    (tmp_path / 'example.py').write_text('import multiprocessing\n' + APPLICATION + '''
@app.route('/start')
def start():
    process = multiprocessing.Process(target=time.sleep, args=(1000,))
    process.start()
    return str(process.pid)
''')
    workers = group('--workers', '1', '--port', '0')
    workers.wait_for(1)
    child = int(workers.get('/start'))
    assert runs(child)
    assert workers.end() == 0
    assert not runs(child)


def test_a_program_that_went_elsewhere_starts_afresh_where_it_began(group, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    program = APPLICATION + '''
os.chdir('elsewhere')
app.run(port=0, workers=NUMBER)
'''
    for workers in (None, 2):
        first = program.replace('NUMBER', str(workers))
        (tmp_path / 'program.py').write_text(first)
        started = group(command=('program.py',))
        wait_until(lambda: started.get().endswith('first'))             # noqa: B023
        (tmp_path / 'program.py').write_text(first.replace("'first'", "'second'"))
        started.signal('SIGHUP')
        wait_until(lambda: started.get().endswith('second'))            # noqa: B023
        assert started.end() == 0


def test_what_stands_behind_app_run_is_for_the_first_process(group, tmp_path):
    (tmp_path / 'program.py').write_text(APPLICATION + '''
app.run(port=0, workers=2)
print('behind', os.getpid(), flush=True)
''')
    workers = group(command=('program.py',))
    old = workers.wait_for(2)
    workers.signal('SIGHUP')
    wait_until(lambda: not old & workers.pids and workers.wait_for(2))
    old = workers.pids
    workers.signal('SIGHUP')
    wait_until(lambda: not old & workers.pids and workers.wait_for(2))
    workers.signal('SIGTERM')
    assert workers.process.stdout.read() == f'behind {workers.process.pid}\n'
    assert workers.end() == 0


def test_why_an_application_leaves_while_it_is_imported_is_shown(group, tmp_path):
    (tmp_path / 'example.py').write_text("raise SystemExit('DATABASE_URL is not set')\n")
    workers = group(*TWO)
    assert workers.process.wait(PATIENCE) == 1
    assert workers.log.count('DATABASE_URL is not set\n') == 1


# -- who waits ----------------------------------------------------------------------------------


def test_all_who_wait_when_it_is_told_to_end_are_answered():
    app = Tremolo()
    app.route('/')(lambda: 'answered')
    with app.start(thread=False) as server:
        waiting = []
        for _ in range(200):
            waiting.append(socket.create_connection(server.address, timeout=PATIENCE))
            waiting[-1].sendall(ASK)
    for sock in waiting:
        assert answer(sock).endswith(b'answered')


def test_who_waits_for_a_worker_that_was_dismissed_is_answered_through_a_renewal(group, tmp_path):
    workers = group(*TWO)
    workers.wait_for(2)
    workers.signal('SIGTTOU')
    [last] = workers.wait_for(1, 60)
    os.kill(last, signal.SIGSTOP)
    # Half of the connections are in the queue that was lent to this worker.
    waiting = [workers.connect() for _ in range(400)]
    for sock in waiting:
        sock.sendall(ASK)
    workers.signal('SIGHUP')
    wait_until(lambda: len(workers.pids) == 2)
    os.kill(last, signal.SIGCONT)
    for sock in waiting:
        assert answer(sock).endswith(b'first')
    wait_until(lambda: last not in workers.pids)
    assert workers.answering().keys() == workers.pids


def test_more_and_fewer_again_and_again_opens_nothing_more(group):
    workers = group(*TWO)
    workers.wait_for(2)

    def descriptors() -> int:
        return sum(len(os.listdir(f'/proc/{pid}/fd'))
                   for pid in (workers.process.pid, *workers.pids))

    seen = []
    for _ in range(3):
        workers.signal('SIGTTIN')
        workers.wait_for(3, 60)
        workers.signal('SIGTTOU')
        workers.wait_for(2, 60)
        seen.append(descriptors())
    # (A connection of the test may not have ended yet.)
    wait_until(lambda: descriptors() <= seen[0])


def test_a_worker_that_somebody_tells_to_end_is_replaced_while_it_finishes(group, tmp_path):
    workers = group('--workers', '1', '--port', '0')
    [old] = workers.wait_for(1)
    held = hold(workers)
    os.kill(old, signal.SIGTERM)
    # Another worker accepts from its queue meanwhile.
    wait_until(lambda: int((workers.get() or '0').split()[0]) not in (0, old))
    assert old in workers.pids
    (tmp_path / 'go').touch()
    assert b'ended' in answer(held)
    wait_until(lambda: old not in workers.pids and workers.wait_for(1))


def test_who_stood_still_with_all_the_others_is_not_late(group):
    workers = group(*TWO, '--worker-timeout', '1')
    pids = workers.wait_for(2)
    everybody = (workers.process.pid, *pids)
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.2)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    # (Longer than the quarter of a second between two looks of the supervisor.)
    time.sleep(0.45)
    assert workers.wait_for(2) == pids
    assert workers.log == ''


# -- what runs out ------------------------------------------------------------------------------


def test_without_descriptors_for_a_fork_it_goes_on_and_tries_again(group):
    workers = group(*TWO)
    pids = workers.wait_for(2)
    supervisor = workers.process.pid
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(min(pids), signal.SIGKILL)
    wait_until(lambda: 'cannot fork a worker: Too many open files' in workers.log)
    assert workers.process.poll() is None
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: len(workers.pids) == 2 and workers.wait_for(2))


def test_a_worker_asks_to_be_renewed_until_it_is(group, tmp_path):
    workers = group('--workers', '1', '--port', '0', '--max-requests', '5', '--worker-timeout', '1')
    assert workers.get().endswith('first')
    (tmp_path / 'example.py').write_text('raise SystemExit(9)')
    while 'goes on in its place' not in workers.log:
        workers.get()
    (tmp_path / 'example.py').write_text(APPLICATION.replace("'first'", "'second'"))
    wait_until(lambda: workers.get().endswith('second'))


class Full:
    """A socket that refuses to send descriptors, three times: too many are in flight."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.refusals = 3

    def __getattr__(self, name):
        return getattr(self._socket, name)

    def sendmsg(self, *what):
        if what[1] and self.refusals:
            self.refusals -= 1
            raise OSError(errno.ETOOMANYREFS, 'Too many references')
        return self._socket.sendmsg(*what)


def test_a_descriptor_that_is_refused_for_now_is_sent_later():
    ours, theirs = socket.socketpair()
    one, other = socket.socketpair()
    received = deque()

    def heard(kind, sock):
        received.append((kind, sock))
        if kind == READY:
            reactor.stop()

    with Reactor() as reactor, other:
        full = Full(ours)
        sender = Channel(reactor, full, lambda *_: None, lambda: None)
        receiver = Channel(reactor, theirs, heard, lambda: None)
        sender.send(CONNECTION, one)
        sender.send(READY)
        assert not sender.idle
        reactor.run()
        sender.close()
        receiver.close()
        assert full.refusals == 0
        assert [kind for kind, _ in received] == [CONNECTION, READY]
        with received[0][1] as sock:
            sock.sendall(b'whole')
            assert other.recv(100) == b'whole'


# -- the lock -----------------------------------------------------------------------------------


@pytest.mark.parametrize('number', [-1, 1.5, '1', 1 << 62, 1 << 70])
def test_a_lock_has_a_number_that_the_system_knows(number):
    with Reactor() as reactor, pytest.raises(ValueError, match='whole number'):
        Lock(reactor, None)(number)


def test_an_error_of_the_system_is_raised_by_acquire_with_a_timeout_too():
    app = Tremolo()
    with open(os.devnull) as read_only, Reactor() as reactor:
        # A write lock needs a descriptor that is open for writing.
        lock = Lock(reactor, read_only.fileno())

        @app.route('/')
        def index():
            try:
                yield lock.acquire(timeout=5)
            except OSError as error:
                yield str(error.errno)

        with app.start(reactor=reactor, thread=False) as server, \
                socket.create_connection(server.address, timeout=PATIENCE) as sock:
            sock.sendall(ASK)
            while not server.server.closed:
                server.step(0.1)
            assert answer(sock).endswith(str(errno.EBADF).encode())

"""The lock between workers, and between the tasks of one process."""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from server_support import request, serving, virtual
from worker_group import TWO, wait_until

from tremolo import Tremolo, sleep
from tremolo.loop import InvalidState, spawn
from tremolo.workers.lock import Lock, open_locks

linux = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

LOCKING = '''
import os
import tremolo

app = tremolo.Tremolo()

@app.route('/')
def index():
    return f'{os.getpid()} first'

@app.route('/hold')
def hold(lock, stream=True):
    with (yield lock.acquire()):
        yield f'{os.getpid()}\\n'
        yield tremolo.sleep(1000)

@app.route('/take/<int:number>')
def take(lock, number):
    with (yield lock(number).acquire(timeout=30)):
        yield f'{os.getpid()}'

@app.route('/soon')
def soon(lock):
    try:
        yield lock.acquire(timeout=0.05)
    except TimeoutError:
        yield b'too late'

def count():
    """Add one in two steps: without the lock a second addition at the same time would be lost."""
    with open('count') as file:
        number = int(file.read())
    yield
    with open('count', 'w') as file:
        file.write(str(number + 1))

@app.route('/yield')
def by_yield(lock):
    with (yield lock(5).acquire()):
        for _ in count():
            yield tremolo.sleep(0.001)

@app.route('/thread')
def in_loop_thread(lock, thread=True):
    with lock(5):
        list(count())
    return ''

@app.route('/async')
async def in_asyncio(lock):
    async with lock(5):
        for _ in count():
            await tremolo.sleep(0.001)
'''


@pytest.fixture
def workers(group, tmp_path):
    (tmp_path / 'example.py').write_text(LOCKING)
    (tmp_path / 'count').write_text('0')
    workers = group(*TWO)
    workers.wait_for(2)
    return workers


def hold(workers):
    """Let a worker hold the lock; return its process id, and the connection that keeps it."""
    sock = workers.connect()
    sock.sendall(b'GET /hold HTTP/1.1\r\nHost: x\r\n\r\n')
    received = b''
    while not received.endswith(b'\r\n') or b'\r\n\r\n' not in received[:-4]:
        received += sock.recv(65536)
    return int(received.split(b'\r\n')[-2]), sock


@linux
def test_it_excludes_all_workers_however_it_is_used(workers, tmp_path):
    paths = ['/yield', '/thread', '/async'] * 20
    threads = [threading.Thread(target=workers.get, args=(path,)) for path in paths]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (tmp_path / 'count').read_text() == '60'


@linux
def test_it_is_released_when_its_holder_is_killed(workers):
    late = []
    for _ in range(2):
        holder, sock = hold(workers)
        got = []

        def ask(got=got):
            got.append((workers.get('/take/0'), time.monotonic()))

        # (A request that comes to the holder gets no answer.)
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for each in threads:
            each.start()
        assert workers.get('/soon') in ('too late', '')
        killed = time.monotonic()
        os.kill(holder, signal.SIGKILL)
        for each in threads:
            each.join()
        sock.close()
        times = [when - killed for pid, when in got if pid and int(pid) != holder]
        late += [min(times)] if times else []
        wait_until(lambda holder=holder: holder not in workers.pids and workers.wait_for(2))
    # No timeout has to pass first. (On an idle machine it is within 0.1 s.)
    assert min(late) < 5


@linux
def test_locks_of_other_numbers_are_others_and_time_runs_out(workers):
    _, sock = hold(workers)
    with sock:
        assert workers.get('/take/1').isdigit()
        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(workers.get, ['/soon'] * 20)) == {'too late'}
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    # The client has gone, so its handler has ended and has released the lock.
    assert workers.get('/take/0').isdigit()


@linux
def test_no_worker_keeps_the_others_out(workers):
    # In each process some task always waits: all processes get the lock, by turns.
    stop = threading.Event()
    counts: dict[str, int] = {}

    def ask():
        while not stop.is_set():
            pid = workers.get('/take/2')
            counts[pid] = counts.get(pid, 0) + 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    wait_until(lambda: len(counts) == 2 and min(counts.values()) > 5)
    stop.set()
    for each in threads:
        each.join()


HOLDER = '''
import fcntl, sys
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, 1, 0)
print('held', flush=True)
sys.stdin.read()
'''


@linux
def test_who_waits_has_it_within_a_tenth_of_a_second(world):
    file = open_locks()
    got = []

    def wait():
        with (yield Lock(reactor, file).acquire()):
            got.append(world.now)

    with world.reactor() as reactor, subprocess.Popen(
            [sys.executable, '-c', HOLDER, str(file)], pass_fds=[file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b'held\n'
        reactor.call_soon(lambda: spawn(wait()))
        killed = world.now + 100
        world.later(killed, lambda: None)
        world.run(lambda: world.now >= killed)
        assert got == []
        holder.kill()
        holder.wait()
        world.run(lambda: got)
        assert got[0] - killed < 0.1
    os.close(file)


# -- in one process -------------------------------------------------------------------------------


@pytest.fixture
def app():
    return Tremolo()


def test_in_one_process_its_own_tasks_take_turns(app):
    log = []

    @app.route('/<name>')
    def handler(name, lock):
        with (yield lock.acquire()):
            log.append(name)
            yield sleep(1)
            log.append(name)

    with virtual(app) as host:
        clients = []
        for name in 'abc':
            clients.append(host.connect(request(f'/{name}')))
            host.advance(0.1)
        for each in clients:
            assert each.take().status == 204
        assert ''.join(log) == 'aabbcc'


def test_who_is_too_late_or_gone_leaves_it_to_the_next(app):
    log = []

    @app.route('/hold')
    def hold(lock):
        with (yield lock.acquire()):
            yield sleep(10)

    @app.route('/late')
    def late(lock):
        try:
            yield lock.acquire(timeout=3)
        except TimeoutError:
            log.append('late')
        yield b'late'

    @app.route('/next')
    def next(lock):
        with (yield lock.acquire()):
            log.append('next')
            yield b'next'

    with virtual(app) as host:
        held = host.connect(request('/hold'))
        host.advance(0.1)
        gone = host.connect(request('/next'))
        late = host.connect(request('/late'))
        last = host.connect(request('/next'))
        assert late.take().body == b'late'
        gone.reset()
        assert held.take().status == 204
        assert last.take().body == b'next'
        assert log == ['late', 'next']


def test_it_is_released_by_hand_and_once(app):
    @app.route('/')
    def handler(lock):
        with pytest.raises(ValueError, match='from 0 on'):
            lock(-1)
        with pytest.raises(InvalidState, match='not held'):
            lock.release()
        with pytest.raises(InvalidState, match='yield lock'), lock:
            pass
        held = yield lock(7).acquire()
        with pytest.raises(TimeoutError):
            yield lock(7).acquire(timeout=0.1)
        lock(7).release()
        with (yield lock(7).acquire()):
            # After `release` the end of the `with` does not release the lock a second time.
            held.close()
            with pytest.raises(TimeoutError):
                yield lock(7).acquire(timeout=0.1)
        yield b'well'

    with virtual(app) as host:
        assert host.connect(request()).take().body == b'well'


def test_many_numbers_leave_nothing(app):
    @app.route('/')
    def handler(lock):
        for number in range(1000):
            with (yield lock(number).acquire()):
                pass
        gc.collect()
        yield str(len(lock._lines) + len(lock._held))

    with virtual(app) as host:
        assert int(host.connect(request()).take().body) <= 1


def test_in_threads_and_in_asyncio_it_is_the_same_lock(app):
    count = [0]

    def add(pause):
        before = count[0]
        pause()
        count[0] = before + 1

    @app.route('/thread')
    def in_loop_thread(lock, thread=True):
        with lock:
            add(lambda: time.sleep(0.001))

    @app.route('/async')
    async def in_asyncio(lock):
        async with lock:
            before = count[0]
            await sleep(0.001)
            count[0] = before + 1

    with serving(app) as host:
        clients = [host.connect(request(path)) for path in ['/thread', '/async'] * 10]
        for each in clients:
            assert each.take().status == 204
    assert count == [20]

"""A process that a handler has forked: what it has of the server, and how it ends."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest
from forked import start
from server_support import read_answer, request

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 30.0

PROGRAM = '''
import asyncio, multiprocessing, os, signal, sys, time
import tremolo

app = tremolo.Tremolo()

def child():
    pid = os.fork()
    if not pid:
        open(f'child.{os.getpid()}', 'w').close()
    return pid

@app.route('/plain')
def plain():
    sys.stdout.write('buffered')
    return str(child())

@app.route('/generator')
def generator():
    yield tremolo.sleep(0.001)
    pid = child()
    yield str(pid)
    yield tremolo.sleep(0.001)
    yield b'.'

@app.route('/thread')
def on_thread(thread=True):
    return str(child())

@app.route('/coroutine')
async def coroutine():
    await asyncio.sleep(0.001)
    return str(child())

@app.route('/eager')
async def eager():
    return str(child())

@app.route('/large')
def large():
    return f'{child():<400000}'

@app.route('/exit')
def leave():
    pid = child()
    if not pid:
        sys.exit(7)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

@app.route('/exit-coroutine')
async def leave_coroutine():
    await asyncio.sleep(0)
    return leave()

@app.route('/exit-thread')
def leave_thread(thread=True):
    return leave()

@app.route('/fail')
def fail():
    pid = child()
    if not pid:
        raise ValueError('of the child')
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def work(queue):
    queue.put('worked')

@app.route('/process')
def process():
    context = multiprocessing.get_context('fork')
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    process.join()
    return f'{queue.get()} {process.exitcode}'

@app.route('/serve')
def serve():
    if not os.fork():
        other = tremolo.Tremolo()
        other.route('/')(lambda: 'other')
        other.route('/spawned')(lambda thread=True: str(child()))
        other.run(bind=f'unix:{os.getcwd()}/other')
        os._exit(3)
    return 'served'

@app.route('/again')
def again():
    if not os.fork():
        app.run(bind=f'unix:{os.getcwd()}/again')
    return 'served'

@app.on_worker_stop
def stopped():
    open(f'stopped.{os.getpid()}', 'w').close()

if __name__ == '__main__':
    app.run(bind=f'unix:{os.getcwd()}/socket', access_logfile='access', workers=%s)
'''


def ask(path: Path, target: str) -> str:
    """Ask on a new connection; return the body."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(request(target, 'GET', 'Connection: close'))
        received = b''
        while data := sock.recv(65536):
            received += data
    answer, rest = read_answer(received)
    assert answer.status == 200 and not rest
    return answer.body.decode()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f'never: {condition}')
        time.sleep(0.002)
    return value


def runs(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


class Site:
    """A program that serves, and its log."""

    def __init__(self, folder: Path, fork_server, workers: int | None) -> None:
        self.folder = folder
        (folder / 'program.py').write_text(PROGRAM % workers)
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1'}
        with (folder / 'log').open('w') as log:
            self.process = start(None, ('program.py',), folder, environment, log.fileno())
        self.first = self.process.stdout.readline()

    @property
    def log(self) -> str:
        return (self.folder / 'log').read_text()

    @property
    def children(self) -> list[int]:
        return [int(each.suffix[1:]) for each in self.folder.glob('child.*')]

    def get(self, target: str) -> str:
        return ask(self.folder / 'socket', target)

    def output(self) -> str:
        return self.process.stdout.read()

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture(params=[None, 1])
def site(tmp_path, fork_servers, request):
    made = Site(tmp_path, None, request.param)
    yield made
    print(made.log)
    made.end()
    made.process.stdout.close()


RETURNS = ['plain', 'generator', 'thread', 'coroutine', 'eager', 'large']


def test_a_child_that_comes_back_from_its_handler_ends_quietly(site):
    with socket.socket(socket.AF_UNIX) as kept:
        kept.settimeout(PATIENCE)
        kept.connect(str(site.folder / 'socket'))
        for count, target in enumerate(RETURNS, 1):
            pid = int(site.get(f'/{target}').rstrip('. '))
            wait_until(lambda: pid in site.children)    # noqa: B023
            wait_until(lambda: not runs(pid))    # noqa: B023
            wait_until(lambda: site.log.count('its child comes back from it') == count)  # noqa: B023
        # Other clients have noticed nothing.
        kept.sendall(request('/process'))
        received = b''
        while not received.endswith(b'worked 0'):
            data = kept.recv(4096)
            assert data
            received += data
    for target, status in (('exit', '7'), ('exit-coroutine', '7'), ('exit-thread', '7')):
        assert site.get(f'/{target}') == status
    assert 'Traceback' not in site.log
    assert site.get('/fail') == '1'
    assert site.log.count('Traceback') == 1
    assert site.log.count('ValueError: of the child') == 1
    # Each answer has one line, and each process that serves has stopped once.
    assert site.end() == 0
    lines = (site.folder / 'access').read_text().splitlines()
    assert len(lines) == len(RETURNS) + 5
    assert len(list(site.folder.glob('stopped.*'))) == 1
    assert not (site.folder / 'socket').exists()
    # What was buffered before the first fork is written once.
    assert site.output().count('buffered') == 1


def test_a_child_serves_by_itself(site):
    assert site.get('/serve') == 'served'
    other = site.folder / 'other'
    wait_until(other.exists)
    wait_until(lambda: 'running' in site.process.stdout.readline())
    assert ask(other, '/') == 'other'
    # A child of that one, too, ends when it comes back.
    pid = int(ask(other, '/spawned'))
    wait_until(lambda: not runs(pid))
    # The application itself may be served again there.
    assert site.get('/again') == 'served'
    again = site.folder / 'again'
    wait_until(again.exists)
    wait_until(lambda: 'running' in site.process.stdout.readline())
    pid = int(ask(again, '/thread'))
    wait_until(lambda: not runs(pid))
    assert site.get('/process') == 'worked 0'
    children = [int(each) for each in os.listdir('/proc') if each.isdigit()
                and serves(int(each), site.folder)]
    # The first server ends, and the others serve on.
    assert site.end() == 0
    assert not (site.folder / 'socket').exists()
    assert ask(other, '/') == 'other'
    for each in children:
        if runs(each):
            os.kill(each, 15)
    wait_until(lambda: not any(runs(each) for each in children))
    assert not other.exists() and not again.exists()
    assert 'Traceback' not in site.log


def serves(pid: int, folder: Path) -> bool:
    try:
        return os.readlink(f'/proc/{pid}/cwd') == str(folder)
    except OSError:
        return False

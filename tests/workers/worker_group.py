"""A supervisor with workers to test: started by the command line; no process may be left."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from forked import ForkServer, start

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds after which a test gives up.
PATIENCE = 60.0

APPLICATION = '''
import os, time
import tremolo

app = tremolo.Tremolo()
version = 'first'

@app.route('/')
def index():
    return f'{os.getpid()} {version}'

@app.route('/exit')
def leave():
    os._exit(7)

@app.route('/spin')
def spin():
    while True:
        pass

@app.route('/sleep')
def sleep():
    time.sleep(1000)

@app.route('/slow')
def slow():
    yield b'begun '
    yield tremolo.sleep(0.3)
    yield b'ended'

@app.route('/held')
def held():
    yield b'begun '
    while not os.path.exists('go'):
        yield tremolo.sleep(0.01)
    yield b'ended'
'''


def wait_until(condition):
    """Look again and again until the condition is true; return its value."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f'never: {condition}')
        time.sleep(0.002)


def at_once(function, *cases):
    """Run it for each case, all at the same time: their starts take most of the time."""
    with ThreadPoolExecutor(len(cases)) as pool:
        for each in [pool.submit(function, *case) for case in cases]:
            each.result()


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


class Group:
    """A supervisor with its workers."""

    def __init__(self, folder: Path, *arguments: str, command=('-m', 'tremolo', 'example:app'),
                 fork_server: ForkServer | None = None):
        """Start a command, or let it be forked: much sooner, but no start of an interpreter."""
        # Without a cache: changed code could have the same size, within the same second.
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1'}
        environment.pop('PORT', None)
        with (folder / 'log').open('w') as log:
            self.process = start(
                fork_server, (*command, *arguments), folder, environment, log.fileno())
        self.folder = folder
        self.seen: set[int] = set()
        self.told = False
        line = self.process.stdout.readline()
        self.address = line.split()[2] if line.startswith('running on ') else ''

    @property
    def log(self) -> str:
        return (self.folder / 'log').read_text()

    @property
    def pids(self) -> set[int]:
        """The process ids of the workers that run."""
        pid = self.process.pid
        with contextlib.suppress(OSError):
            now = {int(each) for each in
                   Path(f'/proc/{pid}/task/{pid}/children').read_text().split()}
            self.seen |= now
            return now
        return set()

    def connect(self) -> socket.socket:
        if self.address.startswith('unix:'):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            try:
                sock.connect(self.address[5:])
            except OSError:
                sock.close()
                raise
            return sock
        host, port = self.address[7:].split(':')
        return socket.create_connection((host, int(port)), timeout=PATIENCE)

    def refuses(self) -> bool:
        """Return whether a connection is refused."""
        try:
            self.connect().close()
        except OSError:
            return True
        return False

    def get(self, path: str = '/') -> str:
        """Return the answer on a new connection; '' if there is none."""
        with self.connect() as sock:
            answer = http.client.HTTPResponse(sock)
            try:
                sock.sendall(
                    f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'.encode())
                answer.begin()
                return answer.read().decode()
            except (OSError, http.client.HTTPException):
                return ''

    def answering(self, times: int = 60) -> Counter:
        """Ask so many times; return how often each worker answered."""
        return Counter(int(self.get().split()[0]) for _ in range(times))

    def wait_for(self, count: int, times: int = 0) -> set[int]:
        """Wait until exactly so many workers are there, and all of them answer, and nobody else.

        After all have answered they are asked until it was `times` in all: so many connections are
        spread over every queue, those that were lent too.
        """
        return wait_until(
            lambda: len(self.pids) == count and self._all_answer(times) and self.pids)

    def _all_answer(self, times: int) -> bool:
        pids, seen = self.pids, set()
        for number in range(1, 61):
            seen.add(int(self.get().split()[0]))
            if seen >= pids and number >= times:
                break
        return seen == self.pids

    def signal(self, name: str) -> None:
        self.told = self.told or name in ('SIGTERM', 'SIGQUIT')
        self.process.send_signal(getattr(signal, name))

    def end(self, name: str = '') -> int:
        """End it, unless it was told to end; return its status. No worker may be left."""
        if self.process.poll() is None:
            self.seen |= self.pids
            if name or not self.told:
                self.signal(name or 'SIGTERM')
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            left = [pid for pid in self.seen if runs(pid)]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            assert not left


TWO = ('--workers', '2', '--port', '0')

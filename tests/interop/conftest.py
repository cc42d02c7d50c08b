"""Servers as processes, for the programs that people use beside them.

A tool that is not installed skips its tests; `.ci/run` installs all of them and lets nothing skip.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENTS = HERE / 'clients'
# Seconds until what does not come up, or go down, is a failure.
PATIENCE = 60

MIB = 1 << 20


class ServerProcess:
    """A running `python -m tremolo`, its url, its log, and its resident memory."""

    def __init__(
        self, *arguments: str, python: str = sys.executable, folder: Path | None = None,
    ) -> None:
        """With a folder it runs there, and what it writes to stderr is kept for `logged`."""
        environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'}
        self.process = subprocess.Popen(
            [python, '-m', 'tremolo', *arguments, '--port', '0'], env=environ, cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if folder else None, text=True)
        self.log = ''
        self._more_log = threading.Condition()
        self._log_reader = threading.Thread(target=self._read_log)
        self._log_reader.start()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ''
        found = re.search(r'https?://127\.0\.0\.1:(\d+)', line)
        if found is None:
            self.stop()
            pytest.fail(f'the server does not say where it listens, but {line!r} {self.log}')
        self.url = found[0]
        self.port = int(found[1])

    def _read_log(self) -> None:
        for line in self.process.stderr or ():
            with self._more_log:
                self.log += line
                self._more_log.notify_all()

    def logged(self, text: str) -> str:
        """Wait until the log holds a text; return the log and begin a new one."""
        with self._more_log:
            found = self._more_log.wait_for(lambda: text in self.log, PATIENCE)
            log, self.log = self.log, ''
        assert found, log
        return log

    def resident(self, field: str = 'VmRSS') -> int:
        """Bytes of resident memory; `VmHWM` is the most since `forget_peak`."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(re.search(rf'{field}:\s+(\d+) kB', status)[1]) * 1024

    def forget_peak(self) -> None:
        Path(f'/proc/{self.process.pid}/clear_refs').write_text('5')

    def stop(self) -> int:
        """End it gracefully; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self._log_reader.join()
            self.process.stdout.close()
            if self.process.stderr:
                self.process.stderr.close()


@pytest.fixture
def descriptors():
    """As many descriptors as the system gives us, for us and for the servers started after it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def serving(*arguments: str, **how: Any):
    """A server in a process; it must end well too."""
    server = ServerProcess(*arguments, **how)
    try:
        yield server
    finally:
        status = server.stop()
    assert status == 0


@pytest.fixture(scope='session')
def serve():
    """Give `serving` itself."""
    return serving


@pytest.fixture
def site():
    """The application of site.py in a process."""
    with serving(str(HERE / 'site.py')) as server:
        yield server


@pytest.fixture
def welcome():
    """The built-in page in a process."""
    with serving() as server:
        yield server


@pytest.fixture(scope='session')
def frameworks_python():
    """The Python that has the frameworks, or skip."""
    python = os.environ.get('FRAMEWORKS_PYTHON')
    if not python:
        pytest.skip('FRAMEWORKS_PYTHON names no Python that has the frameworks')
    return python


@pytest.fixture(scope='session')
def node_packages():
    """The folder that has the packages of clients/package.json, or skip."""
    folder = os.environ.get('NODE_PACKAGES')
    if not folder:
        pytest.skip('NODE_PACKAGES names no folder that has the packages of Node')
    return folder


@pytest.fixture(scope='session')
def framework(frameworks_python, tmp_path_factory):
    """Serve an application of frameworks/ in a process.

    A test that provokes a warning or an error waits for it (`logged`); there must be no other.
    """
    @contextlib.contextmanager
    def serve(name: str, *arguments: str):
        folder = tmp_path_factory.mktemp(name)
        application = str(HERE / 'frameworks' / f'{name}.py')
        with serving(
                application, '--log-level', 'warning', *arguments,
                python=frameworks_python, folder=folder) as server:
            yield server
        assert server.log == ''

    return serve


@pytest.fixture
def tool():
    """Find a program by any of its names, or skip."""
    def find(*names: str) -> str:
        path = os.environ.get('PATH', '') + ':/usr/sbin'
        for name in names:
            found = shutil.which(name, path=path)
            if found:
                return found
        pytest.skip(f'{names[0]} is not installed')
    return find


@pytest.fixture
def big_file(tmp_path):
    """200 MB that do not compress, and their checksum; gone after the test."""
    path = tmp_path / 'big'
    block = random.Random(1).getrandbits(8 * MIB).to_bytes(MIB, 'little')
    checksum = 0
    with path.open('wb') as file:
        for _ in range(200):
            file.write(block)
            checksum = zlib.crc32(block, checksum)
    yield path, f'{200 * MIB} {checksum:08x}'
    path.unlink()


@pytest.fixture(scope='session')
def go(tmp_path_factory) -> list[str]:
    """The program in Go, compiled once."""
    folder = tmp_path_factory.mktemp('go')
    subprocess.run(
        ['go', 'build', '-o', str(folder / 'client'), str(CLIENTS / 'client.go')], check=True,
        cwd=folder, env={**os.environ, 'GOCACHE': str(folder / 'cache'),
                         'GOPATH': str(folder / 'path'), 'GO111MODULE': 'off'})
    return [str(folder / 'client')]


@pytest.fixture(scope='session')
def java(tmp_path_factory) -> list[str]:
    """The program in Java, compiled once."""
    folder = tmp_path_factory.mktemp('java')
    subprocess.run(['javac', '-d', str(folder), str(CLIENTS / 'Client.java')], check=True)
    return ['java', '-XX:TieredStopAtLevel=1', '-cp', str(folder), 'Client']


@pytest.fixture
def command(request, tool) -> Callable[[str], list[str]]:
    """Give the command of a client, or skip if its language is not installed."""
    def find(name: str) -> list[str]:
        if name in ('go', 'java'):
            tool({'java': 'javac'}.get(name, name))
            return request.getfixturevalue(name)
        if name in ('http', 'fetch'):
            return [tool('node'), str(CLIENTS / 'client.mjs'), name]
        tool('curl')
        python = request.getfixturevalue('frameworks_python')
        return [python, str(CLIENTS / 'client.py'), name]

    return find

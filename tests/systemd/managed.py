"""A service manager as systemd is one, for the tests: it opens sockets, starts a program, listens.

The program gets the sockets as descriptors from 3 on, and the variables; `told` has the messages
that came from it (sd_notify(3)), each as a dict.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import tempfile
from pathlib import Path

from forked import ForkServer

ROOT = Path(__file__).resolve().parent.parent.parent
# Seconds after which a test gives up.
PATIENCE = 60.0

APPLICATION = '''
import os, subprocess, sys
import tremolo

SEEN = [name for name in os.environ if name.startswith(('LISTEN_', 'NOTIFY_', 'WATCHDOG_'))]
app = tremolo.Tremolo()

@app.route('/')
def index():
    return f'{os.getpid()} first '

@app.route('/variables')
def variables():
    return repr(SEEN)

@app.route('/stop')
def stop():
    app.stop()
    return 'bye'
'''


def listening(family=socket.AF_INET, address=('127.0.0.1', 0)) -> socket.socket:
    """Open a socket as a socket unit does."""
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(64)
    return sock


def get(address, path: str = '/') -> str:
    """Return the answer on a new connection."""
    with socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'.encode())
        return received(sock)


def received(sock: socket.socket) -> str:
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    return answer.read().decode()


class Unit:
    """A service that runs, with its sockets."""

    def __init__(self, fork_server: ForkServer, folder: Path, *arguments: str, sockets=(),
                 names: str | None = None, command=('-m', 'tremolo', 'example:app'),
                 abstract: bool = False, application: str = APPLICATION, **variables: str) -> None:
        (folder / 'example.py').write_text(application)
        self.folder = folder
        self._short = tempfile.TemporaryDirectory()    # (A path of a socket is short.)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.settimeout(PATIENCE)
        name = f'{self._short.name}/notify'
        self.ear.bind('\0' + name if abstract else name)
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(('TREMOLO_', 'LISTEN_')) and name != 'PORT'}
        environment |= {'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1',
                        'NOTIFY_SOCKET': '@' + name if abstract else name}
        if sockets:
            environment |= {'LISTEN_FDS': str(len(sockets)), 'LISTEN_PID': 'self'}
        if names is not None:
            environment['LISTEN_FDNAMES'] = names
        with (folder / 'log').open('w') as log:
            self.process = fork_server.start(
                (*command, *arguments), folder, {**environment, **variables}, log.fileno(),
                given=[getattr(each, 'fileno', lambda fd=each: fd)() for each in sockets])
        self.lines: list[str] = []

    @property
    def log(self) -> str:
        return (self.folder / 'log').read_text()

    @property
    def workers(self) -> set[int]:
        pid = self.process.pid
        return set(map(int, Path(f'/proc/{pid}/task/{pid}/children').read_text().split()))

    def told(self) -> dict[str, str]:
        """Wait for the next message."""
        text = self.ear.recv(1 << 16).decode()
        return dict(line.split('=', 1) for line in text.splitlines())

    def told_all(self) -> list[dict[str, str]]:
        """Return the messages that have come."""
        found = []
        self.ear.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.told())
        self.ear.settimeout(PATIENCE)
        return found

    def ready(self) -> dict[str, str]:
        """Wait until it is ready: nothing else is told before."""
        message = self.told()
        assert message['READY'] == '1', message
        return message

    def signal(self, name: str) -> None:
        self.process.send_signal(getattr(signal, name))

    def end(self, name: str = 'SIGTERM') -> int:
        """End it; return its status."""
        try:
            if self.process.poll() is None:
                self.signal(name)
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.ear.close()
            self._short.cleanup()

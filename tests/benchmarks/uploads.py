"""Upload a large file to disk, by turns to tremolo and to Starlette on uvicorn, fast and plain.

    python tests/benchmarks/uploads.py --install
    python tests/benchmarks/uploads.py --rounds 3 --mebibytes 1024

Each round sends one form with one file to each of them, compares what lies on disk with what was
sent, and prints the MiB for each CPU second of the server (all its threads, user and kernel), the
wall clock, and how much its resident memory has grown. A ratio is computed within its round.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cpu import of_family
from peers import APPS, ROOT, UVICORN, default_folder, made_of, make_venvs

BLOCK = os.urandom(1 << 20)    # (In random bytes each 256th is a CR, as a delimiter begins.)
HEAD = (b'--%b\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n'
        b'Content-Type: application/octet-stream\r\n\r\n')
BOUNDARY = b'----WebKitFormBoundaryAAAAAAAAAAAAAAAA'


class Turn(NamedTuple):
    """One upload."""

    seconds: float
    cpu: float
    grown: float    # MiB of resident memory, beyond what the server had before


class Uploaded:
    """A server that takes uploads, on a core of its own."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.turns: list[Turn] = []
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        environment = {**os.environ, 'UPLOADS': str(folder), 'TMPDIR': str(folder),
                       'PYTHONPATH': os.pathsep.join([str(ROOT), str(APPS)])}
        core = min(os.sched_getaffinity(0))
        self.process = subprocess.Popen(
            [part.format(port=self.port) for part in command], env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.upload(1)    # What is imported late, and the threads, are there from now on.
        self.turns.clear()

    def connect(self) -> socket.socket:
        end = time.monotonic() + 30
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port))
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def memory(self, name: str) -> float:
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        line, = (line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    def upload(self, mebibytes: int) -> None:
        head, end = HEAD % BOUNDARY, b'\r\n--%b--\r\n' % BOUNDARY
        length = len(head) + mebibytes * len(BLOCK) + len(end)
        with self.connect() as sock:
            before, cpu = self.memory('VmRSS'), of_family(self.process.pid)
            # (The peak counts from here.)
            Path(f'/proc/{self.process.pid}/clear_refs').write_text('5')
            begun = time.monotonic()
            sock.sendall(b'POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'
                         b'Content-Length: %d\r\nContent-Type: multipart/form-data; boundary=%b'
                         b'\r\n\r\n' % (length, BOUNDARY))
            sock.sendall(head)
            for _ in range(mebibytes):
                sock.sendall(BLOCK)
            sock.sendall(end)
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
            seconds = time.monotonic() - begun
        size = mebibytes * len(BLOCK)
        if not (answer.startswith(b'HTTP/1.1 200 ') and answer.endswith(b'%d' % size)):
            raise SystemExit(f'uploads: {self.name} answered {answer!r}')
        path = self.folder / 'file'
        with path.open('rb') as file:
            if any(file.read(len(BLOCK)) != BLOCK for _ in range(mebibytes)) or file.read(1):
                raise SystemExit(f'uploads: {self.name} has changed the file')
        path.unlink()
        if left := os.listdir(self.folder):
            raise SystemExit(f'uploads: {self.name} has left {left}')
        self.turns.append(Turn(seconds, of_family(self.process.pid) - cpu,
                               self.memory('VmHWM') - before))


def main() -> int:
    parser = argparse.ArgumentParser(description='Upload to tremolo and to Starlette, by turns.')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--mebibytes', type=int, default=1024)
    parser.add_argument('--folder', type=Path, help='where the files are written')
    parser.add_argument('--install', action='store_true', help='make the venv of the peer, and end')
    parser.add_argument('--venvs', type=Path, default=default_folder())
    options = parser.parse_args()
    if options.install:
        make_venvs({'uploads'}, options.venvs)
        return 0
    packages = options.venvs / 'uploads' / 'packages.txt'
    if not packages.exists() or packages.read_text() != made_of('uploads'):
        raise SystemExit('uploads: python tests/benchmarks/uploads.py --install')
    peer = UVICORN.format(python=options.venvs / 'uploads' / 'bin' / 'python', port='{port}',
                          app='upload_asgi:app') + '--ws none '
    commands = {
        'tremolo': [sys.executable, '-m', 'tremolo', 'upload_native:app', '--port', '{port}',
                    '--log-level', 'warning'],
        'uvloop, httptools': [*peer.split(), '--loop', 'uvloop', '--http', 'httptools'],
        'asyncio, h11': [*peer.split(), '--loop', 'asyncio', '--http', 'h11'],
    }
    servers: list[Uploaded] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        try:
            for name, command in commands.items():
                own = Path(folder, str(len(servers)))
                own.mkdir()
                servers.append(Uploaded(name, command, own))
            for _ in range(options.rounds):
                for server in servers:
                    server.upload(options.mebibytes)
                    turn = server.turns[-1]
                    print(f'{server.name:22} {options.mebibytes / turn.cpu:7.0f} MiB/CPU-s '
                          f'{options.mebibytes / turn.seconds:7.0f} MiB/s '
                          f'{turn.grown:7.1f} MiB more memory', flush=True)
        finally:
            for server in servers:
                server.process.terminate()
                server.process.wait()
    ours, *peers = servers
    for server in peers:
        ratios = sorted(b.cpu / a.cpu for a, b in zip(ours.turns, server.turns))
        print(f'bytes per CPU second: {statistics.median(ratios):.2f} times as many as Starlette '
              f'on uvicorn ({server.name}; {ratios[0]:.2f} to {ratios[-1]:.2f})')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

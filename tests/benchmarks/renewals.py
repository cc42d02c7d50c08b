"""Renewals: whether a kept connection is lost when workers replace each other at their limits.

    python tests/benchmarks/renewals.py                         # 20 renewals, 900 kept, 1,024 descriptors
    python tests/benchmarks/renewals.py --renewals 5 --busy 2   # each new worker is held up for 2 s

One process holds all clients and lets each ask again and again, each after a pause by chance. Lost
is a client that has sent a request and gets an end, or a reset, in place of the answer. An answer
with `Connection: close`, and an end between two requests, are in good order: the client connects
anew. The exit status is 1 if one was lost. See README.md.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ASK = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
APPLICATION = '''
import os, resource, time
import tremolo

resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
app = tremolo.Tremolo()

@app.route('/')
def index():
    return b'hello'

def hang():
    yield tremolo.sleep(0.05)
    time.sleep({busy})

@app.on_worker_start
def begin():
    app.spawn(hang())
'''


class Client:
    """A connection that is kept, and whether it waits for an answer."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self.sock = socket.create_connection(('127.0.0.1', port), 60)
        self.sock.setblocking(False)
        self.waits = False
        self.received = b''
        self.due = time.monotonic() + random.random()
        selector.register(self.sock, selectors.EVENT_READ, self)


class Load:
    """All clients; `found` counts what became of their requests and connections."""

    def __init__(self, port: int, count: int, pause: float) -> None:
        self._port, self._pause = port, pause
        self._selector = selectors.DefaultSelector()
        self.found: Counter[str] = Counter()
        self._clients = [Client(port, self._selector) for _ in range(count)]

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for key, _ in self._selector.select(0.005):
                self._read(key.data)
            for each in self._clients:
                # (What has come meanwhile is read first: it may be an end.)
                if not each.waits and each.due <= now and not self._read(each):
                    self._ask(each)

    def finish(self) -> None:
        """Wait for the last answers; who has none after a while is lost."""
        for each in self._clients:
            each.due = time.monotonic() + 3600
        for _ in range(100):
            if any(each.waits for each in self._clients):
                self.run(0.1)
        self.found['lost'] += sum(each.waits for each in self._clients)

    def _ask(self, client: Client) -> None:
        client.waits, client.received = True, b''
        try:
            client.sock.send(ASK)
        except OSError:
            self._anew(client, 'lost')

    def _read(self, client: Client) -> bool:
        """Take what has come; return whether that was the end."""
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b''
        if not data:
            self._anew(client, 'lost' if client.waits else 'ended')
            return True
        client.received += data
        if client.received.endswith(b'hello'):
            self.found['answers'] += 1
            client.waits = False
            client.due = time.monotonic() + 2 * self._pause * random.random()
            if b'Connection: close' in client.received:
                self._anew(client, 'closed')
                return True
        return False

    def _anew(self, client: Client, why: str) -> None:
        self.found[why] += 1
        self._selector.unregister(client.sock)
        client.sock.close()
        self._clients[self._clients.index(client)] = Client(self._port, self._selector)


def children(pid: int) -> set[str]:
    return set(Path(f'/proc/{pid}/task/{pid}/children').read_text().split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--renewals', type=int, default=20)
    parser.add_argument('--clients', type=int, default=900)
    parser.add_argument('--descriptors', type=int, default=1024)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--pause', type=float, default=0.5, help='mean seconds between requests')
    parser.add_argument('--busy', type=float, default=0, help='seconds that a new worker hangs')
    parser.add_argument('--package', default=str(ROOT), help='where the package is')
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * args.clients), hard))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'example.py').write_text(
            APPLICATION.format(limit=args.descriptors, busy=args.busy))
        server = subprocess.Popen(
            [sys.executable, '-m', 'tremolo', 'example:app', '--port', '0', '--connections', '0',
             '--workers', str(args.workers)], cwd=folder, stdout=subprocess.PIPE, text=True,
            env={**os.environ, 'PYTHONPATH': args.package},
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (args.descriptors, args.descriptors)))
        try:
            port = int(re.search(r':(\d+) ', server.stdout.readline())[1])
            load = Load(port, args.clients, args.pause)
            load.run(1)
            for _ in range(args.renewals):
                old = children(server.pid)
                server.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 90
                while (old & children(server.pid) or len(children(server.pid)) < args.workers) \
                        and time.monotonic() < deadline:
                    load.run(0.1)
            load.run(1)
            load.finish()
        finally:
            server.terminate()
            server.wait()
    print(f'{args.renewals} renewals, {args.clients} clients: ' + ', '.join(
        f'{load.found[name]} {name}' for name in ('answers', 'closed', 'ended', 'lost')))
    raise SystemExit(bool(load.found['lost']))


if __name__ == '__main__':
    main()

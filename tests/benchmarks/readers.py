"""All slow readers at once: nobody who takes part is cut, and who attacks is gone when it matters.

    python tests/benchmarks/readers.py             # five minutes
    python tests/benchmarks/readers.py --quick     # half a minute; `.ci/run` runs it
    python tests/benchmarks/readers.py --hostile   # half a minute
    python tests/benchmarks/readers.py --python pypy3

A native and an ASGI server with default options, each in a process of its own, are asked at the
same time by readers of a constant rate, by readers that pause, and by uploaders of a line now and
then. The exit status is 1 when one of them was cut. See README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apps.block import BLOCK
from slow_clients import Client, Reader, Uploader, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATIENCE = 60
RATES = (20_000, 50_000, 100_000, 200_000)
# SO_RCVBUF of the readers; 0: the system's own.
BUFFERS = (4 << 10, 64 << 10, 0)
# Of an attack: for each slow reader three idle connections and a bit, so that connections are
# scarce also when all slow readers are gone. Scarce: more than three quarters of them are open.
IDLE = 3
HELLO = b'GET / HTTP/1.1\r\nHost: test\r\n\r\n'
# A slow reader has `rate_grace`, 5 s, and then this long.
GRACE, GONE = 5, 15


class Server:
    """A server in a process of its own: its port, its log, its connections."""

    def __init__(self, python: str, name: str, *options: str, module: str = 'readers') -> None:
        self.name = name
        self.log = tempfile.TemporaryFile()     # noqa: SIM115 (closed in `close`)
        self.process = subprocess.Popen(
            [python, '-m', 'tremolo', f'{module}:{name}', '--port', '0', *options],
            cwd=HERE / 'apps', env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
            start_new_session=True)
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        found = re.search(r'127\.0\.0\.1:(\d+)', self.process.stdout.readline() if ready else '')
        if found is None:
            said = '\n'.join(self.said())
            self.close()
            raise SystemExit(f'{module}: the {name} server does not start\n{said}')
        self.port = int(found[1])

    def said(self) -> list[str]:
        self.log.seek(0)
        return self.log.read().decode(errors='replace').splitlines()

    def connections(self) -> int:
        """How many sockets it has, with the few that are no connections."""
        found = 0
        for each in Path(f'/proc/{self.process.pid}/fd').iterdir():
            with contextlib.suppress(OSError):
                found += os.readlink(each).startswith('socket:')
        return found

    def resident(self) -> int:
        """Bytes of its resident memory, at most so far."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


def checksum_of(mib: int) -> int:
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(BLOCK, checksum)
    return checksum


def those_who_take_part(server: Server, quick: bool, mib: int) -> list[Client]:
    """All clients of a server. Below 4 MiB the kernel's buffers would hide the fault."""
    checksum = checksum_of(mib)

    def reader(buffer: int, rate: int, pause: float = 0) -> Reader:
        return Reader(server.name, server.port, buffer, rate, mib, checksum, pause)

    found: list[Client] = [reader(buffer, rate) for rate in (RATES[-1:] if quick else RATES)
                           for buffer in BUFFERS]
    found += [reader(buffer, 4 * RATES[-1], 15 if quick else 30) for buffer in BUFFERS[::2]]
    every, lines = (12, 2) if quick else (20, 15)
    return [*found, Uploader(server.name, server.port, every, lines)]


def take_part(options: argparse.Namespace) -> bool:
    """Let all take part; whether none was cut."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(contextlib.closing(Server(options.python, name)))
                   for name in options.servers.split(',')]
        clients = [client for server in servers
                   for client in those_who_take_part(server, options.quick, options.mib)]
        run(clients)
        print(f'{"server":8}{"client":32}{"buffer":>8}{"bytes":>10}{"seconds":>9}  outcome')
        for client in clients:
            buffer = f'{client.buffer >> 10} KiB' if client.buffer else 'system'
            print(f'{client.server:8}{client.kind:32}{buffer:>8}{client.received:10}'
                  f'{client.took:9.1f}  {client.outcome}')
        whole = sum(client.outcome == 'whole' for client in clients)
        print(f'{whole} of {len(clients)} whole')
        for server in servers:
            for line in server.said() if whole < len(clients) else ():
                print(f'{server.name} says: {line}')
    return whole == len(clients)


class Attack:
    """Slow readers and three times as many idle connections, which leave none to others."""

    def __init__(self, server: Server, slow: int, mib: int) -> None:
        self.server = server
        self.clients: list[socket.socket] = []
        self.own = server.connections()
        self.idle = [self._connect() for _ in range(IDLE * slow + 4)]
        for client in self.idle:
            ask(client)
        self.slow = [self._connect(BUFFERS[0] * (number % 2)) for number in range(slow)]
        for client in self.slow:
            client.sendall(b'GET /answer/%d HTTP/1.1\r\nHost: test\r\n\r\n' % mib)
        for client in self.slow:
            # The one byte of the first minute.
            client.recv(1)
        self.began = time.monotonic()
        self.steady = Reader(
            server.name, server.port, 0, 500_000, mib, checksum_of(mib))
        self.reading = threading.Thread(target=run, args=([self.steady],))
        self.reading.start()
        # One too many: it waits to be accepted.
        self.late = self._connect()
        self.late.sendall(HELLO)

    def _connect(self, buffer: int = 0) -> socket.socket:
        client = socket.socket()
        self.clients.append(client)
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(PATIENCE)
        client.connect(('127.0.0.1', self.server.port))
        return client

    def is_held_off(self) -> bool:
        """See what the server does about it, and say it."""
        poller = select.poll()
        waiting = {client.fileno() for client in self.slow}
        for each in waiting:
            poller.register(each, 0)
        rid_after = told_after = 0.0
        while not (rid_after and told_after):
            passed = time.monotonic() - self.began
            if passed > GRACE + GONE:
                break
            # Beside the idle ones, it may have the steady reader and the late one.
            others = self.server.connections() - self.own - len(self.idle)
            if not rid_after and others <= 2:
                rid_after = passed
            for each, _ in poller.poll(100):
                poller.unregister(each)
                waiting.discard(each)
            if not waiting and not told_after:
                told_after = passed
        self.reading.join()
        answered = sum(map(is_served, self.idle))
        late = is_served(self.late, True)
        print(f'{self.server.name}: {len(self.slow)} slow readers: the server is '
              f'{said(rid_after, "rid of them")}, they are {said(told_after, "told")}. '
              f'{answered} of {len(self.idle)} idle connections are served, '
              f'{"and" if late else "but not"} one more; a steady reader beside them: '
              f'{self.steady.outcome}. Most memory: {self.server.resident() >> 20} MiB')
        served = answered == len(self.idle) and late and self.steady.outcome == 'whole'
        return bool(rid_after and told_after and served)

    def close(self) -> None:
        self.reading.join()
        for client in self.clients:
            client.close()


def said(after: float, what: str) -> str:
    return f'{what} after {after:.1f} s' if after else f'not {what} after {GRACE + GONE} s'


def ask(client: socket.socket, asked: bool = False) -> None:
    """Ask, unless it was asked before, and wait for the answer."""
    if not asked:
        client.sendall(HELLO)
    data = b''
    while not data.endswith(b'Hello world!'):
        more = client.recv(4096)
        if not more:
            raise ConnectionResetError('the connection ended')
        data += more


def is_served(client: socket.socket, asked: bool = False) -> bool:
    try:
        ask(client, asked)
    except OSError:
        return False
    return True


def attack(options: argparse.Namespace, slow: int) -> bool:
    """Let slow readers come when connections are scarce; whether they go, and they alone."""
    # All connections are taken: by the slow ones, the idle ones, and a reader that takes part.
    most = (IDLE + 1) * slow + 5
    needed = most + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f'readers: {needed} descriptors are needed, and {hard} allowed')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    good = True
    # One server after the other: what waits for the slow ones is a gigabyte in the kernel.
    for name in options.servers.split(','):
        with contextlib.closing(Server(
                options.python, name, '--connections', str(most),
                '--idle-timeout', '600')) as server, \
                contextlib.closing(Attack(server, slow, options.mib)) as found:
            good &= found.is_held_off()
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description='All slow readers at once.')
    parser.add_argument('--python', default=sys.executable, help='runs the servers')
    parser.add_argument('--servers', default='native,asgi')
    parser.add_argument('--mib', type=int, help='size of the answers; 6, or 5 with --quick')
    parser.add_argument('--quick', action='store_true', help='the fastest readers, a small attack')
    parser.add_argument('--hostile', action='store_true', help='the attack alone')
    parser.add_argument('--slow', type=int, default=1000, help='slow readers of the attack')
    options = parser.parse_args()
    options.mib = options.mib or (5 if options.quick else 6)
    if options.hostile:
        return 0 if attack(options, options.slow) else 1
    with ThreadPoolExecutor(1) as pool:
        # Beside the others, to save time.
        held_off = pool.submit(attack, options, 50) if options.quick else None
        good = take_part(options)
        return 0 if good and (held_off is None or held_off.result()) else 1


if __name__ == '__main__':
    raise SystemExit(main())

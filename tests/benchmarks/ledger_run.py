"""A run of the ledger: a server of one tree, and a load that is the same in each run.

The load has 64 connections. In a round it sends one request on each of them and reads all answers.
The first request of a round stops the server at a gate until the others were sent (apps/gate.py).

The environment of the server is made here, the seed of the hashes and the places of memory are
fixed. So two runs of the same tree take the same steps.
"""

from __future__ import annotations

import contextlib
import ctypes
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
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from workloads import HEADERS3, HELLO, WORKLOADS, Asked, Workload

APPS = Path(__file__).resolve().parent / 'apps'
CONNECTIONS = 64
# So many requests are different where something changes: more than a server should remember.
DIFFERENT = 10_000
# How long an answer may take under valgrind on a busy machine, in seconds.
PATIENCE = 120
HERE = re.compile(rb'at the gate: (\d+)\n')    # What apps/gate.py says, with its process.
PORT = re.compile(rb'127\.0\.0\.1:(\d+)[^\n]*\n')
ADDR_NO_RANDOMIZE = 0x0040000    # personality(2)
ONE_AT_A_TIME = threading.Lock()


class Row(NamedTuple):
    """What is asked, of which application, and by which kind of run."""

    app: str
    workload: Workload
    run: type[Run] | None = None    # none: `Run` itself
    needs: str = ''                 # a part of the package without which a tree cannot run it


@lru_cache(None)
def requests_of(workload: Workload, count: int) -> list[tuple[bytes, bytes]]:
    """So many requests for its page, each with the same one for the page behind the gate."""
    asked = workload.asked
    gated = workload._replace(asked=asked._replace(path=f'{asked.path.rstrip("/")}/gate'))
    return [(plain.encode(), gate.encode()) for plain, gate
            in zip(workload.requests(count), gated.requests(count))]


POST = Asked('/upload', 4, b'1024', method='POST', body=b'x' * 1024)
WORK = {
    '3': WORKLOADS['headers3'],
    '12': WORKLOADS['browser12'],
    'post': Workload(POST, HEADERS3, 'POST of 1 KiB'),
    'wait': Workload(HELLO._replace(path='/wait'), HEADERS3, 'a handler that waits once'),
}
ROWS = {f'{app}-{name}': Row(app, workload)
        for app in ('native', 'asgi') for name, workload in WORK.items()}
ROWS['native-pattern'] = Row('native', Workload(
    HELLO._replace(path='/page/7'), HEADERS3, 'a path with a group'))
ROWS['native-middleware'] = Row('middleware', WORK['3'], needs='around')
ROWS['native-mount'] = Row('mount', Workload(
    HELLO._replace(path='/sub/'), HEADERS3, 'a page of a mounted application'),
    needs='web/mounts.py')
# What nginx adds, with an address that changes: nothing of it is remembered.
PROXIED = (('X-Forwarded-For', '{n:ipv4}'), ('X-Forwarded-Proto', 'https'))
ROWS['native-proxied'] = Row('proxied', Workload(
    HELLO, HEADERS3 + PROXIED, 'a proxy that is believed names the client'), needs='proxies')
ROWS['native-metrics'] = Row('metrics', WORK['3'], needs='metrics')
ROWS.update({f'wsgi-{name}': Row('wsgi', WORK[name], needs='wsgi') for name in ('3', 'post')})
ROWS.update({name: Row(app, WORK['3'], needs='access')
             for name, app in (('native-access', 'access'), ('native-access-json', 'access_json'),
                               ('asgi-access', 'access_asgi'))})
IDLE = {f'{app}-idle': Row(app, WORKLOADS['browser12']) for app in ('native', 'asgi')}


def fix_addresses() -> None:
    """Put the memory of each program that starts from now on at the same place in each run.

    Some containers do not allow it. Then a figure differs a little more from run to run.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE)


def environment() -> dict[str, str]:
    """The environment of each server: nothing in it is by chance."""
    found = {name: os.environ[name] for name in ('PATH', 'LD_LIBRARY_PATH') if name in os.environ}
    return {**found, 'LANG': 'C.UTF-8', 'PYTHONHASHSEED': '0'}


class Run:
    """A server that runs, maybe under an instrument, and the connections to it."""

    python = sys.executable         # what runs the servers: `ledger.py --python`
    requests_a_round = CONNECTIONS

    def __init__(self, tree: Path, row: Row, instrument: tuple[str, ...] = (),
                 more: dict[str, str] | None = None) -> None:
        self.row = row
        self.clients: list[socket.socket] = []
        self.requests = cycle(self.requests_of(row.workload))
        self.errors = tempfile.TemporaryFile()    # noqa: SIM115 (closed in `close`)
        # Without `site`: no other tremolo can come before that of the tree.
        self.process = subprocess.Popen(
            [*instrument, self.python, '-S', '-B', str(APPS / f'ledger_{row.app}.py')],
            cwd=tree, env={**environment(), 'PYTHONPATH': str(tree), **(more or {})},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0,
            start_new_session=True)
        self.input, self.output = self.process.stdin, self.process.stdout
        self.port = 0

    @staticmethod
    def requests_of(workload: Workload) -> list[tuple[bytes, bytes]]:
        """What is sent, each with the same one that stops at the gate."""
        return requests_of(workload, DIFFERENT)

    def start(self) -> None:
        """Wait until it says its port."""
        self.port = self._number(PORT)

    def connect(self) -> socket.socket:
        client = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients.append(client)
        return client

    def ask(self, client: socket.socket) -> None:
        """Ask once and see that the answer is right."""
        client.sendall(next(self.requests)[0])
        # An answer this small arrives whole.
        self._check(client.recv(65536))

    def load(self, rounds: int) -> None:
        """Connect, ask once on each connection, and then so many rounds."""
        pid, size = self._round(self.connect(), [])
        for _ in range(CONNECTIONS - 1):
            self.ask(self.connect())
            wait_until_asleep(pid)
        first, *others = self.clients
        for _ in range(rounds):
            self._round(first, others, size)

    def _round(self, first: socket.socket, others: list[socket.socket],
               size: int = 65536) -> tuple[int, int]:
        """Ask once on each; return the server's process and the size of the first answer."""
        first.sendall(next(self.requests)[1])
        pid = self._number(HERE)
        for client in others:
            client.sendall(next(self.requests)[0])
        self.input.write(b'\n')
        found = self._check(first.recv(size))
        for client in others:
            self._check(client.recv(size, socket.MSG_WAITALL))
        wait_until_asleep(pid)
        return pid, found

    def stop(self) -> str:
        """Let the server end by itself, so that its instrument tells; return its errors."""
        first, *others = self.clients
        first.sendall(next(self.requests)[1])
        self._number(HERE)
        for client in others:
            client.close()
        self.input.close()
        self._check(first.recv(65536))
        first.close()
        try:
            if self.process.wait(PATIENCE):
                self.fail(f'ended with {self.process.returncode}')
        except subprocess.TimeoutExpired:
            self.fail('does not end')
        return self.said()

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors='replace')

    def fail(self, what: str) -> None:
        said = '\n'.join(self.said().splitlines()[-20:])
        raise SystemExit(f'ledger: the {self.row.app} server {what}\n{said}')

    def close(self) -> None:
        """Free everything; a server that still runs is killed, with its instrument."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for file in (self.input, self.output, self.errors):
            file.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _number(self, wanted: re.Pattern[bytes]) -> int:
        """Read what the server says until it says a number that is waited for."""
        data = b''
        poller = select.poll()
        poller.register(self.output, select.POLLIN)
        while not (found := wanted.search(data)):
            piece = self.output.read(4096) if poller.poll(PATIENCE * 1000) else b''
            if not piece:
                self.fail('does not come as far as it should')
            data += piece
        return int(found[1])

    def _check(self, data: bytes) -> int:
        text = self.row.workload.asked.text
        if not data.startswith(b'HTTP/1.1 200') or text is None or not data.endswith(text):
            self.fail(f'answered {data[:200]!r}')
        return len(data)


def wait_until_asleep(pid: int) -> None:
    """Wait until a process waits for something: the server then has nothing more to do.

    Without this the last turn of a round would sometimes meet the first request of the next round.
    """
    deadline = time.monotonic() + PATIENCE
    while Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0] != 'S':
        if time.monotonic() > deadline:
            raise SystemExit('ledger: the server is busy without a request')
        time.sleep(0.0002)


def idle_bytes(row: Row, connections: int, tree: Path) -> float:
    """Tell how much the server's resident memory grows for each idle connection, in bytes."""
    # One at a time: the descriptors of this process are not enough for several.
    with ONE_AT_A_TIME:
        allow_descriptors(connections + 256)
        with Run(tree, row) as run:
            run.start()
            client = run.connect()
            for _ in range(1000):
                run.ask(client)
            before = resident(run.process.pid)
            for _ in range(connections):
                run.ask(run.connect())
            return (resident(run.process.pid) - before) / connections


def allow_descriptors(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        except ValueError:
            raise SystemExit(f'ledger: the idle connections need {needed} descriptors, and the '
                             f'system allows {hard} (ulimit -n)') from None


def resident(pid: int) -> int:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * resource.getpagesize()

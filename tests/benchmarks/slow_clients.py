"""Clients that take their time, all of them in one thread, paced by the clock.

Each client is a generator. It yields the time at which it goes on, or None to wait until its
socket is readable. `run` drives them all to their ends; then `outcome` of each is 'whole', or says
what was wrong.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import time
import zlib
from collections.abc import Generator, Iterable
from itertools import count
from typing import Optional

Steps = Generator[Optional[float], None, None]

# Seconds without a byte, in a client that could take one, after which it gives up.
PATIENCE = 120
# How often a steady reader reads, in times per second.
READS = 20


class Cut(Exception):
    """The server ended the connection too early, or answered something else."""


class Client:
    """A connection to a server, and what became of it. `buffer` is SO_RCVBUF; 0: the system's."""

    kind = ''

    def __init__(self, server: str, port: int, buffer: int = 0) -> None:
        self.server = server
        self.buffer = buffer
        self.sock = socket.socket()
        if buffer:
            # Before the connection: the window's scale is agreed on in its first packet.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(('127.0.0.1', port))
        self.sock.setblocking(False)
        self.received = 0
        self.took = 0.0
        self.outcome = ''

    def live(self) -> Steps:
        """Take part until the end, and note the outcome."""
        began = time.monotonic()
        try:
            yield from self.steps()
            self.outcome = 'whole'
        except (Cut, OSError) as error:
            self.outcome = f'CUT: {error}'
        self.took = time.monotonic() - began
        self.sock.close()

    def steps(self) -> Steps:
        raise NotImplementedError

    def read(self, most: int) -> Generator[None, None, bytes]:
        """Wait for bytes and take at most so many."""
        while True:
            try:
                data = self.sock.recv(most)
            except BlockingIOError:
                yield None
                continue
            if not data:
                raise Cut('the connection ended')
            self.received += len(data)
            return data

    def read_head(self) -> Generator[None, None, tuple[int, bytes]]:
        """Read the head of an answer: its length, and what came behind it."""
        data = b''
        while b'\r\n\r\n' not in data:
            data += yield from self.read(512)
        head, _, rest = data.partition(b'\r\n\r\n')
        if not head.startswith(b'HTTP/1.1 200 '):
            raise Cut(f'answered {head[:40]!r}')
        return int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0]), rest


class Reader(Client):
    """One that reads a long answer at a constant rate, and may pause once, after the first MiB."""

    def __init__(self, server: str, port: int, buffer: int, rate: int, mib: int,
                 checksum: int, pause: float = 0) -> None:
        super().__init__(server, port, buffer)
        self.rate = rate
        self.mib = mib
        self.checksum = checksum
        self.pause = pause
        self.kind = f'reads {rate // 1000} kB/s'
        if pause:
            self.kind += f', pauses {pause:g} s'

    def steps(self) -> Steps:
        self.sock.sendall(b'GET /answer/%d HTTP/1.1\r\nHost: test\r\n\r\n' % self.mib)
        began = time.monotonic()
        size, data = yield from self.read_head()
        left, checksum = size - len(data), zlib.crc32(data)
        while left:
            due = began + self.received / self.rate
            if self.pause and self.received > 1 << 20:
                began, due, self.pause = began + self.pause, due + self.pause, 0
            if due > time.monotonic():
                yield due
            data = yield from self.read(min(left, self.rate // READS))
            left -= len(data)
            checksum = zlib.crc32(data, checksum)
        if checksum != self.checksum:
            raise Cut('other bytes than those that were sent')


class Uploader(Client):
    """One that sends a line now and then, and reads the answer to all of them."""

    def __init__(self, server: str, port: int, every: float, lines: int) -> None:
        super().__init__(server, port)
        self.every = every
        self.lines = lines
        self.kind = f'sends a line every {every:g} s'

    def steps(self) -> Steps:
        self.sock.sendall(
            b'POST /lines HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n')
        for _ in range(self.lines):
            self.sock.sendall(b'e\r\n21.5 degrees.\n\r\n')
            yield time.monotonic() + self.every
        self.sock.sendall(b'0\r\n\r\n')
        size, data = yield from self.read_head()
        while len(data) < size:
            data += yield from self.read(size - len(data))
        if data != b'%d lines' % self.lines:
            raise Cut(f'answered {data!r} to {self.lines} lines')


def run(clients: Iterable[Client]) -> None:
    """Let all take part until the last one has ended."""
    tie = count()
    lives = [(client, client.live()) for client in clients]
    timers = [(0.0, next(tie), client, life) for client, life in lives]
    with selectors.DefaultSelector() as selector:
        while timers or selector.get_map():
            wait = max(0.0, timers[0][0] - time.monotonic()) if timers else float(PATIENCE)
            ready = selector.select(wait)
            if not ready and not timers:
                for key in list(selector.get_map().values()):
                    selector.unregister(key.fileobj)
                    key.data[0].outcome = f'CUT: nothing came for {PATIENCE} s'
                    key.data[0].sock.close()
            turn = []
            for key, _ in ready:
                selector.unregister(key.fileobj)
                turn.append(key.data)
            now = time.monotonic()
            while timers and timers[0][0] <= now:
                turn.append(heapq.heappop(timers)[2:])
            for client, life in turn:
                try:
                    due = next(life)
                except StopIteration:
                    continue
                if due is None:
                    selector.register(client.sock, selectors.EVENT_READ, (client, life))
                else:
                    heapq.heappush(timers, (due, next(tie), client, life))

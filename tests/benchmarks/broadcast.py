"""A broadcast a second to 5,000 open WebSockets: when each of them has it, and what they cost.

    python tests/benchmarks/broadcast.py             # a minute
    python tests/benchmarks/broadcast.py --quick     # a third of it; `.ci/run` runs it

A native server in a process of its own holds the sockets, all in one group. First each socket sends
one message and gets it back, so that its parts are made; then they are idle, and what the server's
memory has grown by is shared among them. Then a POST has the server send 1 KiB to the group, again
and again, one a second. The time counts from the sending of the POST to the arrival at each socket.
It is this program that reads them all, one after the other, so that its own time is in there.

One more socket does not read: the server owes it 8 MiB before the broadcasts begin, and the others
must not be later for it. All of it is done without compression and with it. The exit status is 1
when a socket takes too much memory, or a message comes late, or not at all.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import sys
import time
import zlib

import cpu
from ledger_run import allow_descriptors, resident
from readers import Server

PATIENCE = 30
SIZE = 1024
# What is allowed: seconds until a message is there, and bytes for an idle socket.
LATE = 0.25
MOST = {'plain': 4 << 10, 'deflate': 64 << 10}
HANDSHAKE = (
    'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{}\r\n')
OFFER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n'
POST = 'POST /send HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{}'
TEXT, PING, PONG = 0x81, 0x89, 0x8A


def masked(first: int, payload: bytes) -> bytes:
    """Make a frame of at most 64 KiB, with a key that changes nothing: the server cannot know."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b'\xfe' + size.to_bytes(2, 'big')
    return bytes([first]) + length + bytes(4) + payload


class Socket:
    """A client: what of its frames has come but is not looked at yet."""

    def __init__(self, port: int, deflate: bool, buffer: int = 0) -> None:
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(('127.0.0.1', port))
        self.socket.sendall(HANDSHAKE.format(OFFER if deflate else '').encode())
        self.data = b''
        while b'\r\n\r\n' not in self.data:
            self.data += self.socket.recv(4096) or b'\r\n\r\n'
        head, _, self.data = self.data.partition(b'\r\n\r\n')
        if not head.startswith(b'HTTP/1.1 101') or (b'permessage-deflate' in head) != deflate:
            raise SystemExit(f'broadcast: the handshake was answered with {head.decode()}')
        # For what it sends; its inflater is `Listeners.text`, for all of them get the same frame.
        self.deflate = deflate

    def say(self, text: str) -> None:
        payload = text.encode()
        if self.deflate:
            shrink = zlib.compressobj(wbits=-9)
            payload = (shrink.compress(payload) + shrink.flush(zlib.Z_SYNC_FLUSH))[:-4]
        self.socket.sendall(masked(TEXT | self.deflate << 6, payload))

    def frames(self) -> list[tuple[int, bytes]]:
        """Receive once; return the whole frames that have come: first byte and payload."""
        piece = self.socket.recv(65536)
        if not piece:
            raise SystemExit('broadcast: the server closed a socket')
        data, found, at = self.data + piece, [], 0
        while len(data) >= at + 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2:at + 4], 'big'), at + 4
            elif size == 127:
                raise SystemExit('broadcast: a frame that nobody asked for')
            if len(data) < start + size:
                break
            found.append((data[at], data[start:start + size]))
            at = start + size
        self.data = data[at:]
        return found

    def answer(self) -> tuple[int, bytes]:
        """Wait for the next message; answer pings before it."""
        while True:
            for first, payload in self.frames():
                if first != PING:
                    return first, payload
                self.socket.sendall(masked(PONG, payload))


class Listeners:
    """All sockets that read, and the one connection that has the server send."""

    def __init__(self, port: int, count: int, deflate: bool) -> None:
        self.sockets: dict[int, Socket] = {}
        self.epoll = select.epoll()
        self.post = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE)
        self.told = ''
        for _ in range(count):
            each = Socket(port, deflate)
            each.say('{"hello": "hello, world, hello"}')
            each.answer()
            self.sockets[each.socket.fileno()] = each
            self.epoll.register(each.socket, select.EPOLLIN)

    def text(self, first: int, payload: bytes) -> str:
        """The text of a broadcast. Its compressor began afresh, so it is inflated on its own."""
        if first == TEXT | 0x40:
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b'\0\0\xff\xff')
        elif first != TEXT:
            raise SystemExit(f'broadcast: a frame of another kind, {first:#x}')
        return payload.decode()

    def broadcast(self, number: int) -> list[float]:
        """Have the server send one; return the seconds until each socket had it."""
        line = f'{number}: the price of the garden is {number * 7919 % 1000}; '
        text = (line * (SIZE // len(line) + 1))[:SIZE]
        waiting, seen, took = set(self.sockets), b'', []
        begun = time.perf_counter()
        self.post.sendall(POST.format(len(text), text).encode())
        while waiting:
            ready = self.epoll.poll(PATIENCE)
            if not ready:
                raise SystemExit(f'broadcast: {len(waiting)} sockets wait for it in vain')
            for fd, _ in ready:
                for first, payload in self.sockets[fd].frames():
                    if first == PING:
                        self.sockets[fd].socket.sendall(masked(PONG, payload))
                        continue
                    took.append(time.perf_counter() - begun)
                    waiting.discard(fd)
                    if payload != seen and self.text(first, payload) != text:
                        raise SystemExit('broadcast: a socket got something else')
                    seen = payload
        if b'200 OK' not in self.post.recv(4096):
            raise SystemExit('broadcast: the POST was not answered well')
        return took

    def close(self) -> None:
        self.post.close()
        self.epoll.close()
        for each in self.sockets.values():
            each.socket.close()


def deaf(port: int, deflate: bool) -> Socket:
    """A socket that is owed 8 MiB and reads nothing of it."""
    found = Socket(port, deflate, 4096)
    found.say('deaf')
    return found


def measure(server: Server, count: int, number: int, deflate: bool, late: float) -> bool:
    """Run one of both; print what was found; return whether all was as it must be."""
    name = 'deflate' if deflate else 'plain'
    # Whatever the first sockets bring to life is not of those that are counted.
    Listeners(server.port, 200, deflate).close()
    time.sleep(0.5)
    before = resident(server.process.pid)
    listeners = Listeners(server.port, count, deflate)
    each = (resident(server.process.pid) - before) / count
    with contextlib.closing(deaf(server.port, deflate).socket):
        # Until the server has tried to send what it owes.
        time.sleep(0.5)
        took: list[float] = []
        used = cpu.of_family(server.process.pid), time.process_time(), time.perf_counter()
        for turn in range(number):
            time.sleep(max(0.0, used[2] + turn - time.perf_counter()))
            took += listeners.broadcast(turn)
        long = time.perf_counter() - used[2]
        listeners.close()
    took.sort()
    busy = (cpu.of_family(server.process.pid) - used[0]) / long
    good = each <= MOST[name] and took[-1] <= late
    print(f'{name:8}{each:9,.0f} bytes for each of {count:,} sockets (allowed {MOST[name]:,}); '
          f'{number} broadcasts: median {took[len(took) // 2] * 1000:.0f} ms, 99 % '
          f'{took[len(took) * 99 // 100] * 1000:.0f} ms, last {took[-1] * 1000:.0f} ms '
          f'(allowed {late * 1000:.0f}); cores: server {busy:.2f}, client '
          f'{(time.process_time() - used[1]) / long:.2f}{"" if good else "  TOO MUCH"}', flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description='A broadcast a second to many open WebSockets.')
    parser.add_argument('--sockets', type=int, default=5000)
    parser.add_argument('--broadcasts', type=int, default=20)
    parser.add_argument('--quick', action='store_true', help='4 broadcasts of each')
    parser.add_argument('--late', type=float, default=LATE,
                        help='seconds until a message must be there (%(default)s)')
    parser.add_argument('--python', default=sys.executable, help='which runs the server')
    options = parser.parse_args()
    allow_descriptors(options.sockets + 512)
    cores = sorted(os.sched_getaffinity(0))
    good = True
    for deflate in (False, True):
        # The server's threads and processes stay where it was started.
        os.sched_setaffinity(0, {cores[0]})
        server = Server(options.python, 'app', '--log-level', 'warning', module='broadcast_native')
        os.sched_setaffinity(0, {cores[-1]})
        try:
            good &= measure(server, options.sockets, 4 if options.quick else options.broadcasts,
                            deflate, options.late)
            for line in server.said():
                print(f'the server wrote: {line}')
                good = False
        finally:
            server.close()
    return 0 if good else 1


if __name__ == '__main__':
    raise SystemExit(main())

"""The hostile clients of hostile.py: one kind of them, in one thread, until stdin ends.

    python hostile_clients.py PORT KIND COUNT

It prints `ready` when each of them has sent its first bytes. A client sends what its kind sends,
again and again, as fast as the server takes it, and throws away what it gets. One whose connection
is ended makes a new one, at most a thousand in a second.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import sys
import time
from itertools import cycle
from typing import NamedTuple

GET = b'GET %s HTTP/1.1\r\nHost: test\r\n%s\r\n'
MIB = 1 << 20


def post(path: bytes, body: bytes) -> bytes:
    return b'POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s' % (
        path, len(body), body)


def in_chunks(path: bytes, body: bytes, size: int) -> bytes:
    chunks = b''.join(b'%x\r\n%s\r\n' % (len(body[at:at + size]), body[at:at + size])
                      for at in range(0, len(body), size))
    return b'POST %s HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n' % (
        path, chunks)


def fields() -> bytes:
    """A head of 100 fields, with a long query, and a cookie of many parts: other ones each time."""
    heads = []
    for number in range(8):
        query = b'&'.join(b'q%d_%d=%d' % (number, at, at) for at in range(400))
        lines = b''.join(b'X-Field-%d-%d: %d\r\n' % (number, at, at) for at in range(100))
        cookie = b'; '.join(b'c%d_%d=%d' % (number, at, at) for at in range(400))
        heads.append(GET % (b'/?' + query, lines + b'Cookie: ' + cookie + b'\r\n'))
    return b''.join(heads)


def messages() -> bytes:
    """A handshake of a WebSocket, and many messages of one byte."""
    opening = GET % (b'/echo', b'Connection: Upgrade\r\nUpgrade: websocket\r\n'
                     b'Sec-WebSocket-Version: 13\r\n'
                     b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n')
    return opening + b'\x82\x81\0\0\0\0x' * 100_000


class Kind(NamedTuple):
    """What a kind sends; the first `once` bytes of it at the begin of a connection alone."""

    blob: bytes
    once: int = 0
    reads: bool = True
    resets: bool = False    # It resets the connection when the blob is sent.
    slow: bool = False      # It sends the rest a byte in half a second.
    tls: bool = False       # It does a handshake, and then makes a new connection.




def nested(size: int) -> bytes:
    """Return a JSON of so many bytes that takes long to parse."""
    return b'[' + b','.join([b'[[[[1]]]]'] * (size // 10)) + b']'

KINDS = {
    'chunks': lambda: Kind(in_chunks(b'/upload', bytes(MIB // 2), 5)),
    'json': lambda: Kind(
        post(b'/json', nested(MIB // 4 - 99)) * 4 + post(b'/json', nested(2 * MIB))),
    'patterns': lambda: Kind(GET % (b'/between/' + b'and/' * 4000 + b'end', b'')),
    'fields': lambda: Kind(fields()),
    'pipelining': lambda: Kind(GET % (b'/', b'Accept: */*\r\n') * 1000),
    'computing': lambda: Kind(GET % (b'/compute', b'') * 100),
    'downloads': lambda: Kind(GET % (b'/endless', b''), once=MIB),
    'messages': lambda: Kind(messages(), once=messages().index(b'\x82\x81')),
    'uploads': lambda: Kind(
        b'POST /thread HTTP/1.1\r\nHost: test\r\nContent-Length: 60000\r\n\r\n', slow=True),
    'nonreaders': lambda: Kind(GET % (b'/long', b''), once=MIB, reads=False),
    'resetters': lambda: Kind(GET % (b'/', b''), resets=True),
    'handshakes': lambda: Kind(b'', tls=True),
}


class Client:
    """One of them: its socket, and what of the blob it has sent."""

    def __init__(self, port: int, kind: Kind, poll: select.epoll) -> None:
        self.port = port
        self.kind = kind
        self.poll = poll
        self.connect()

    def connect(self) -> None:
        self.at, self.due = 0, 0.0
        self.sock = socket.socket()
        if not self.kind.reads:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(30)
        self.sock.connect(('127.0.0.1', self.port))
        self.sock.setblocking(False)
        if self.kind.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock, do_handshake_on_connect=False)
        events = select.EPOLLOUT | (select.EPOLLIN if self.kind.reads else 0)
        self.poll.register(self.sock.fileno(), events)

    def again(self) -> None:
        """Begin anew, on a new connection."""
        if self.kind.resets:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.poll.unregister(self.sock.fileno())
        self.sock.close()
        self.connect()

    def ready(self, event: int, now: float) -> None:
        """Do what can be done now. Raises `OSError` when the connection has ended."""
        if self.kind.tls:
            try:
                self.sock.do_handshake()    # type: ignore[attr-defined]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                wants = select.EPOLLIN if isinstance(error, ssl.SSLWantReadError) \
                    else select.EPOLLOUT
                self.poll.modify(self.sock.fileno(), wants)
            else:
                self.again()
            return
        if event & select.EPOLLIN and not self.sock.recv(1 << 18):
            raise ConnectionResetError
        if event & select.EPOLLOUT:
            self.send(now)

    def send(self, now: float) -> None:
        kind = self.kind
        if self.at < len(kind.blob):
            self.at += self.sock.send(memoryview(kind.blob)[self.at:self.at + (1 << 18)])
        if self.at < len(kind.blob):
            return
        if kind.resets:
            self.again()
        elif kind.once < len(kind.blob) and not kind.slow:
            self.at = kind.once
        else:
            self.poll.modify(self.sock.fileno(), select.EPOLLIN if kind.reads else 0)
            self.due = now + 0.5 if kind.slow else 0.0

    def drip(self, now: float) -> None:
        if self.due and now >= self.due:
            self.due = now + 0.5
            self.sock.send(b'x')


def main(port: int, name: str, count: int) -> None:
    os.nice(10)    # (The good clients, on the same core, are what is measured.)
    kind, poll = KINDS[name](), select.epoll()
    clients = [Client(port, kind, poll) for _ in range(count)]
    print('ready', flush=True)
    poll.register(0, select.EPOLLHUP | select.EPOLLIN)
    new, second = 0, 0.0
    for turn in cycle(range(1 << 30)):
        by_fd = {client.sock.fileno(): client for client in clients}
        events = poll.poll(0.1)
        now = time.monotonic()
        if now - second > 1:
            new, second = 0, now
        for fd, event in events:
            if fd == 0:
                return
            try:
                by_fd[fd].ready(event, now)
            except BlockingIOError:
                pass
            except OSError:
                new += 1
                if new < 1000:
                    by_fd[fd].again()
        if kind.slow and turn % 8 == 0:
            for client in clients:
                client.drip(now)


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

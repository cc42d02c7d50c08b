"""What the tests of the server share: applications served for real or in the simulated world.

`Virtual` hosts a server in a `World` and drives its clients by hand, so an hour of deadlines passes
in a millisecond. `serving` starts one on a real port, and `Client` is a blocking socket to it. Both
clients speak bytes; `answers` reads what came back, strictly and in its own words.
"""

from __future__ import annotations

import errno
import queue
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple

from simulated import World

from tremolo import Tremolo
from tremolo.polling.poller import READ
from tremolo.settings import Settings

_NO_LINGER = struct.pack('ii', 1, 0)
# Seconds after which a test on real sockets gives up, and of processor time in a simulated world.
PATIENCE = 30.0


class Answer(NamedTuple):
    """One answer as it was read off the wire."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    head: bytes


class Incomplete(Exception):
    """The bytes end within an answer, of which at least so many are missing."""

    def __init__(self, data: bytes, missing: int = 1) -> None:
        super().__init__(data)
        self.missing = missing


def request(target: str = '/', method: str = 'GET', *lines: str, body: bytes = b'',
            version: str = '1.1') -> bytes:
    """Make a request; `lines` are header lines."""
    fields = ['Host: test', *lines]
    if body and not any(line.lower().startswith('transfer-encoding') for line in lines):
        fields.append(f'Content-Length: {len(body)}')
    head = '\r\n'.join([f'{method} {target} HTTP/{version}', *fields, '', ''])
    return head.encode('latin-1') + body


def chunked(*pieces: bytes) -> bytes:
    """Frame pieces as a whole chunked body."""
    return b''.join(b'%x\r\n%s\r\n' % (len(piece), piece) for piece in pieces) + b'0\r\n\r\n'


def read_answer(data: bytes, method: str = 'GET', ended: bool = True) -> tuple[Answer, bytes]:
    """Read one answer and give the rest. Raises `Incomplete`."""
    head, mark, rest = data.partition(b'\r\n\r\n')
    if not mark:
        raise Incomplete(data)
    line, *fields = head.split(b'\r\n')
    version, status, reason = line.decode('latin-1').split(' ', 2)
    assert version == 'HTTP/1.1', data[:200]
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.decode('latin-1').partition(':')
        assert colon and name == name.strip(), field
        key = name.lower()
        headers[key] = f'{headers[key]}, {value.strip()}' if key in headers else value.strip()
    assert not ('content-length' in headers and 'transfer-encoding' in headers), head
    code = int(status)
    if method == 'HEAD' or code in (101, 204, 304) or code < 200:
        body = b''
    elif 'transfer-encoding' in headers:
        body, rest = _read_chunks(rest)
    elif 'content-length' in headers:
        size = int(headers['content-length'])
        if len(rest) < size:
            raise Incomplete(data, size - len(rest))
        body, rest = rest[:size], rest[size:]
    elif ended:
        body, rest = rest, b''
    else:
        raise Incomplete(data)
    return Answer(code, reason, headers, body, head), rest


def _read_chunks(data: bytes) -> tuple[bytes, bytes]:
    parts = []
    at = 0
    while True:
        end = data.find(b'\r\n', at)
        if end < 0:
            raise Incomplete(data[at:])
        size = int(data[at:end], 16)
        begin, at = end + 2, end + 2 + size + 2
        if len(data) < at:
            raise Incomplete(data[begin:])
        assert data[begin + size:at] == b'\r\n', data[begin:begin + 64]
        parts.append(data[begin:begin + size])
        if not size:
            return b''.join(parts), data[at:]


def answers(data: bytes, *methods: str) -> list[Answer]:
    """Read all answers there are; the methods are those of the first requests. Strict."""
    found = []
    left = list(methods)
    while data:
        method = left[0] if left else 'GET'
        answer, data = read_answer(data, method)
        if left and answer.status != 100:
            left.pop(0)
        found.append(answer)
    return found


def bodies(data: bytes) -> list[bytes]:
    return [answer.body for answer in answers(data)]


# -- the simulated world --------------------------------------------------------------------------


class Virtual:
    """A server in a simulated world. `closed` is why its connections ended."""

    def __init__(self, app: Tremolo, world: World | None = None, **options: Any) -> None:
        self.world = world or World(seed=1)
        self.reactor = self.world.reactor()
        self.server = app.serve_on(self.reactor, Settings(port=0, **options))
        self.server.start()
        self.clients: list[VirtualClient] = []

    @property
    def closed(self) -> dict[str, int]:
        return dict(self.server.closed)

    @property
    def now(self) -> float:
        return self.world.now

    def connect(self, data: bytes = b'', listener: int = 0) -> VirtualClient:
        """Connect to the server, or to another of its listeners, and send data."""
        client = VirtualClient(self, listener)
        self.clients.append(client)
        client.send(data)
        return client

    def ask(self, data: bytes, *methods: str) -> list[Answer]:
        """Send requests, the last of which ends the connection, and give all answers."""
        client = self.connect(data)
        client.until_ended()
        return answers(client.received, *methods)

    def until(self, condition: Callable[[], Any]) -> None:
        """Let the world go on until something is the case; at most a day, and a while of ours."""
        end = self.world.now + 86400
        patience = time.thread_time() + PATIENCE

        def done() -> Any:
            for client in self.clients:
                client.pump()
            happened = condition()
            assert happened or self.world.now < end, 'it did not happen in a day'
            assert happened or time.thread_time() < patience, 'it never happened'
            return happened

        self.world.run(done)

    def advance(self, seconds: float) -> None:
        """Let time pass, and all that happens in it."""
        end = self.world.now + seconds
        self.world.later(end, lambda: None)
        self.until(lambda: self.world.now >= end)

    def settle(self) -> None:
        """Let happen all that can without time passing."""
        self.advance(0.00001)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.close()
        self.advance(0.001)
        self.reactor.close()


@contextmanager
def virtual(app: Tremolo, world: World | None = None, **options: Any) -> Iterator[Virtual]:
    host = Virtual(app, world, **options)
    try:
        yield host
    finally:
        host.close()


class VirtualClient:
    """A client that is moved by `Virtual.until`. `ended` is '', 'fin', 'reset' or 'closed'."""

    def __init__(self, host: Virtual, listener: int = 0) -> None:
        self.host = host
        self.sock = host.world.network.socket()
        self.sock.connect_ex(host.server.listeners[listener].address)
        self.received = b''
        self.reading = True
        self.ended = ''
        self.ended_at = 0.0
        # Whether it keeps its socket when the server has ended its side.
        self.lingers = False
        self._out = bytearray()
        self._fin = False

    def send(self, data: bytes) -> None:
        self._out += data

    def fin(self) -> None:
        self._fin = True

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.close()

    def close(self) -> None:
        self.ended = self.ended or 'closed'
        self.sock.close()

    @property
    def unsent(self) -> int:
        return len(self._out)

    def pump(self) -> None:
        """Send and receive what is possible now."""
        if self.ended or self.sock.state == 'connecting':
            return
        try:
            while self._out:
                # (No more can be taken. All that is left would be copied each time.)
                del self._out[:self.sock.send(self._out[:self.host.world.buffer_size])]
            if self._fin:
                self._fin = False
                self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                self._out.clear()
        while self.reading and not self.ended:
            if self.sock.fd >= 0 and not self.sock.ready() & READ:
                return    # (As with EAGAIN, but cheaper.)
            try:
                data = self.sock.recv(65536)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOTCONN):
                    return
                data, ended = b'', 'reset'
            else:
                ended = 'fin'
            self.received += data
            if not data:
                self.ended, self.ended_at = ended, self.host.now
                if not self.lingers:
                    self.sock.close()

    def until(self, part: bytes, times: int = 1) -> None:
        """Wait until so many of these have come."""
        self.host.until(lambda: self.received.count(part) >= times or self.ended)
        assert self.received.count(part) >= times, self.received[-1000:]

    def until_ended(self) -> None:
        self.host.until(lambda: self.ended)
        self.host.settle()

    def take(self, method: str = 'GET') -> Answer:
        """Wait for an answer and take it out of what was received."""
        seen = (-1, '')

        def whole() -> bool:
            nonlocal seen
            if seen == (len(self.received), self.ended):
                return False
            seen = (len(self.received), self.ended)
            try:
                read_answer(self.received, method, bool(self.ended))
            except Incomplete:
                return bool(self.ended)
            return True

        self.host.until(whole)
        answer, self.received = read_answer(self.received, method, bool(self.ended))
        return answer


# -- real sockets ---------------------------------------------------------------------------------


@contextmanager
def serving(app: Tremolo, **options: Any) -> Iterator[Any]:
    """Serve for real, on a thread; `server.connect()` gives a `Client`."""
    with app.start(**options) as running:
        host = Real(running)
        try:
            yield host
        finally:
            for client in host.clients:
                client.close()


class Real:
    """A running server and the clients that were made for it."""

    def __init__(self, running: Any) -> None:
        self.running = running
        self.server = running.server
        self.reactor = running.reactor
        self.clients: list[Client] = []

    def connect(self, data: bytes = b'', receive_buffer: int = 0) -> Client:
        client = Client(self.running.address, receive_buffer)
        self.clients.append(client)
        if data:
            client.send(data)
        return client

    def ask(self, data: bytes, *methods: str) -> list[Answer]:
        client = self.connect(data)
        return answers(client.read_all(), *methods)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        """Call it on the server's thread and give its value."""
        replies: Any = queue.Queue()
        self.reactor.call_soon_threadsafe(lambda: replies.put(function()))
        return replies.get(timeout=PATIENCE)

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until it is true on the server's thread; each look is a turn of its loop."""
        end = time.monotonic() + PATIENCE
        while not self.on_loop(condition):
            assert time.monotonic() < end, 'it never happened'


class Client:
    """A blocking socket that gives up after `PATIENCE` seconds."""

    def __init__(self, address: Any, receive_buffer: int = 0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        self.received = b''

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def fin(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def read_all(self) -> bytes:
        """Read to the end, which has to be an orderly one."""
        while True:
            data = self.sock.recv(1 << 20)
            if not data:
                return self.received
            self.received += data

    def until(self, part: bytes) -> None:
        while part not in self.received:
            data = self.sock.recv(65536)
            assert data, self.received
            self.received += data

    def take(self, method: str = 'GET') -> Answer:
        while True:
            try:
                answer, self.received = read_answer(self.received, method, False)
                return answer
            except Incomplete as incomplete:
                # (To look at each piece of a long answer takes time as its square.)
                pieces = [self.received]
                while incomplete.missing > 0:
                    pieces.append(self.sock.recv(65536))
                    assert pieces[-1], b''.join(pieces)
                    incomplete.missing -= len(pieces[-1])
                self.received = b''.join(pieces)

"""The echoes of the ledger: what a WebSocket message costs that comes back as it is.

A round is that of `Run`: a message on each of 64 sockets, and the first one stops the server at the
gate until the others were sent. The first socket is opened at another path: behind that each of
its messages stops there.
"""

from __future__ import annotations

import random
import socket
from functools import lru_cache

from ledger_run import DIFFERENT, Row, Run
from workloads import WORKLOADS, Workload

HANDSHAKE = (
    b'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')
LETTERS = b'abcdefghijklmnopqrstuvwxyz '


def head_of(size: int, mask: int) -> bytes:
    """The head of a text frame of less than 64 KiB."""
    if size < 126:
        return bytes([0x81, mask | size])
    return bytes([0x81, mask | 126]) + size.to_bytes(2, 'big')


@lru_cache(None)
def frames_of(size: int) -> list[tuple[bytes, bytes]]:
    """As many different masked frames as there are requests; which one stops, the path says."""
    chance = random.Random(size)
    found = []
    for _ in range(DIFFERENT):
        text, key = bytes(chance.choices(LETTERS, k=size)), chance.randbytes(4)
        mask = int.from_bytes((key * (size // 4 + 1))[:size], 'big')
        payload = (int.from_bytes(text, 'big') ^ mask).to_bytes(size, 'big')
        found.append((head_of(size, 0x80) + key + payload,) * 2)
    return found


class EchoRun(Run):
    """A run whose connections are WebSockets."""

    @staticmethod
    def requests_of(workload: Workload) -> list[tuple[bytes, bytes]]:
        return frames_of(workload.asked.size)

    def connect(self) -> socket.socket:
        path = b'/' if self.clients else b'/gate'
        client = super().connect()
        client.sendall(HANDSHAKE % path)
        # Nothing comes after the head before we have sent something.
        if not client.recv(65536).startswith(b'HTTP/1.1 101'):
            self.fail('refused the handshake')
        return client

    def _check(self, data: bytes) -> int:
        size = self.row.workload.asked.size
        head = head_of(size, 0)
        if data[:len(head)] != head or len(data) < len(head) + size:
            self.fail(f'answered {data[:200]!r}')
        return len(head) + size


ECHOES = {
    f'{app}-echo-{size}': Row(f'echo_{app}', WORKLOADS[f'echo-{size}'], EchoRun, 'websocket')
    for app in ('native', 'asgi') for size in ('32', '1k')}

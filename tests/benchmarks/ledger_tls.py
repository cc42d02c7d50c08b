"""The rows of the ledger over TLS: a request on an open connection, and a handshake with one.

A round of `tls-3` and the like is that of `Run`, with encrypted connections. One of `tls-handshake`
has four new connections, one after the other: a full handshake of TLS 1.3 with a key of P-256, one
request, and the end. (The numbers that OpenSSL draws by chance change its steps a little: that row
is good for a per cent.)
"""

from __future__ import annotations

import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from ledger_run import WORK, Row, Run, wait_until_asleep

CA = Path(__file__).resolve().parents[1] / 'certificates' / 'ca.pem'


@lru_cache(None)
def context() -> ssl.SSLContext:
    """The context of all clients; it keeps no session, so each handshake is a full one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(CA)
    return made


class Encrypted:
    """A client with what `Run` uses of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = context().wrap_socket(sock, server_hostname='localhost')
        self.sendall = self._sock.sendall
        self.close = self._sock.close

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive up to `size` bytes, or with flags (MSG_WAITALL) all of them."""
        data = self._sock.recv(size)
        while flags and data and len(data) < size:
            data += self._sock.recv(size - len(data))
        return data


class TlsRun(Run):
    """A run whose connections are encrypted."""

    def connect(self) -> Any:
        client = Encrypted(super().connect())
        self.clients[-1] = client    # type: ignore[call-overload]
        return client


class HandshakeRun(TlsRun):
    """A run that has a new connection for each request."""

    requests_a_round = 4
    pid = 0

    def _round(self, first: Any, others: list[Any], size: int = 65536) -> tuple[int, int]:
        if not others:
            self.pid, size = super()._round(first, others, size)
            return self.pid, size
        for _ in range(self.requests_a_round):
            client = self.connect()
            self.ask(client)
            client.close()
            self.clients.pop()
            wait_until_asleep(self.pid)
        return self.pid, size


TLS = {f'tls-{name}': Row('tls', WORK[name], TlsRun, 'tls/transport.py')
       for name in ('3', '12', 'post')}
TLS['tls-handshake'] = Row('tls', WORK['3'], HandshakeRun, 'tls/transport.py')

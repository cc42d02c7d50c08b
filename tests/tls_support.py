"""What the tests of TLS share: a server's context, and clients that speak TLS.

`Peer` is a client of a simulated world: its TLS works on memory, so a test may cut, delay or spoil
each byte. `TlsClient` is a blocking one for servers on real sockets. Both tell whether the server
has said that its side is complete (close_notify).
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, Callable

from certificates import LOCALHOST, client_context
from server_support import Answer, Client, Incomplete, Real, Virtual, read_answer

# (In Python 3.9 and PyPy a missing close_notify would look like one.)
_IGNORE_UNEXPECTED_EOF = 1 << 7


def context_of(pair: Any = LOCALHOST, **attributes: Any) -> ssl.SSLContext:
    """Return a server's context with one certificate; `attributes` are set on it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def strict_client(*args: Any) -> ssl.SSLContext:
    """Return a client's context that tells a missing close_notify from one that came."""
    context = client_context(*args)
    context.options &= ~_IGNORE_UNEXPECTED_EOF
    return context


class Peer:
    """A TLS client on memory, over a `VirtualClient`. `data` is what it has received, decrypted.

    `is_open`: the handshake is complete. `notified`: the close_notify of the server has come.
    """

    def __init__(self, host: Virtual, context: ssl.SSLContext | None = None,
                 name: str = 'localhost', listener: int = 0, shake: bool = True) -> None:
        self.host = host
        self.client = host.connect(listener=listener)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or strict_client()).wrap_bio(
            self._incoming, self._outgoing, server_hostname=name)
        self.data = b''
        self.is_open = self.notified = False
        self.error: ssl.SSLError | None = None
        if shake:
            self.until(lambda: self.is_open)
            host.settle()

    def next_bytes(self) -> bytes:
        """Take what has come, and give what is to be sent for it."""
        received, self.client.received = self.client.received, b''
        self._incoming.write(received)
        try:
            if not self.is_open:
                self.tls.do_handshake()
                self.is_open = True
            while not self.notified:
                data = self.tls.read(1 << 20)
                self.data += data
                self.notified = not data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.notified = True
        except ssl.SSLError as error:
            self.error = error
        return self._outgoing.read()

    def until(self, condition: Callable[[], Any]) -> None:
        """Go on until something is the case, the server has ended, or an error came."""
        def happened() -> Any:
            if (data := self.next_bytes()):
                self.client.send(data)
            return condition() or self.client.ended or self.error

        self.host.until(happened)

    def sealed(self, data: bytes) -> bytes:
        """Return the records of some bytes, to be sent by the test."""
        view = memoryview(data)
        while len(view):
            view = view[self.tls.write(view):]
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        self.client.send(self.sealed(data))

    def close_notify(self) -> None:
        """Say that our side is complete, and go on reading."""
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        self.client.send(self._outgoing.read())

    def until_ended(self) -> None:
        self.until(lambda: False)
        self.next_bytes()
        self.host.settle()

    def take(self, method: str = 'GET') -> Answer:
        """Wait for an answer, and take it out of what was received."""
        found: list[Any] = []

        def whole() -> bool:
            try:
                found[:] = read_answer(self.data, method, self.notified)
            except Incomplete:
                return False
            return True

        self.until(whole)
        assert found, (self.data[:300], self.error)
        self.data = found[1]
        answer: Answer = found[0]
        return answer


class TlsClient(Client):
    """A blocking client. `read_all` fails if the server ends without a close_notify."""

    def __init__(self, host: Real, context: ssl.SSLContext | None = None, name: str = 'localhost',
                 receive_buffer: int = 0) -> None:
        super().__init__(host.running.address, receive_buffer)
        host.clients.append(self)
        self.plain = self.sock
        try:
            self.sock = (context or strict_client()).wrap_socket(
                self.plain, server_hostname=name, suppress_ragged_eofs=False)
        except BaseException:
            self.plain.close()
            raise

"""The PROXY step: a trusted proxy says, before anything else, who its client is.

Peers that are not trusted are closed at once. The others have five seconds for the whole header:
a byte now and then does not prolong them. What follows the header stays in the kernel, for TLS and
HTTP: so bytes are looked at first (MSG_PEEK), and only those that belong to the header are taken.
What was looked at and makes no whole header belongs to it to the last byte (`read_header`), so
nothing ever lies in the kernel that the poller would report without end.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from ..loop import Future
from ..proxies.proxy_header import LONGEST, ProxyHeader, ProxyHeaderError, read_header
from ..proxies.trusted import TrustedProxies
from ..server.addresses import Addresses, as_addresses
from ..typed import TYPE_CHECKING, Any
from .arrival import Arrival, Known, Refused, Step

if TYPE_CHECKING:
    from ..loop import Reactor
    from ..settings import Settings

_SECONDS = 5.0    # For the header. (It comes with the connection, in the first segment.)


def proxy_step(settings: Settings) -> Step:
    """Return the step of an address whose trusted proxies send a header."""
    trusted = TrustedProxies(settings.trusted_proxies)
    version = settings.proxy_protocol

    def step(arrival: Arrival, sock: Any, known: Addresses | None) -> Generator[Any, Any, Known]:
        is_unix = sock.family == getattr(arrival.reactor.network, 'AF_UNIX', None)
        if not (arrival.address or is_unix):
            raise ConnectionResetError    # (It has gone while it waited to be accepted.)
        if not trusted.trusts(None if is_unix else arrival.address, is_unix):
            raise Refused('stranger')
        header = yield from _receive(arrival.reactor, sock, version)
        if header.ends is None:
            return sock, None
        client, server = header.ends
        # (A client on a UNIX socket of the proxy. Our own end is what the socket says.)
        return sock, (client, server or as_addresses(None, sock.getsockname())[1], 'http')

    return step


def _receive(reactor: Reactor, sock: Any, version: str) -> Generator[Any, Any, ProxyHeader]:
    """Take a header from a socket, and not a byte more."""
    until = reactor.time() + _SECONDS
    data = bytearray()
    while True:
        try:
            seen = sock.recv(LONGEST - len(data), reactor.network.MSG_PEEK)
        except BlockingIOError:
            if not (yield _readable(reactor, sock.fileno(), until)):
                raise Refused('proxy_header', f'it is not whole after {_SECONDS:g} s') from None
            continue
        if not seen:
            # (Who only looks whether we listen says nothing.)
            raise Refused('proxy_header', 'it was cut off') if data else Refused('hang-up')
        before = len(data)
        data += seen
        try:
            header = read_header(data, version)
        except ProxyHeaderError as error:
            raise Refused('proxy_header', str(error)) from None
        _take(sock, (len(data) if header is None else header.size) - before)
        if header is not None:
            return header


def _take(sock: Any, size: int) -> None:
    """Take bytes from a socket that were seen there."""
    while size:
        taken = len(sock.recv(size))
        if not taken:
            raise ConnectionResetError
        size -= taken


def _readable(reactor: Reactor, fd: int, until: float) -> Future:
    """Return a Future: whether a descriptor is readable, or else the time has come."""
    future = Future(reactor)

    def leave() -> None:
        reactor.remove_reader(fd)
        timer.cancel()

    def end(readable: bool) -> None:
        leave()
        future.set_result(readable)

    # (The timer comes second: if the poller refuses the fd, it must not touch the next one so.)
    reactor.add_reader(fd, partial(end, True))
    timer = reactor.call_at(until, end, False)
    future.on_cancel = leave
    return future

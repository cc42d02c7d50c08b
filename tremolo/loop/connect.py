"""Connect: open a connection to a server, and return a Future of its started Stream.

A name is resolved on a thread, because that may take seconds; a numeric address needs no thread.
The addresses are tried one after the other, in the system's order. An address that does not answer
is given up after `PATIENCE` seconds, or after its share of the timeout if that is less: a broken
IPv6 delays a connection and does not prevent it. The last address gets all the time that is left.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator

from ..typed import Any
from .future import Future
from .joint import timeout as timeout_after
from .listener import host_port
from .reactor import Reactor
from .spawn import spawn
from .stream import Stream
from .sync import Event
from .threads import run_in_thread
from .timers import NEVER

# Seconds for an address that is not the last; a lost SYN is sent again after 1 s (RFC 6298).
PATIENCE = 2.0


def connect(host: str, port: int, timeout: float | None = None) -> Future:
    """Connect over TCP; return a Future of a Stream that has started to read.

    The Future raises the `OSError` of the last try, with the address in its text; after `timeout`
    seconds it is a `TimeoutError`. To cancel the Future closes the socket, also a connected socket
    that no task has taken yet.
    """
    future = Future(give_back=Stream.abort)
    end = NEVER if timeout is None else future.reactor.time() + timeout
    future.on_cancel = spawn(_connect(future, host, port, end)).cancel
    return future


def _connect(future: Future, host: str, port: int, end: float) -> Generator[Any, Any, None]:
    """Find the addresses and try each until the time `end`. Always sets the Future."""
    net, time = future.reactor.network, future.reactor.time
    try:
        if not 0 < port <= 65535:
            # Some systems would take the port modulo 65536.
            raise OSError(errno.EINVAL, 'the port must be 1 to 65535')
        try:
            found = net.getaddrinfo(host, port, 0, net.SOCK_STREAM, 0, net.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            job = run_in_thread(net.getaddrinfo, host, port, 0, net.SOCK_STREAM)
            found = yield timeout_after(end - time(), job)
        while not future.done():
            left = end - time()
            share = min(PATIENCE, left / len(found)) if len(found) > 1 else left
            try:
                future.set_result((yield from _stream(future.reactor, found.pop(0), share)))
            except OSError:
                if not found:
                    raise
    except Exception as error:
        if isinstance(error, TimeoutError):
            error = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        code = getattr(error, 'errno', None) or errno.EINVAL
        why = getattr(error, 'strerror', None) or error
        future.set_exception(OSError(code, f'cannot connect to {host_port(host, port)}: {why}'))


def _stream(reactor: Reactor, found: Any, seconds: float) -> Generator[Any, Any, Stream]:
    """Connect to one address; close the socket unless that succeeds."""
    net = reactor.network
    family, _, proto, _, address = found
    sock = net.socket(family, net.SOCK_STREAM, proto)
    stream = Stream(reactor, sock)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        while code == errno.EINPROGRESS:
            writable = Event()
            reactor.add_writer(stream.fd, writable.set)
            yield timeout_after(seconds, writable.wait())
            code = sock.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
            if not code and stream.peer is None:
                # Not yet: the event was meant for another socket, which had this fd until now.
                code = errno.EINPROGRESS
        reactor.remove_writer(stream.fd)
        if code:
            raise OSError(code, os.strerror(code))
        sock.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
        stream.start()
    except BaseException:
        stream.abort()
        raise
    return stream

"""Connect: the other direction. A Future of a started Stream to a server.

A name is resolved on a thread, because that may take seconds; numeric addresses need none. The
addresses are tried in the order in which the system gives them. An address that has not answered
after `HEAD_START` seconds is not given up, but the next one is tried beside it, and the first that
connects wins (the idea of RFC 8305, "happy eyeballs"): a broken IPv6 costs a quarter of a second.

Cancelling the Future closes every socket that was opened for it, also the connected one if nobody
has taken it yet. Errors are the `OSError` of the last try, with the address in the text.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from functools import partial
from typing import Any, Callable

from .future import Future, current_reactor, on_loop
from .reactor import Reactor
from .stream import Stream
from .threads import run_in_thread

# Seconds that an address is tried alone before the next one is tried beside it.
HEAD_START = 0.25


def connect(host: str, port: int, timeout: float | None = None) -> Future:
    """Connect over TCP; the Future gives a Stream that has started to read.

    Raises `OSError`, or `TimeoutError` (one of them) after `timeout` seconds.
    """
    where = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    joining = _Connecting(current_reactor(), where)
    on_loop(current_reactor(), joining.begin, timeout, joining.resolve, host, port)
    return joining.future


def connect_unix(path: str, timeout: float | None = None) -> Future:
    """Connect to a UNIX socket; the rest is as with `connect`."""
    joining = _Connecting(current_reactor(), f'unix:{path}')
    net = current_reactor().network
    found = [(net.AF_UNIX, net.SOCK_STREAM, 0, '', path)]
    on_loop(current_reactor(), joining.begin, timeout, joining.try_all, found)
    return joining.future


class _Connecting:
    """One `connect` on its way: the addresses that are left and the tries that have begun."""

    def __init__(self, reactor: Reactor, where: str) -> None:
        self._reactor = reactor
        self._where = where
        self.future: Future = Future(reactor, Stream.abort)
        # What `getaddrinfo` gave, without those that were tried.
        self._addresses: deque[tuple[Any, ...]] = deque()
        # Sockets that are connecting.
        self._tries: list[Any] = []
        self._resolving: Future | None = None
        self._head_start = reactor.timers.new(self._try_next)
        self._end = reactor.timers.new(self._fail, errno.ETIMEDOUT)

    def begin(self, timeout: float | None, step: Callable[..., None], *args: Any) -> None:
        self.future.on_cancel = self._let_go
        if timeout is not None:
            self._end.move(self._reactor.time() + timeout)
        step(*args)

    def resolve(self, host: str, port: int) -> None:
        """Look the name up; without a thread if it is a numeric address."""
        net = self._reactor.network
        if not 0 < port <= 65535:
            # Some systems take the port modulo 65536.
            self._fail(errno.EINVAL, 'the port must be 1 to 65535')
            return
        try:
            found = net.getaddrinfo(host, port, 0, net.SOCK_STREAM, 0, net.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            self._resolving = run_in_thread(net.getaddrinfo, host, port, 0, net.SOCK_STREAM)
            self._resolving.add_done_callback(self._resolved)
        else:
            self.try_all(found)

    def _resolved(self, resolving: Future) -> None:
        found, error = resolving.outcome()
        if self.future.done():
            return
        if error is None:
            self.try_all(found)
        else:
            self._fail(getattr(error, 'errno', None) or errno.EINVAL,
                       getattr(error, 'strerror', None) or str(error))

    def try_all(self, found: list[tuple[Any, ...]]) -> None:
        self._addresses.extend(found)
        self._try_next()

    def _try_next(self, code: int = 0) -> None:
        """Go on after a try failed or was slow: with the next, or wait for the others, or fail."""
        if not self._addresses:
            if not self._tries:
                self._fail(code)
            return
        net = self._reactor.network
        family, _, proto, _, address = self._addresses.popleft()
        try:
            sock = net.socket(family, net.SOCK_STREAM, proto)
        except OSError as error:
            # No descriptor is left, or the system does not know the family.
            self._try_next(error.errno or 0)
            return
        sock.setblocking(False)
        self._tries.append(sock)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            self._reactor.add_writer(sock.fileno(), partial(self._writable, sock))
            if self._addresses:
                self._head_start.move(self._reactor.time() + HEAD_START)
        else:
            self._tried(sock, code)

    def _writable(self, sock: Any) -> None:
        net = self._reactor.network
        code = sock.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
        if not code:
            try:
                sock.getpeername()
            except OSError:
                # Not yet: the event was that of another socket, closed in this turn, of this fd.
                return
        self._tried(sock, code)

    def _tried(self, sock: Any, code: int) -> None:
        """Go on when a try has ended."""
        if code:
            self._drop(sock)
            self._try_next(code)
            return
        net = self._reactor.network
        self._reactor.remove_fd(sock.fileno())
        self._tries.remove(sock)
        self._let_go()
        if sock.family != getattr(net, 'AF_UNIX', None):
            sock.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
        stream = Stream(self._reactor, sock)
        stream.start()
        self.future.set_result(stream)

    def _fail(self, code: int, why: str = '') -> None:
        self._let_go()
        text = f'cannot connect to {self._where}: {why or os.strerror(code)}'
        self.future.set_exception(OSError(code, text))

    def _drop(self, sock: Any) -> None:
        self._reactor.remove_fd(sock.fileno())
        self._tries.remove(sock)
        sock.close()

    def _let_go(self) -> None:
        """Close what is under way and forget what is left."""
        self._head_start.cancel()
        self._end.cancel()
        self._addresses.clear()
        for sock in list(self._tries):
            self._drop(sock)
        if self._resolving is not None:
            self._resolving.cancel()

"""Listener: bind, accept, and survive running out of file descriptors.

Accepting goes on until nobody waits, bounded per turn so that connections already open get theirs.
When descriptors run out (EMFILE, ENFILE), or buffers, or accepting fails in another way that lasts,
the listener says so once and tries again every second: the clients wait in the kernel's queue, and
the loop does not spin.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from typing import Any, Callable

from .errors import ListenError
from .reactor import Reactor
from .timers import Timer

_log = logging.getLogger('tremolo.loop')

# Connections accepted in one turn; seconds without accepting when descriptors ran out.
_MOST_ACCEPTS = 64
_BREATH = 1.0
# What only the connection has that was to be accepted, not the listener (accept(2)).
_PASSING = frozenset((errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN,
                      errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EOPNOTSUPP,
                      errno.ENOPROTOOPT))


def bind(reactor: Reactor, host: str, port: int, backlog: int = 1024,
         shared: bool = False) -> list[Any]:
    """Open listening TCP sockets: one for each address of `host` ('' is every IPv4 address).

    '::' listens on IPv6 and IPv4 alike (dual stack). An address of a name that this machine does
    not have is left out ('localhost' without IPv6) as long as another works. A `shared` port others
    that share it may have as well (SO_REUSEPORT). Raises `ListenError`.
    """
    net = reactor.network
    where = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    sockets: list[Any] = []
    try:
        if not 0 <= port <= 65535:
            # Some systems take the port modulo 65536.
            raise OSError(errno.EINVAL, 'the port must be 0 to 65535')
        found = net.getaddrinfo(host or '0.0.0.0', port, type=net.SOCK_STREAM)
        found = list(dict.fromkeys(found))
        while found:
            family, _, proto, _, address = found.pop(0)
            if sockets and port == 0:
                # The other addresses of a name get the port that the first was given.
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sockets.append(open_socket(reactor, family, proto, address, backlog, shared))
            except OSError as error:
                missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
                if not missing or not (found or sockets):
                    raise
    except (OSError, UnicodeError) as error:
        for sock in sockets:
            sock.close()
        why = getattr(error, 'strerror', None) or error
        raise ListenError(f'cannot listen on {where}: {why}') from error
    return sockets


def open_socket(reactor: Reactor, family: Any, proto: int, address: Any, backlog: int,
                shared: bool = False) -> Any:
    """Open one listening socket. Raises `OSError`."""
    net = reactor.network
    sock = net.socket(family, net.SOCK_STREAM, proto)
    try:
        sock.setsockopt(net.SOL_SOCKET, net.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(net.SOL_SOCKET, net.SO_REUSEPORT, 1)
        if family == net.AF_INET6:
            sock.setsockopt(net.IPPROTO_IPV6, net.IPV6_V6ONLY, int(address[0] != '::'))
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(reactor: Reactor, path: str, backlog: int = 1024) -> Any:
    """Open a listening UNIX socket; only a stale file of one is replaced. Raises `ListenError`."""
    net = reactor.network
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(errno.EEXIST, 'something that is no socket is there')
            with net.socket(net.AF_UNIX, net.SOCK_STREAM) as probe:
                probe.setblocking(False)
                if probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT):
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            os.unlink(path)
        return open_socket(reactor, net.AF_UNIX, 0, path, backlog)
    except OSError as error:
        raise ListenError(f'cannot listen on unix:{path}: {error.strerror or error}') from error


class Listener:
    """Calls `accepted(sock, address)` for each connection: non-blocking, without Nagle's delay.

    What is `shared` with other processes stays open to them; so does the file of a UNIX socket.
    """

    def __init__(self, reactor: Reactor, sock: Any, accepted: Callable[[Any, Any], None],
                 shared: bool = False) -> None:
        self._reactor = reactor
        self._socket = sock
        self._accepted = accepted
        # The last pause for want of descriptors; None since accepting works again.
        self._breath: Timer | None = None
        self.paused = True
        self.closed = False
        self.shared = shared
        self.address: Any = sock.getsockname()
        self.is_unix: bool = sock.family == getattr(reactor.network, 'AF_UNIX', None)

    def start(self) -> None:
        """Begin, or go on, to accept."""
        if self.paused and not self.closed:
            self.paused = False
            self._reactor.add_reader(self._socket.fileno(), self.accept_waiting)

    def pause(self) -> None:
        """Let new connections wait in the kernel's queue."""
        if not self.paused:
            self.paused = True
            self._reactor.remove_reader(self._socket.fileno())
        if self._breath is not None:
            # Its owner wants a pause: the end of a breath must not end it.
            self._breath.cancel()

    def share(self) -> Any:
        """Return the socket once more, for a process that goes on with it."""
        self.shared = True
        return self._socket.dup()

    def close(self) -> None:
        """Stop listening; the file of a UNIX socket is removed."""
        if self.closed:
            return
        self.pause()
        self.closed = True
        self._socket.close()
        # A name in Linux's abstract namespace (bytes) has no file.
        if self.is_unix and isinstance(self.address, str) and not self.shared:
            try:
                os.unlink(self.address)
            except OSError as error:
                _log.debug('the socket file %s could not be removed: %s', self.address, error)

    def accept_waiting(self, most: int = _MOST_ACCEPTS) -> None:
        """Accept who waits by now, unless it pauses: at most so many, then others have a turn."""
        net = self._reactor.network
        for _ in range(most):
            # What was accepted last may have paused us.
            if self.paused:
                return
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _PASSING:
                    # The client gave up while it waited, or the like: its own affair.
                    continue
                if self._breath is None:
                    _log.error('no new connections for now: %s', error.strerror or error)
                self.pause()
                self._breath = self._reactor.call_later(_BREATH, self.start)
                return
            if self._breath is not None:
                self._breath = None
                _log.warning('accepting again')
            try:
                sock.setblocking(False)
                if not self.is_unix:
                    sock.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
                self._accepted(sock, address)
            except Exception:
                # Perhaps it is watched already.
                self._reactor.remove_fd(sock.fileno())
                sock.close()
                _log.exception('a new connection could not be taken')

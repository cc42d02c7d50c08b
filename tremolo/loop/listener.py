"""Listener: bind, accept, and survive running out of file descriptors.

A listener accepts until no client waits, but a bounded number in a turn, so that open connections
get their turn too. When descriptors run out (EMFILE, ENFILE), or buffers, or `accept` fails in
another way that lasts, or the poller refuses us, the listener logs it once and tries again ten
times a second: the clients wait in the kernel's queue meanwhile, and the loop does not spin.
"""

from __future__ import annotations

import errno
import logging
import os
import stat

from ..typed import Any, Callable
from .errors import ListenError
from .reactor import Reactor
from .timers import Timer

_log = logging.getLogger('tremolo.loop')

_MOST_ACCEPTS = 64    # Connections accepted in one turn.
_BREATH = 0.1    # Seconds without accepting after descriptors ran out.
_QUIET = 10.0    # Seconds until that is told again, if now and then there is one.
# Errors of one connection that was about to be accepted, not of the listener (accept(2)).
_PASSING = frozenset((errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN,
                      errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EOPNOTSUPP,
                      errno.ENOPROTOOPT))


def host_port(host: str, port: int) -> str:
    """Return an address as people write it, with brackets around IPv6."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def bind(reactor: Reactor, host: str, port: int, backlog: int = 1024,
         shared: bool = False) -> list[Any]:
    """Open listening TCP sockets, one for each address of `host` ('' is every IPv4 address).

    '::' listens on IPv6 and on IPv4 (dual stack). If a name has an address that this machine lacks
    ('localhost' without IPv6), that address is left out as long as another works. Other processes
    may bind a `shared` port too (SO_REUSEPORT). Raises `ListenError`.
    """
    net = reactor.network
    sockets: list[Any] = []
    try:
        if not 0 <= port <= 65535:
            # Some systems would take the port modulo 65536.
            raise OSError(errno.EINVAL, 'the port must be 0 to 65535')
        # (An address in figures needs no name service, which imports 1.5 ms of idna.)
        found: list[Any] = [(net.AF_INET, net.SOCK_STREAM, 0, '', (host or '0.0.0.0', port))]
        if host and not host.replace('.', '').isdigit():
            found = net.getaddrinfo(host, port, type=net.SOCK_STREAM)
        found = list(dict.fromkeys(found))
        while found:
            family, _, proto, _, address = found.pop(0)
            if sockets and port == 0:
                # All addresses of a name get the port that the system gave the first one.
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
        raise ListenError(f'cannot listen on {host_port(host, port)}: {why}') from error
    return sockets


def open_socket(reactor: Reactor, family: Any, proto: int, address: Any, backlog: int,
                shared: bool = False, mode: int | None = None) -> Any:
    """Open one listening socket; `mode` is that of a UNIX socket's file. Raises `OSError`."""
    net = reactor.network
    sock = net.socket(family, net.SOCK_STREAM, proto)
    try:
        sock.setsockopt(net.SOL_SOCKET, net.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(net.SOL_SOCKET, net.SO_REUSEPORT, 1)
        if family == net.AF_INET6:
            sock.setsockopt(net.IPPROTO_IPV6, net.IPV6_V6ONLY, int(address[0] != '::'))
        sock.bind(address)
        if mode is not None:
            # Before `listen`: until then nobody can connect.
            os.chmod(address, mode)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(reactor: Reactor, path: str, backlog: int = 1024, mode: int | None = None) -> Any:
    """Open a listening UNIX socket, and replace the stale file of one. Raises `ListenError`.

    Who may write to the file may connect. Without a `mode` that is what the umask says.
    """
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
        return open_socket(reactor, net.AF_UNIX, 0, path, backlog, mode=mode)
    except OSError as error:
        raise ListenError(f'cannot listen on unix:{path}: {error.strerror or error}') from error


def file_of(address: Any) -> tuple[int, int] | None:
    """Return the device and the inode of a UNIX socket's file; None if there is no file."""
    # A name in Linux's abstract namespace (bytes) has no file.
    if not isinstance(address, str) or not address:
        return None
    try:
        found = os.lstat(address)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove_file(address: Any, file: tuple[int, int] | None) -> None:
    """Remove a UNIX socket's file, unless another one has come in its place.

    (The socket must be open yet: as long as it is, no other file gets its inode.)
    """
    if file is not None and file == file_of(address):
        try:
            os.unlink(address)
        except OSError as error:
            _log.debug('the socket file %s could not be removed: %s', address, error)


class Listener:
    """Calls `accepted(sock, address)` for each connection: non-blocking, without Nagle's delay.

    A socket that is `shared` with other processes stays open for them: `close` closes our own
    descriptor only, and the file of a UNIX socket stays.
    """

    def __init__(self, reactor: Reactor, sock: Any, accepted: Callable[[Any, Any], object],
                 shared: bool = False) -> None:
        self._reactor = reactor
        self._socket = sock
        self._accepted = accepted
        # The timer that ends the pause after an error; None once accepting works again.
        self._breath: Timer | None = None
        self._told = False    # Whether the log says that we do not accept.
        self._quiet_until = -_QUIET    # (No clock is before that.)
        self.paused = True
        self.closed = False
        self.shared = shared
        self.address: Any = sock.getsockname()
        self.is_unix: bool = sock.family == getattr(reactor.network, 'AF_UNIX', None)
        self._file = file_of(self.address) if self.is_unix else None

    def start(self) -> None:
        """Begin to accept, or go on."""
        if self.paused and not self.closed:
            try:
                self._reactor.add_reader(self._socket.fileno(), self.accept_waiting)
                self.paused = False
            except OSError as error:
                self._rest(error)

    def pause(self) -> None:
        """Let new connections wait in the kernel's queue."""
        if not self.paused:
            self.paused = True
            self._reactor.remove_reader(self._socket.fileno())
        if self._breath is not None:
            # The owner wants this pause: the end of the other one must not end it.
            self._breath.cancel()

    def fileno(self) -> int:
        """Return the descriptor; -1 when it is closed."""
        fd: int = self._socket.fileno()
        return fd

    def share(self) -> Any:
        """Return a duplicate of the socket, for a process that goes on with it."""
        self.shared = True
        return self._socket.dup()

    def close(self) -> None:
        """Stop listening, and remove the file of a UNIX socket."""
        if self.closed:
            return
        self.pause()
        self.closed = True
        if not self.shared:
            remove_file(self.address, self._file)
        self._socket.close()

    def _rest(self, error: OSError) -> None:
        """Let new clients wait for a moment, because of a failure that lasts."""
        now = self._reactor.time()
        if self._breath is None and now >= self._quiet_until:
            _log.error('no new connections for now: %s', error.strerror or error)
            self._told, self._quiet_until = True, now + _QUIET
        self.pause()
        self._breath = self._reactor.call_later(_BREATH, self.start)

    def accept_waiting(self, most: int = _MOST_ACCEPTS) -> None:
        """Accept the clients that wait, at most `most` in one turn, unless the listener pauses."""
        net = self._reactor.network
        for _ in range(most):
            # `accepted` may have paused us for the connection before.
            if self.paused:
                return
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _PASSING:
                    # The client gave up while it waited, for example: only that client is lost.
                    continue
                self._rest(error)
                return
            self._breath = None
            if self._told:
                self._told = False
                _log.warning('accepting again')
            # (It has no watcher yet: one of that number is of a socket that was closed unknown to
            # us, and would let this one wait for ever.)
            self._reactor.remove_fd(sock.fileno())
            try:
                sock.setblocking(False)
                if not self.is_unix:
                    sock.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
                self._accepted(sock, address)
            except Exception:
                # `accepted` may have failed after the socket was watched.
                self._reactor.remove_fd(sock.fileno())
                sock.close()
                _log.exception('a new connection could not be taken')

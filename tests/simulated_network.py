"""The simulated world's network: what the loop asks of the module `socket`, in memory.

It does what Linux does (each rule was tried on one): readiness is level-triggered; an error or a
hang-up is reported whatever the interest; descriptors are reused, lowest first; a closed socket
leaves its pollers; closing with unread bytes, or with SO_LINGER 0, resets; after a reset come the
bytes that arrived before it, then the error, once, then the end; a FIN may be answered, and what
arrives at a closed socket is answered by a reset. UNIX sockets have no latency, and one that closes
hangs the other up at once. What a socket does not have room for waits at the sender: the two kernel
buffers of a connection's direction are one, `World.buffer_size`.

Faults: `reset(sock)` breaks a connection, `stall(sock)` makes a socket read and accept no more,
`vanished` holds sockets that acknowledge nothing any more (and must not read), `silent` holds the
hosts that never answer, `most_descriptors` is where EMFILE begins, a socket is reported as writable
only with more than `least_room` bytes of room (Linux: a third of the buffer), and without
`tells_acknowledged` TCP_INFO tells nothing. `hosts` holds the names that `getaddrinfo` knows.
"""

from __future__ import annotations

import errno
import heapq
import os
import socket as real
import struct
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from tremolo.polling.poller import ERROR, HANGUP, READ, WRITE

if TYPE_CHECKING:
    from simulated import World

_NO_LINGER = struct.pack('ii', 1, 0)
# (An operation on the flag itself takes microseconds.)
_PEEK = int(real.MSG_PEEK)


class Network:
    """Stands for the module `socket`, whose constants it shares."""

    gaierror = real.gaierror

    def __init__(self, world: World) -> None:
        self.world = world
        self.hosts = {'localhost': ['127.0.0.1']}
        self.silent: set[str] = set()
        self.most_descriptors = 1_000_000
        self.least_room = 0
        self.vanished: set[Socket] = set()
        self.tells_acknowledged = True
        self.sockets: dict[int, Socket] = {}
        self.bound: dict[Any, Socket] = {}
        self._free_fds: list[int] = []
        self._last_port = 49151

    def __getattr__(self, name: str) -> Any:
        if not name.isupper():
            raise AttributeError(name)
        return getattr(real, name)

    def socket(self, family: int = real.AF_INET, type: int = real.SOCK_STREAM,
               proto: int = 0) -> Socket:
        return self.opened(Socket(self, family))

    def socketpair(self) -> tuple[Socket, Socket]:
        one, other = self.socket(real.AF_UNIX), self.socket(real.AF_UNIX)
        one.join(other)
        other.join(one)
        return one, other

    def getaddrinfo(self, host: str, port: int, family: int = 0, type: int = 0, proto: int = 0,
                    flags: int = 0) -> list[tuple[Any, ...]]:
        numeric = ':' in host or host.replace('.', '').isdigit()
        if not numeric and host not in self.hosts:
            raise real.gaierror(real.EAI_NONAME, 'Name or service not known')
        return [
            (real.AF_INET6, real.SOCK_STREAM, real.IPPROTO_TCP, '', (address, port, 0, 0))
            if ':' in address else
            (real.AF_INET, real.SOCK_STREAM, real.IPPROTO_TCP, '', (address, port))
            for address in ([host] if numeric else self.hosts[host])
        ]

    def reset(self, sock: Socket) -> None:
        """Break a connection: both ends find it reset."""
        for end in (sock, sock.peer):
            if end is not None:
                end.reset_arrived()

    def stall(self, sock: Socket) -> None:
        """Let a socket read and accept nothing any more."""
        sock.stalled = True

    def opened(self, sock: Socket) -> Socket:
        """Give a socket the lowest free descriptor. Raises EMFILE when there is none."""
        if len(self.sockets) >= self.most_descriptors:
            raise os_error(errno.EMFILE)
        sock.fd = heapq.heappop(self._free_fds) if self._free_fds else 3 + len(self.sockets)
        self.sockets[sock.fd] = sock
        return sock

    def closed(self, sock: Socket) -> None:
        del self.sockets[sock.fd]
        heapq.heappush(self._free_fds, sock.fd)
        if self.bound.get(_place(sock.name)) is sock:
            del self.bound[_place(sock.name)]

    def free_port(self) -> int:
        self._last_port += 1
        return self._last_port

    def listener(self, address: Any) -> Socket | None:
        """Find who listens there."""
        places = [_place(address)]
        if not isinstance(address, str):
            places += [('0.0.0.0', address[1]), ('::', address[1])]
        for place in places:
            sock = self.bound.get(place)
            if sock is not None and sock.state == 'listening':
                return sock
        return None


class Socket:
    """One end of a connection, or a listener. `state`: new, connecting, connected, listening."""

    def __init__(self, network: Network, family: int) -> None:
        self.network = network
        self.world = network.world
        self.family = family
        self.is_unix = family == real.AF_UNIX
        self.fd = -1
        self.state = 'new'
        self.stalled = False
        self.name: Any = '' if self.is_unix else ('0.0.0.0', 0)
        self.peer: Socket | None = None
        self._options: dict[tuple[int, int], Any] = {}
        # Bytes that have arrived, and how many are on their way.
        self._unread = bytearray()
        self._coming = 0
        self._sent = 0    # Bytes that were sent since the beginning.
        self._heard = 0.0    # When the last bytes were sent: a peer that is there acknowledges.
        # The end of what comes, the end of what goes, and the error not told yet.
        self._got_fin = False
        self._sent_fin = False
        self._error = 0
        # When the last thing that was sent arrives: nothing overtakes it.
        self._last_arrival = 0.0
        # Connections that wait to be accepted.
        self._backlog = 0
        self._waiting: deque[Socket] = deque()

    # -- what a program does with a socket --------------------------------------------------------

    def fileno(self) -> int:
        return self.fd

    def setblocking(self, flag: bool) -> None:
        """Do nothing: no socket of this world can wait."""

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        if (level, option) == (real.IPPROTO_TCP, real.TCP_INFO):
            self._check_open()
            if self.is_unix:
                raise os_error(errno.EOPNOTSUPP)
            unread = self.peer.unread() if self.peer is not None else 0
            silence = self.world.now - self._heard if self.peer in self.network.vanished else 0
            rtt = max(1, round(2_000_000 * self.world.latency))
            # Of `struct tcp_info`: the last acknowledgement, the round trip, what is acknowledged.
            info = struct.pack('=56xI8xI48xQ', int(silence * 1000), rtt, self._sent - unread)
            return info[:size if self.network.tells_acknowledged else 100]
        if (level, option) == (real.SOL_SOCKET, real.SO_ERROR):
            code, self._error = self._error, 0
            return code
        return self._options.get((level, option), 0)

    def getsockname(self) -> Any:
        self._check_open()
        return self.name

    def getpeername(self) -> Any:
        self._check_open()
        if self.state != 'connected' or self.peer is None:
            raise os_error(errno.ENOTCONN)
        return self.peer.name

    def bind(self, address: Any) -> None:
        if not self.is_unix and address[1] == 0:
            address = (address[0], self.network.free_port(), *address[2:])
        if _place(address) in self.network.bound:
            raise os_error(errno.EADDRINUSE)
        self.name = address
        self.network.bound[_place(address)] = self

    def listen(self, backlog: int = 128) -> None:
        self.state = 'listening'
        self._backlog = backlog

    def accept(self) -> tuple[Socket, Any]:
        self._check_open()
        if not self._waiting or self.stalled:
            raise os_error(errno.EAGAIN)
        sock = self.network.opened(self._waiting[0])
        self._waiting.popleft()
        return sock, sock.peer.name if sock.peer is not None else ''

    def connect_ex(self, address: Any) -> int:
        if self.is_unix:
            listener = self.network.listener(address)
            if listener is None:
                return errno.ECONNREFUSED
            return 0 if listener.take(self, address) else errno.EAGAIN
        self.state = 'connecting'
        self.name = ('127.0.0.1' if self.family == real.AF_INET else '::1',
                     self.network.free_port(), *address[2:])
        self._send(self._knock, address)
        return errno.EINPROGRESS

    def send(self, data: Any, flags: int = 0) -> int:
        return self.sendmsg([data])

    def sendmsg(self, buffers: Any) -> int:
        self._check_open()
        self._raise_error()
        if self._sent_fin or self.state != 'connected' or self.peer is None:
            raise os_error(errno.EPIPE)
        size, room = sum(map(len, buffers)), self._room()
        if size and room <= 0:
            raise os_error(errno.EAGAIN)
        data = _first(buffers, self.world.piece(min(size, room)))
        self._sent += len(data)
        if self.peer not in self.network.vanished:
            self._heard = self.world.now
        self.peer.expect(len(data))
        self._send(self.peer.data_arrived, data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._check_open()
        if self.stalled:
            raise os_error(errno.EAGAIN)
        if self._unread:
            data = bytes(self._unread[:self.world.piece(min(size, len(self._unread)))])
            if not flags & _PEEK:
                del self._unread[:len(data)]
            return data
        self._raise_error()
        if self._got_fin:
            return b''
        raise os_error(errno.EAGAIN if self.state == 'connected' else errno.ENOTCONN)

    def shutdown(self, how: int) -> None:
        self._check_open()
        if self.state != 'connected' or self.peer is None:
            raise os_error(errno.ENOTCONN)
        if how != real.SHUT_RD and not self._sent_fin:
            self._sent_fin = True
            self._send(self.peer.fin_arrived, False)
        if how != real.SHUT_WR:
            self._got_fin = True

    def close(self) -> None:
        if self.fd >= 0:
            self.network.closed(self)
            self.fd = -1
            self._leave()

    def _check_open(self) -> None:
        if self.fd < 0:
            raise os_error(errno.EBADF)

    def _leave(self) -> None:
        """Let the other end know; of a listener, all who wait."""
        linger = self._options.get((real.SOL_SOCKET, real.SO_LINGER))
        abrupt = self._unread or (linger == _NO_LINGER and not self.is_unix)
        self.state = 'closed'
        for sock in self._waiting:
            sock.refuse()
        if self.peer is not None:
            if abrupt:
                self._send(self.peer.reset_arrived)
            elif self.is_unix or not self._sent_fin:
                self._send(self.peer.fin_arrived, self.is_unix)
        self._unread.clear()

    # -- what the network does ------------------------------------------------------------------

    def ready(self) -> int:
        """Return the events of this moment, as epoll would."""
        if self.state == 'listening':
            return READ if self._waiting and not self.stalled else 0
        if self.state == 'connecting':
            return 0
        mask = ERROR if self._error else 0
        if self.state == 'new':
            return mask | WRITE | HANGUP
        if (self._unread or self._got_fin or self._error) and not self.stalled:
            mask |= READ
        if self._sent_fin or self._error or self._room() > self.network.least_room:
            mask |= WRITE
        if self._got_fin and self._sent_fin:
            mask |= HANGUP
        return mask

    def join(self, peer: Socket) -> None:
        self.peer = peer
        self.state = 'connected'

    def expect(self, size: int) -> None:
        self._coming += size

    def unread(self) -> int:
        """Return how many bytes sent to it were not read yet."""
        return len(self._unread) + self._coming

    def data_arrived(self, data: bytes) -> None:
        self._coming -= len(data)
        if self.state == 'closed' and self.peer is not None:
            self._send(self.peer.reset_arrived)
        elif self.peer is not None:
            self._unread += data

    def fin_arrived(self, closed: bool) -> None:
        self._got_fin = True
        # A UNIX socket learns at once that nobody will read what it sends.
        self._sent_fin |= closed

    def reset_arrived(self) -> None:
        if self.state != 'closed' and self.peer is not None:
            self._error = errno.EPIPE if self._got_fin else errno.ECONNRESET
            self._got_fin = self._sent_fin = True
            self.state = 'connected'
            self.peer = None

    def refuse(self) -> None:
        """End before anybody accepted it."""
        self.state = 'closed'
        if self.peer is not None:
            self._send(self.peer.reset_arrived)

    def _room(self) -> int:
        peer = self.peer
        if peer is None:
            return self.world.buffer_size
        return self.world.buffer_size - len(peer._unread) - peer._coming

    def _raise_error(self) -> None:
        if self._error:
            raise os_error(self.getsockopt(real.SOL_SOCKET, real.SO_ERROR))

    def _send(self, arrived: Callable[..., Any], *args: Any) -> None:
        """Let something happen at the other end, after the latency and in order."""
        world = self.world
        when = world.now + world.latency + world.jitter * world.random.random()
        self._last_arrival = when = max(when, self._last_arrival)
        if self.is_unix or when <= world.now:
            arrived(*args)
        else:
            world.later(when, partial(arrived, *args))

    def _knock(self, address: Any) -> None:
        """Arrive at `address` and ask to be connected."""
        if self.state != 'connecting' or address[0] in self.network.silent:
            return
        listener = self.network.listener(address)
        if listener is None:
            self._send(self.answered, errno.ECONNREFUSED)
        elif not listener.take(self, address):
            # The queue is full: as TCP does, ask again.
            self.world.later(self.world.now + 1, partial(self._knock, address))

    def take(self, client: Socket, address: Any) -> bool:
        """Let a client stand in this listener's queue, unless it is full."""
        if len(self._waiting) > self._backlog:
            return False
        server = Socket(self.network, self.family)
        server.name = address
        server.join(client)
        client.peer = server
        self._waiting.append(server)
        server.answer(client)
        return True

    def answer(self, client: Socket) -> None:
        self._send(client.answered, 0)

    def answered(self, code: int) -> None:
        """Learn how the own `connect_ex` ended."""
        if self.state != 'closed':
            self.state = 'new' if code else 'connected'
            self._error = code


def _place(address: Any) -> Any:
    """Give what names a place to listen at: a path, or host and port."""
    return address if isinstance(address, str) else address[:2]


def _first(buffers: Any, size: int) -> bytes:
    """Copy so many bytes, and not the megabytes behind them."""
    parts = []
    for each in buffers:
        parts.append(memoryview(each)[:size])
        size -= len(parts[-1])
        if not size:
            break
    return b''.join(parts)


def os_error(code: int) -> OSError:
    """Make the error that the system would give."""
    return OSError(code, os.strerror(code))

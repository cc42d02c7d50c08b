"""Channel: what supervisor and worker tell each other: one byte each, some with sockets.

    worker to supervisor    READY         connections are accepted
                            BEAT          the loop turns
                            RENEW         let another take this place
                            CONNECTION    an open connection, for whoever comes after this worker
    supervisor to worker    LISTENER      accept on this one too
                            HAND_OVER     give your connections away, and end
                            CONNECTION    an open connection: go on with it

The line ends with the process at the other end.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import sys
from collections import deque
from typing import Callable

from ..loop import Reactor

READY, BEAT, RENEW, CONNECTION, LISTENER, HAND_OVER = b'r', b'b', b'n', b'c', b'l', b'h'

_FD = array.array('i').itemsize
_BREATH = 0.02    # Seconds until what there was no room for is sent again.


def socket_of(fd: int) -> socket.socket:
    """Return the socket of a descriptor that other processes have too, and that does not block.

    (On PyPy by the default of its making: otherwise it blocks there for a moment, and whoever
    accepts on it just then sleeps. Elsewhere that default, which is all threads', is left alone.)
    """
    os.set_inheritable(fd, False)
    if sys.implementation.name != 'pypy':
        return socket.socket(fileno=fd)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0)
    try:
        return socket.socket(fileno=fd)
    finally:
        socket.setdefaulttimeout(before)


def copy_of(sock: socket.socket) -> socket.socket:
    """Return another descriptor of the same socket."""
    return socket_of(os.dup(sock.fileno()))


class Channel:
    """One end, on a reactor: `heard(kind, sock)` is called for each message, at last `ended()`."""

    def __init__(
        self, reactor: Reactor, sock: socket.socket,
        heard: Callable[[bytes, socket.socket | None], None], ended: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._heard = heard
        self._ended = ended
        # What did not go at once.
        self._left: deque[tuple[bytes, socket.socket | None]] = deque()
        self.closed = False
        sock.setblocking(False)
        reactor.add_reader(sock.fileno(), self._readable)

    def send(self, kind: bytes, sock: socket.socket | None = None) -> None:
        """Send a message; the socket's own copy is closed when it has gone."""
        if self.closed:
            if sock is not None:
                sock.close()
            return
        self._left.append((kind, sock))
        self._flush()

    @property
    def idle(self) -> bool:
        """Whether all has been sent."""
        return not self._left

    def close(self) -> None:
        """End it; what was not sent is closed."""
        if not self.closed:
            self.closed = True
            self._reactor.remove_fd(self._socket.fileno())
            self._socket.close()
            while self._left:
                _, sock = self._left.popleft()
                if sock is not None:
                    sock.close()

    def _flush(self) -> None:
        while self._left and not self.closed:
            kind, sock = self._left[0]
            fds = array.array('i', [] if sock is None else [sock.fileno()])
            try:
                self._socket.sendmsg(
                    [kind], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            except (BlockingIOError, InterruptedError):
                self._reactor.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    # As many are on their way as a user may have.
                    self._reactor.remove_writer(self._socket.fileno())
                    self._reactor.call_later(_BREATH, self._flush)
                    return
                # Nobody is there any more; the reader will know.
            self._left.popleft()
            if sock is not None:
                sock.close()
        if not self.closed:
            self._reactor.remove_writer(self._socket.fileno())

    def finish(self) -> None:
        """Hear what a process that is gone has said last, and close."""
        while self._readable():
            pass
        self.close()

    def _readable(self) -> bool:
        """Take one message; False if there is none now, or never more."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(_FD))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data, ancillary = b'', []
        received = None
        for level, kind, fds in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(fds) >= _FD:
                received = socket_of(array.array('i', fds[:_FD])[0])
        if data:
            self._heard(data, received)
        else:
            self._reactor.remove_reader(self._socket.fileno())
            self._ended()
        return bool(data)

"""Channel: the messages between the supervisor and one worker, over a pair of UNIX sockets.

A message is one byte; some carry a socket, as a descriptor (SCM_RIGHTS):

    worker to supervisor    READY         this worker accepts connections
                            BEAT          its loop turns
                            RENEW         fork a worker that replaces this one
                            LEAVING       this worker drains by itself: the same, at once
                            CONNECTION    an open connection for the next worker
                            LISTENER      this worker listens there, too: announce it
                            SECURE        likewise, with TLS
    supervisor to worker    LISTENER      accept from this listening socket, too
                            RETURN        accept no more from the sockets that LISTENER brought
                            HAND_OVER     give the connections away, and end
                            CONNECTION    an open connection: serve it from now on

A channel ends when the process at its other end does, however that happens.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import sys
from collections import deque

from ..loop import Reactor
from ..typed import Callable

READY, BEAT, RENEW, LEAVING, CONNECTION = b'r', b'b', b'n', b'd', b'c'
LISTENER, SECURE, RETURN, HAND_OVER = b'l', b's', b't', b'h'

_FD = array.array('i').itemsize
_BREATH = 0.02    # Seconds until a message is sent again that the kernel had no room for.


def socket_of(fd: int) -> socket.socket:
    """Return a socket object for a descriptor; the descriptor does not block, before and after.

    Other processes use the same socket, and they share the flag O_NONBLOCK: a worker that called
    `accept` in a moment without the flag would sleep. CPython leaves the flag alone here. PyPy sets
    it by the default timeout, so that default is 0 for a moment there; elsewhere it is not touched,
    because it is the default of all threads.
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
    """One end of a channel, on a reactor.

    `heard(kind, sock)` is called for each message, and `ended()` after the last one.
    """

    def __init__(
        self, reactor: Reactor, sock: socket.socket,
        heard: Callable[[bytes, socket.socket | None], None], ended: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._heard = heard
        self._ended = ended
        # Messages that the kernel has not taken yet.
        self._left: deque[tuple[bytes, socket.socket | None]] = deque()
        self.closed = False
        sock.setblocking(False)
        reactor.add_reader(sock.fileno(), self._readable)

    def send(self, kind: bytes, sock: socket.socket | None = None) -> None:
        """Send a message, now or later; the channel closes `sock` when the message has left."""
        if self.closed:
            if sock is not None:
                sock.close()
            return
        self._left.append((kind, sock))
        self._flush()

    @property
    def idle(self) -> bool:
        """Whether the kernel has taken all messages."""
        return not self._left

    def close(self) -> None:
        """Close this end, and the sockets of messages that were not sent."""
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
                    # The limit of a user's descriptors that are sent and not received yet is
                    # reached: unix(7). The poller does not tell when there is room again.
                    self._reactor.remove_writer(self._socket.fileno())
                    self._reactor.call_later(_BREATH, self._flush)
                    return
                # The other process is gone. `_readable` notices that, too, and calls `ended`.
            self._left.popleft()
            if sock is not None:
                sock.close()
        if not self.closed:
            self._reactor.remove_writer(self._socket.fileno())

    def finish(self) -> None:
        """Take the last messages of a process that has ended, and close."""
        while self._readable():
            pass
        self.close()

    def _readable(self) -> bool:
        """Take one message; return False if there is none now, or none will come."""
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

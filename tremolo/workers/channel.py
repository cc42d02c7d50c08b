"""Channel: the messages between the supervisor and one worker, over a pair of UNIX sockets.

A message is one byte; some carry a socket, as a descriptor (SCM_RIGHTS). After the byte of NAMED
come two with a length, and so many bytes:

    worker to supervisor    READY         this worker accepts connections
                            BEAT          its loop turns
                            RENEW         fork a worker that replaces this one
                            LEAVING       this worker drains by itself: the same, at once
                            CONNECTION    an open connection for the next worker
                            NAMED         the same, with the addresses that a proxy gave it
                            TAKES_NAMED   this worker knows what NAMED means
                            LISTENER      this worker listens there, too: announce it
                            SECURE        this worker speaks TLS there: announce it so
                            TAKES_OVER    this worker knows what TAKE_OVER means
                            HAND_OVER     the line of HAND_OVER has ended: another one, please
    supervisor to worker    LISTENER      accept from this listening socket, too
                            RETURN        accept no more from the sockets that LISTENER brought
                            HAND_OVER     give the connections away on this line, and end
                            TAKE_OVER     take the connections that come on this line
                            STOP          end as after SIGTERM, but at once (`drain_delay` is over)
                            CONNECTION    an open connection: serve it from now on
                            NAMED         the same, with its addresses
                            TAKES_NAMED   so does the worker that HAND_OVER will send to
                            CONTROL       tell on this socket what goes on (room control)
    worker to its heir      CONNECTION    an open connection: take it, or refuse it
                            NAMED         the same, with its addresses
    heir to that worker     ROOM          one connection may be sent
                            TAKEN         the oldest that was sent is mine; another may be sent
                            REFUSED       it is not: it stays where it is; no other may be sent
                            FULL          no other may be sent

The last six are on a line of their own, a pair of sockets that the supervisor gives to both
(handover.py). CONNECTION and NAMED of a worker to the supervisor come from older programs.

The programs at both ends may be of different versions. One that does not know a message of a single
byte ignores it, so NAMED is sent only to those that have told that they take it.

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
NAMED, TAKES_NAMED, STOP, CONTROL = b'a', b'k', b'o', b'q'
TAKES_OVER, TAKE_OVER, ROOM, TAKEN, REFUSED, FULL = b'v', b'w', b'm', b'y', b'x', b'f'
_WITH_SOCKETS = (CONNECTION, NAMED, LISTENER, SECURE, CONTROL, HAND_OVER, TAKE_OVER)

# The bytes that NAMED carries at most: two addresses need 100; the path of a UNIX socket has 108.
MOST_CARRIED = 1024

_FD = array.array('i').itemsize
_AT_ONCE = 32    # Messages that are read in one turn.
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


def _message(kind: bytes, carried: bytes) -> bytes:
    return kind if kind != NAMED else kind + len(carried).to_bytes(2, 'big') + carried


def _received(ancillary: list[tuple[int, int, bytes]]) -> socket.socket | None:
    """Return the socket that came with a message; None if none did.

    A message has one at most, and nothing else. What else comes is closed: the process at the other
    end may be confused, and this one has to go on.
    """
    fds = array.array('i')
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[:len(data) - len(data) % _FD])
    received = None
    for fd in fds:
        try:
            if received is None:
                received = socket_of(fd)
                continue
        except OSError:
            pass
        os.close(fd)
    return received


class Channel:
    """One end of a channel, on a reactor.

    `heard(kind, sock)` is called for each message, with the bytes of NAMED as a third argument, and
    `ended()` after the last one.
    """

    def __init__(
        self, reactor: Reactor, sock: socket.socket,
        heard: Callable[..., None], ended: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._heard = heard
        self._ended = ended
        # Messages that the kernel has not taken yet.
        self._left: deque[tuple[bytes, socket.socket | None]] = deque()
        # A NAMED that has not come whole yet: its bytes so far, its socket, and what it lacks.
        self._carried: bytearray | None = None
        self._carried_by: socket.socket | None = None
        self._lacks = 1
        self.closed = False
        sock.setblocking(False)
        reactor.add_reader(sock.fileno(), self._read_some)

    def send(self, kind: bytes, sock: socket.socket | None = None, carried: bytes = b'') -> None:
        """Send a message, now or later; the channel closes `sock` when the message has left.

        Only NAMED carries bytes, at most `MOST_CARRIED`.
        """
        if self.closed:
            if sock is not None:
                sock.close()
            return
        self._left.append((_message(kind, carried), sock))
        self._flush()

    def offer(self, kind: bytes, fd: int, carried: bytes = b'') -> bool:
        """Send a message with a descriptor that stays open here; now, or not at all.

        Return whether it was sent. No other descriptor is needed, so it works at the limit, too.
        """
        if self.closed or self._left:
            return False
        message = _message(kind, carried)
        try:
            sent = self._socket.sendmsg(
                [message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))])
        except OSError:    # Full, or the other process is gone: `_readable` notices that.
            return False
        if sent < len(message):
            self._left.append((message[sent:], None))
            self._flush()
        return True

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
            self._drop_carried()

    def _flush(self) -> None:
        while self._left and not self.closed:
            message, sock = self._left[0]
            sent = len(message)
            fds = array.array('i', [] if sock is None else [sock.fileno()])
            try:
                sent = self._socket.sendmsg(
                    [message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
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
            if sent < len(message):    # (The socket has gone with the first byte.)
                self._left.appendleft((message[sent:], None))
        if not self.closed:
            self._reactor.remove_writer(self._socket.fileno())

    def _read_some(self) -> None:
        for _ in range(_AT_ONCE):
            if self.closed or not self._readable():
                break

    def finish(self) -> None:
        """Take the last messages of a process that has ended, and close."""
        while not self.closed and self._readable():
            pass
        self.close()

    def _readable(self) -> bool:
        """Take a message, or a part of one; return False if there is none now, or none will come.

        (Each first byte alone: what is read together has one descriptor at most.)
        """
        try:
            data, ancillary, _, _ = self._socket.recvmsg(self._lacks, socket.CMSG_SPACE(_FD))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data, ancillary = b'', []
        received = _received(ancillary)
        if received is not None and (self._carried is not None or data not in _WITH_SOCKETS):
            received.close()    # (Nobody here waits for it.)
            received = None
        if not data:
            self._drop_carried()
            self._reactor.remove_reader(self._socket.fileno())
            self._ended()
        elif self._carried is not None:
            self._carry(data)
        elif data == NAMED:
            self._carried, self._carried_by, self._lacks = bytearray(), received, 2
        else:
            self._heard(data, received)
        return bool(data)

    def _carry(self, data: bytes) -> None:
        """Take bytes of a NAMED; act on it when it is whole."""
        carried = self._carried = (self._carried or bytearray()) + data
        length = int.from_bytes(carried[:2], 'big')
        self._lacks = 2 - len(carried) if len(carried) < 2 else 2 + length - len(carried)
        if not self._lacks:
            sock = self._carried_by
            self._carried, self._carried_by, self._lacks = None, None, 1
            self._heard(NAMED, sock, bytes(carried[2:]))

    def _drop_carried(self) -> None:
        """Close the socket of a message that will not become whole."""
        if self._carried_by is not None:
            self._carried_by.close()
            self._carried_by = None

"""Slot: what one worker is given by the supervisor: its listening sockets, and a line to talk on.

Each slot has a socket of its own for each TCP address (SO_REUSEPORT: the kernel spreads connections
evenly), opened by the supervisor and inherited by the successive workers of the slot. So the queue
of connections that wait is never closed while one worker follows another. A UNIX socket is shared,
and with `shared_socket` all are.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NoReturn

from ..loop import Listener, ListenError, Reactor, bind, bind_unix
from ..loop.listener import open_socket
from ..server import Server
from ..settings import Address, parse_bind
from .channel import CONNECTION, HAND_OVER, READY, RENEW, Channel, copy_of, socket_of
from .handover import Handover
from .heartbeat import Heartbeat
from .renewal import Renewal

# What a process leaves to the program that it starts afresh: numbers, of itself and descriptors.
_VARIABLE = 'TREMOLO_INHERITED'
_NOT_MINE = ('SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR2')


# Addresses as they were asked for, and what is open for each.
Sockets = list[tuple[Address, list[socket.socket]]]


class Slot:
    """The place of a worker; it outlives those who fill it.

    `locks` is the file of `server['lock']`.
    """

    def __init__(self, sockets: Sockets, locks: int | None = None,
                 line: socket.socket | None = None) -> None:
        self.sockets = sockets
        self.left = list(sockets)    # What is not in use by this process.
        self.locks = locks
        # In the worker alone: its end of the line to the supervisor, and its server. A process
        # without a supervisor has a slot, but no line, when it was started afresh.
        self.channel_end = line
        self._channel: Channel | None = None
        self._server: Server

    def __iter__(self) -> Iterator[socket.socket]:
        return itertools.chain(*(sockets for _, sockets in self.sockets))

    def close(self) -> None:
        """Close the sockets: nobody listens here any more."""
        for sock in self:
            sock.close()

    def discard(self) -> None:
        """Close the sockets for good, with the files of UNIX sockets: once."""
        for address, _ in self.sockets:
            if address.path is not None:
                with contextlib.suppress(OSError):
                    os.unlink(address.path)
        self.close()
        # Whoever listens there by the end of this process is somebody else.
        self.sockets = []

    # -- from program to program ----------------------------------------------------------------

    def start_afresh(self, program: list[str]) -> NoReturn:
        """Become a program (folder, command) that `inherited` finds this in. Raises `OSError`."""
        line = None if self.channel_end is None else self.channel_end.fileno()
        sockets = [(str(address), [sock.fileno() for sock in each])
                   for address, each in self.sockets]
        for fd in (line, self.locks, *(sock.fileno() for sock in self)):
            if fd is not None:
                os.set_inheritable(fd, True)
        # What would kill it before it is there.
        for name in _NOT_MINE:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        folder, *command = program
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.environ[_VARIABLE] = json.dumps([os.getpid(), line, self.locks, sockets])
        os.execv(command[0], command)

    @classmethod
    def inherited(cls) -> Slot | None:
        """Return what `start_afresh` left to this very process, once."""
        pid, line, locks, sockets = json.loads(os.environ.pop(_VARIABLE, '[0, 0, 0, []]'))
        if pid != os.getpid():
            return None
        slot = cls([(parse_bind(address), [socket_of(fd) for fd in fds])
                    for address, fds in sockets], locks,
                   None if line is None else socket_of(line))
        if locks is not None:
            os.set_inheritable(locks, False)
        if line is not None:
            leave_to_supervisor()
        return slot

    # -- the worker's side ----------------------------------------------------------------------

    def open(self, part: Server, address: Address) -> list[Listener]:
        """Listen on the sockets of an address; on new ones if the supervisor did not know it.

        Raises `ListenError`.
        """
        for each in self.left:
            if each[0] == address:
                self.left.remove(each)
                return [part.adopt(sock, shared=self.channel_end is not None) for sock in each[1]]
        if self.channel_end is None:
            return part.listen(address)
        if address.path is not None:
            raise ListenError(f'cannot listen on {address}: with workers, name it with --bind, or '
                              'say --preload')
        sockets = bind(
            part.reactor, address.host or '', address.port, part.settings.backlog, shared=True)
        return [part.adopt(sock) for sock in sockets]

    def ready(self, server: Server) -> None:
        """Tell the supervisor that connections are accepted; drain when it is gone."""
        if self.channel_end is not None:
            self._server = server
            self._channel = Channel(server.reactor, self.channel_end, self._heard, server.drain)
            self._channel.send(READY)
            # Whoever told it to end: its queue needs somebody else now.
            server.at_drain = partial(self._channel.send, RENEW)
            Heartbeat(server.reactor, self._channel, Renewal(server, self._channel),
                      server.settings.worker_timeout)

    def _heard(self, kind: bytes, sock: socket.socket | None) -> None:
        """Take what another worker left, or leave all to another."""
        server = self._server
        if kind == HAND_OVER and self._channel is not None:
            Handover(server, self._channel).start()
        elif sock is not None:
            if kind == CONNECTION:
                server.part_at(sock.getsockname()).take(sock)
            elif server.draining:
                sock.close()
            else:
                server.part_at(sock.getsockname()).adopt(sock, shared=True).start()


def leave_to_supervisor() -> None:
    """Let signals that are the supervisor's affair do nothing here.

    (With a handler, for what is ignored stays so in the programs that this one starts.)
    """
    for name in _NOT_MINE:
        signal.signal(getattr(signal, name), lambda *_: None)


def open_first(addresses: Iterable[Address], backlog: int, shared: bool) -> Sockets:
    """Open the sockets of a first slot. Raises `ListenError`: for a port that is taken, too."""
    opened: Sockets = []
    with Reactor() as reactor:
        try:
            for address in addresses:
                if address.path is not None:
                    opened.append((address, [bind_unix(reactor, address.path, backlog)]))
                    continue
                # To share a port succeeds beside anybody who shares it: this does not, and tells.
                sockets = bind(reactor, address.host or '', address.port, backlog)
                if not shared:
                    Slot([(address, sockets)]).close()
                    sockets = bind(reactor, address.host or '', address.port, backlog, True)
                opened.append((address, sockets))
        except ListenError:
            Slot(opened).discard()
            raise
    return opened


def open_next(first: Sockets, backlog: int, shared: bool) -> Sockets:
    """Open the sockets of one more slot: the same addresses as those. Raises `OSError`."""
    with Reactor() as reactor:
        return [(address, [
            copy_of(like) if shared or like.family == socket.AF_UNIX
            else open_socket(reactor, like.family, 0, like.getsockname(), backlog, shared=True)
            for like in sockets]) for address, sockets in first]

"""Slot: what one worker is given by the supervisor: its listening sockets, and a line to talk on.

Each slot has a socket of its own for each TCP address (SO_REUSEPORT: the kernel spreads connections
evenly), opened by the supervisor and inherited by the successive workers of the slot. So the queue
of connections that wait is never closed while one worker follows another. A UNIX socket is shared.
"""

from __future__ import annotations

import socket
from typing import Any

from ..loop import Listener, ListenError, Reactor, bind, bind_unix
from ..server import Server
from ..settings import Address
from .handover import Handover
from .line import CONNECTION, HAND_OVER, READY, Line
from .pulse import Pulse


class _SharedPorts:
    """The real network, but what listens shares its port with its likes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, *how: Any) -> socket.socket:
        made = socket.socket(*how)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return made


class InheritedListener(Listener):
    """A listener whose socket belongs to the supervisor, as does the file of a UNIX one."""

    def close(self) -> None:
        """Stop listening here; the supervisor's own copy goes on."""
        if not self.closed:
            self.pause()
            self.closed = True
            self._socket.close()


class Slot:
    """The place of a worker; it outlives those who fill it."""

    def __init__(self, sockets: list[socket.socket], addresses: tuple[Address, ...]) -> None:
        self.sockets = sockets
        self._addresses = addresses
        # In the worker alone: its end of the line to the supervisor, and its server.
        self._given: socket.socket | None = None
        self._line: Line | None = None
        self._server: Server

    # -- the supervisor's side ------------------------------------------------------------------

    def close(self) -> None:
        """Close the sockets: nobody listens here any more."""
        for sock in self.sockets:
            sock.close()

    # -- the worker's side ----------------------------------------------------------------------

    def take(self, line: socket.socket) -> None:
        """Be the worker: it has its line now."""
        self._given = line

    def attach(self, server: Server, addresses: tuple[Address, ...]) -> None:
        """Serve on the slot's sockets, and drain when the supervisor is gone.

        Of `addresses` those that it did not open, because it did not know the application, are
        opened here. Raises `ListenError`.
        """
        for sock in self.sockets:
            _adopt(server, sock)
        with Reactor(network=_SharedPorts()) as sharing:
            for address in addresses:
                if address not in self._addresses:
                    backlog = server.settings.backlog
                    for sock in bind(sharing, address.host or '', address.port, backlog):
                        server.adopt(sock)
        if self._given is not None:
            self._server = server
            self._line = Line(server.reactor, self._given, self._heard, server.drain)

    def ready(self) -> None:
        """Tell the supervisor that connections are accepted."""
        if self._line is not None:
            self._line.send(READY)
            Pulse(self._server, self._line)

    def _heard(self, kind: bytes, sock: socket.socket | None) -> None:
        """Take what another worker left, or leave all to another."""
        server = self._server
        if kind == HAND_OVER and self._line is not None:
            Handover(server, self._line).start()
        elif sock is not None:
            if kind == CONNECTION:
                server.take(sock)
            elif server.draining:
                sock.close()
            else:
                _adopt(server, sock).start()


def _adopt(server: Server, sock: socket.socket) -> Listener:
    sock.setblocking(False)
    return server.adopt(sock, InheritedListener)


def open_first(addresses: tuple[Address, ...], backlog: int) -> list[socket.socket]:
    """Open the sockets of a first slot. Raises `ListenError`: for a port that is taken, too."""
    opened: list[socket.socket] = []
    with Reactor() as plain, Reactor(network=_SharedPorts()) as sharing:
        try:
            for address in addresses:
                if address.path is not None:
                    opened.append(bind_unix(plain, address.path, backlog))
                    continue
                # To share a port succeeds beside anybody who shares it: this does not, and tells.
                for sock in bind(plain, address.host or '', address.port, backlog):
                    sock.close()
                opened += bind(sharing, address.host or '', address.port, backlog)
        except ListenError:
            for sock in opened:
                sock.close()
            raise
    return opened


def open_next(sockets: list[socket.socket], backlog: int) -> list[socket.socket]:
    """Open the sockets of one more slot: the same addresses as those. Raises `OSError`."""
    opened: list[socket.socket] = []
    for like in sockets:
        if like.family == socket.AF_UNIX:
            opened.append(like.dup())
            continue
        sock = _SharedPorts().socket(like.family, socket.SOCK_STREAM)
        opened.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if like.family == socket.AF_INET6:
            both = like.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, both)
        sock.bind(like.getsockname())
        sock.listen(backlog)
        sock.setblocking(False)
    return opened

"""Slot: what the supervisor gives to one worker: listening sockets, and an end of a channel.

Each slot has its own socket for each TCP address (SO_REUSEPORT: the kernel spreads the connections
evenly). The supervisor opens the sockets, and the workers of the slot inherit them one after the
other. So a queue of connections that wait to be accepted stays open while one worker replaces
another. All slots share the socket of a UNIX address, and with `shared_socket` all sockets.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from functools import partial

from ..loop import Listener, ListenError, Reactor, bind, bind_unix
from ..loop.listener import file_of, open_socket, remove_file
from ..server import Server
from ..settings import Address, parse_bind
from ..typed import NoReturn
from .channel import (
    CONNECTION,
    CONTROL,
    HAND_OVER,
    LEAVING,
    LISTENER,
    NAMED,
    READY,
    RETURN,
    SECURE,
    STOP,
    TAKE_OVER,
    TAKES_NAMED,
    TAKES_OVER,
    Channel,
    copy_of,
    socket_of,
)
from .handover import Handover
from .heartbeat import Heartbeat
from .renewal import Renewal
from .takeover import Takeover, take

_log = logging.getLogger('tremolo')

# The variable by which a process tells the program that it becomes: its process id, and the
# descriptors of a slot.
_VARIABLE = 'TREMOLO_INHERITED'
# Signals for the supervisor. In a worker they do nothing; for SIGUSR2 it sets a handler later, that
# of its report.
_NOT_MINE = ('SIGHUP', 'SIGTTIN', 'SIGTTOU', 'SIGUSR2')


# Addresses as they were asked for, and the open sockets of each.
Sockets = list[tuple[Address, list[socket.socket]]]


class Slot:
    """The sockets of one worker at a time; a slot outlives its workers.

    `locks` is the descriptor of the file of `server['lock']`, `kept` has further ones by the name
    that a room above gives them: they go from program to program, and all slots share them.
    """

    def __init__(self, sockets: Sockets, locks: int | None = None,
                 channel_end: socket.socket | None = None, number: int = 1,
                 kept: dict[str, list[int]] | None = None) -> None:
        self.sockets = sockets
        self.number = number
        self.kept = {} if kept is None else kept
        self._files = [(address.path, file_of(address.path)) for address, _ in sockets]
        self.left = list(sockets)    # What no server of this process listens on yet.
        # Whether `start_afresh` has left it: then this is no first start.
        self.renewed = False
        self.locks = locks
        # Only in a worker: its end of the channel to the supervisor, and its server. One process
        # without a supervisor has a slot after SIGHUP, but no channel.
        self.channel_end = channel_end
        self._channel: Channel | None = None
        self._server: Server
        self._takes_named = False    # Whether the heir of our connections knows NAMED.
        self._handover: Handover | None = None    # Since this worker gives its connections away.
        self._takeovers: list[Takeover] = []    # What it takes from others.
        self._lent: list[Listener] = []    # On the sockets of other slots.
        self._opened: list[socket.socket] = []    # Copies of what only this worker listens on.

    def __iter__(self) -> Iterator[socket.socket]:
        return itertools.chain(*(sockets for _, sockets in self.sockets))

    @property
    def given(self) -> bool:
        """Whether a service manager has given sockets, in place of host and port."""
        return any(address.name is not None for address, _ in self.sockets)

    def close(self) -> None:
        """Close the sockets in this process."""
        for sock in self:
            sock.close()

    def discard(self) -> None:
        """Close the sockets and remove the files of UNIX sockets; a second call does nothing."""
        for path, file in self._files:
            remove_file(path, file)
        self.close()
        self.sockets = []
        self._files = []

    # -- from program to program ----------------------------------------------------------------

    def start_afresh(self, program: list[str]) -> NoReturn:
        """Become another program, which gets this slot from `Slot.inherited`. Raises `OSError`.

        `program` is the folder to start in, the path of the program, and its arguments.
        """
        channel = None if self.channel_end is None else self.channel_end.fileno()
        sockets = [(str(address.place), [sock.fileno() for sock in each])
                   for address, each in self.sockets]
        for fd in (channel, self.locks, *(sock.fileno() for sock in self),
                   *itertools.chain(*self.kept.values())):
            if fd is not None:
                os.set_inheritable(fd, True)
        # These would kill the program before it has set its handlers; exec keeps only SIG_IGN.
        for name in (*_NOT_MINE, 'SIGUSR1'):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        # A program that daemonises itself gets another process id: it knows its sockets by these.
        marks = _inodes(sock.fileno() for sock in self)
        folder, *command = program
        with contextlib.suppress(OSError):
            os.chdir(folder)
        os.environ[_VARIABLE] = json.dumps(
            [os.getpid(), channel, self.locks, sockets, marks, self.number, self.kept])
        os.execv(command[0], command)

    @classmethod
    def inherited(cls) -> Slot | None:
        """Return the slot that `start_afresh` left to this process; None if there is none.

        The variable is removed: programs that this process starts get nothing from it.
        """
        # (A program of an older version says less.)
        pid, channel, locks, sockets, *more = json.loads(
            os.environ.pop(_VARIABLE, '[0, 0, 0, []]'))
        if pid != os.getpid() and (channel is not None or not more or more[0] != _inodes(
                fd for _, fds in sockets for fd in fds)):
            return None
        slot = cls([(parse_bind(address), [socket_of(fd) for fd in fds])
                    for address, fds in sockets], locks,
                   None if channel is None else socket_of(channel), *more[1:3])
        slot.renewed = True
        for fd in itertools.chain([] if locks is None else [locks], *slot.kept.values()):
            os.set_inheritable(fd, False)
        if channel is not None:
            leave_to_supervisor()
        return slot

    # -- the worker's side ----------------------------------------------------------------------

    def places(self, address: Address) -> list[Address]:
        """Return what an address means here: a name may mean several sockets that are given."""
        if not address.inherited:
            return [address]    # (Two of port 0 look the same, and each has its socket.)
        return [place for place, _ in self.left if address.means(place)] or [address]

    def open(self, part: Server, address: Address) -> list[Listener]:
        """Listen on the slot's sockets of an address; open new ones for an unknown address.

        (An address is unknown to the supervisor if only the application names it.) Raises
        `ListenError`.
        """
        for each in self.left:
            # (The program that is renewed may say another mode. The file is there already.)
            if each[0].place == address.place:
                self.left.remove(each)
                shared = self.channel_end is not None or address.inherited
                return [part.adopt(sock, shared=shared) for sock in each[1]]
        if self.channel_end is None or address.inherited:
            return part.listen(address)
        if address.path is not None:
            raise ListenError(f'cannot listen on {address}: with workers, name it with --bind, or '
                              'say --preload')
        sockets = bind(
            part.reactor, address.host or '', address.port, part.settings.backlog, shared=True)
        self._opened += map(copy_of, sockets)
        return [part.adopt(sock) for sock in sockets]

    def ready(self, server: Server) -> None:
        """Tell the supervisor that connections are accepted; drain when the supervisor is gone."""
        if self.channel_end is not None:
            self._server = server
            self._channel = Channel(server.reactor, self.channel_end, self._heard, server.drain)
            while self._opened:
                self._channel.send(LISTENER, self._opened.pop(0))
            for listener, part in server.parts.items():
                if part.settings.secure:
                    self._channel.send(SECURE, listener.share())
            for kind in (TAKES_NAMED, TAKES_OVER, READY):
                self._channel.send(kind)
            # Not only the supervisor can tell a worker to end (`kill`, `app.stop`). Its queue needs
            # another worker in any case; the supervisor ignores this if it gave the order.
            before, leaving = server.at_drain, partial(self._channel.send, LEAVING)

            def at_drain() -> None:
                before()
                leaving()
                self._take_no_more()

            server.at_drain = at_drain
            renewal = Renewal(server, self._channel)
            renewal.look_at_start(self.number == 1)    # (One of all workers tells it.)
            Heartbeat(server.reactor, self._channel, renewal, server.settings.worker_timeout)

    def _heard(self, kind: bytes, sock: socket.socket | None, carried: bytes = b'') -> None:
        """Act on a message of the supervisor."""
        server = self._server
        if kind == TAKES_NAMED:
            self._takes_named = True
        elif kind == HAND_OVER and self._channel is not None:
            self._hand_over(self._channel, sock)
        elif kind == STOP and server.settings.drain_delay:
            # (SIGTERM may have come before: then this process still serves, and waits.)
            server.delayed = True
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind == RETURN:
            # (The supervisor has these sockets, too: no client in their queues is cut off.)
            for listener in self._lent:
                listener.close()
                server.parts.pop(listener, None)
            self._lent.clear()
        elif sock is not None:
            if kind == CONTROL:
                _tell(server, sock)
            elif kind in (CONNECTION, NAMED):
                take(server, sock, kind, carried)    # (Of a worker with an older program.)
            elif kind == TAKE_OVER:
                self._takeovers = [each for each in self._takeovers if not each.closed]
                self._takeovers.append(Takeover(server, sock))
            elif server.draining:
                sock.close()
            else:
                listener = server.part_at(sock.getsockname()).adopt(sock, shared=True)
                self._lent.append(listener)
                listener.start()

    def _hand_over(self, channel: Channel, sock: socket.socket | None) -> None:
        """Give the connections to the worker at the other end of `sock`; None: drain them."""
        begun, handover = self._handover, self._handover or Handover(
            self._server, again=partial(channel.send, HAND_OVER))
        self._handover = handover
        handover.takes_named, self._takes_named = self._takes_named, False
        handover.connect(sock)
        if begun is None:
            self._take_no_more()
            handover.start()

    def _take_no_more(self) -> None:
        while self._takeovers:
            self._takeovers.pop().finish()


def _tell(server: Server, sock: socket.socket) -> None:
    """Tell on a socket what goes on here."""
    try:
        if server.tell is None:    # (This program is another one, without the option `control`.)
            raise OSError
        server.tell(sock)
    except (OSError, ValueError):
        sock.close()


def _inodes(fds: Iterable[int]) -> list[int]:
    """Return by what the kernel knows the files of these descriptors; [] if one is not open."""
    try:
        return [os.fstat(fd).st_ino for fd in fds]
    except OSError:
        return []


def leave_to_supervisor() -> None:
    """Let the signals that are for the supervisor do nothing in this process.

    They get a handler that does nothing. Ignored signals (SIG_IGN) would stay ignored in the
    programs that this process starts.
    """
    for name in _NOT_MINE:
        signal.signal(getattr(signal, name), lambda *_: None)


def open_first(addresses: Iterable[Address], backlog: int, shared: bool,
               mode: int | None = None, given: Sockets | None = None) -> Sockets:
    """Open the sockets of a first slot; with `shared`, all slots will share them.

    `mode` is that of a UNIX socket's file, unless its address has one of its own. Sockets that are
    `given` are open already, and all of them belong to the slot.

    Raises `ListenError`, also if a server that shares its port (SO_REUSEPORT) has it already.
    """
    opened: Sockets = list(given or ())
    with Reactor() as reactor:
        try:
            for address in addresses:
                if address.inherited:
                    if not any(address.means(place) for place, _ in given or ()):
                        from ..systemd.sockets import inherited  # (Late: few servers need it.)
                        opened.append((address, [inherited(address)]))
                    continue
                if address.path is not None:
                    opened.append((address, [bind_unix(
                        reactor, address.path, backlog, address.mode_or(mode))]))
                    continue
                # With SO_REUSEPORT `bind` succeeds beside other servers that share the port. So the
                # port is bound without it first: that fails if the port is taken.
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
    """Open the sockets of one more slot, for the addresses of the first. Raises `OSError`."""
    with Reactor() as reactor:
        return [(address, [
            copy_of(like) if shared or address.inherited or like.family == socket.AF_UNIX
            else open_socket(reactor, like.family, 0, like.getsockname(), backlog, shared=True)
            for like in sockets]) for address, sockets in first]

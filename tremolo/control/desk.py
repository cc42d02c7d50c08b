"""Desk: the control socket of a server: who connects is told what goes on, and nothing else.

Nothing is read from a client, so there is nothing that it could ask for or break. A few are served
at a time, each for a few seconds at most; others wait in the kernel's queue.
"""

from __future__ import annotations

import os

from ..loop import Listener, ListenError, Reactor, Stream, bind_unix
from ..typed import TYPE_CHECKING, Any, Callable
from .tally import Tally
from .telling import Telling

if TYPE_CHECKING:
    from ..server import Server

_MOST = 8    # Clients at a time.
_WAITING = 16    # Those that wait in the kernel's queue.
_LONGEST = 10.0    # Seconds for each of them.
_MODE = 0o600    # Who may connect: what it tells of clients is nobody else's affair.


class Desk:
    """A UNIX socket at `path`; `answer(stream)` is called for each client, and closes the stream.

    Raises `ListenError`, also if a server answers at this path. The file of one that has died is
    replaced.
    """

    def __init__(self, reactor: Reactor, path: str, answer: Callable[[Stream], object]) -> None:
        self._reactor = reactor
        self._answer = answer
        self._process = os.getpid()
        self._clients: set[_Client] = set()
        self._listener = Listener(reactor, _open(reactor, path), self._accepted)
        self._listener.start()

    def _accepted(self, sock: Any, _: object) -> None:
        client = _Client(self, Stream(self._reactor, sock))
        self._clients.add(client)
        if len(self._clients) >= _MOST:
            self._listener.pause()
        self._answer(client.stream)

    def left(self, client: _Client) -> None:
        """Forget a client, and take the next one."""
        self._clients.discard(client)
        self._listener.start()    # (It does nothing once that is closed.)

    def close(self) -> None:
        """End it and remove the file; in a process that was forked, close what is inherited."""
        if os.getpid() != self._process:
            self._listener.shared = True
        self._listener.close()
        for client in list(self._clients):
            client.stream.abort()


class _Client:
    """The receiver of a client's stream, of which nothing is read. It has its time."""

    def __init__(self, desk: Desk, stream: Stream) -> None:
        self._desk = desk
        self.stream = stream
        self._timer = stream.reactor.call_later(_LONGEST, stream.abort)
        stream.receiver = self

    def data_received(self, data: bytes) -> None:
        """Take nothing: the stream is not read."""

    def eof_received(self) -> None:
        """Go on: a client may end its side at once."""

    def stream_closed(self, cause: BaseException | None) -> None:
        """Make room for another client."""
        self._timer.cancel()
        self._desk.left(self)


def _open(reactor: Reactor, path: str) -> Any:
    if not hasattr(reactor.network, 'AF_UNIX'):
        raise ListenError('control: this system has no UNIX sockets')
    try:
        return bind_unix(reactor, path, _WAITING, _MODE)
    except ListenError as error:
        raise ListenError(f'control: {error}') from error


def open_here(server: Server, path: str) -> None:
    """Let this process tell of itself at `path`, until its server or its reactor ends."""
    tally = Tally(server)
    desk = Desk(server.reactor, path, lambda stream: Telling(stream, server, tally))
    server.reactor.at_close.add(desk.close)
    server.stopped.add_done_callback(lambda _: desk.close())


def tell_supervisor(server: Server) -> None:
    """Let a worker tell of itself when its supervisor asks, which sends a socket for it."""
    tally = Tally(server)

    def tell(sock: Any) -> None:
        # The question is there already: the number of the worker's slot.
        sock.setblocking(False)
        asked = sock.recv(16)
        Telling(Stream(server.reactor, sock), server, tally, int(asked))

    server.tell = tell

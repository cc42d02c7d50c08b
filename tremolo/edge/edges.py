"""Edges: what the settings of one address put before its connections and around its requests."""

from __future__ import annotations

from ..typed import TYPE_CHECKING, Any, Callable
from .arrival import Arrival, Step

if TYPE_CHECKING:
    from ..server import Server
    from ..tls.handshake import Handshake


class Edges:
    """What comes before the connections of a server, or of a part of it; all that arrive share it.

    While as many arrive as `ssl_handshakes` allows, further clients of the address wait in the
    kernel's queue; other addresses go on. (Those whose PROXY header is awaited count, too.)
    """

    def __init__(self, part: Server) -> None:
        self.part = part
        self.steps: list[Step] = []
        # Begins a handshake, with what is called at its end; None: this address is not encrypted.
        self.handshake: Callable[[Any, Callable[[Handshake], object]], Handshake] | None = None
        self._count = 0

    def arrive(self, sock: Any, address: Any) -> None:
        """Take a socket that was accepted."""
        self._count += 1
        if self._count >= self.part.settings.ssl_handshakes:
            self.part.crowd(True)
        Arrival(self, sock, address)

    def left(self) -> None:
        """Record that one less is on its way."""
        self._count -= 1
        if self.part.crowded and self._count < self.part.settings.ssl_handshakes:
            self.part.crowd(False)


def set_up(part: Server) -> None:
    """Let the connections of a server, or of a part of it, arrive as its settings say.

    Called before it listens. Raises `TlsError`, if a certificate cannot be used.
    """
    settings = part.settings
    edges = Edges(part)
    if settings.proxy_protocol != 'off':
        from .proxy_step import proxy_step
        edges.steps.append(proxy_step(settings))
    if settings.secure:
        _encrypt(edges)
    if edges.steps or edges.handshake is not None:
        part.arrive = edges.arrive


def _encrypt(edges: Edges) -> None:
    from ..tls import contexts, facts  # noqa: F401 (Not later: no descriptor may be left for it.)
    from ..tls.handshake import Handshake, Pace
    reactor, settings = edges.part.reactor, edges.part.settings
    context, seconds = contexts.of(settings), settings.ssl_handshake_timeout
    pace = Pace(reactor)
    edges.handshake = lambda sock, ended: Handshake(reactor, sock, context, seconds, pace, ended)

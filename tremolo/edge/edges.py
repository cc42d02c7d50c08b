"""Edges: what the settings of one address put before its connections and around its requests."""

from __future__ import annotations

from ..typed import TYPE_CHECKING, Any
from .arrival import Arrival, Step

if TYPE_CHECKING:
    from ..server import Server


def set_up(part: Server) -> None:
    """Let the connections of a server, or of a part of it, arrive as its settings say.

    Called before it listens.
    """
    steps: list[Step] = []
    if part.settings.proxy_protocol != 'off':
        from .proxy_step import proxy_step
        steps.append(proxy_step(part.settings))
    if steps:
        def arrive(sock: Any, address: Any) -> None:
            Arrival(part, sock, steps)

        part.arrive = arrive

"""Report: what a socket is and what it waits for, in the words of the report of SIGUSR2."""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .reading import Reading

_ELSE = {'handshake': 'not accepted yet', 'closing': 'waits for the close of the client',
         'closed': 'is over'}


def describe(websocket: Reading) -> str:
    """Tell how old a socket is, and what it waits for."""
    age = websocket.reactor.time() - websocket.connection.since
    return f'WebSocket {websocket.state}, {age:.1f} s, {waits_for(websocket)}'


def waits_for(websocket: Reading) -> str:
    """Tell what a socket waits for."""
    if websocket.state == 'open':
        if websocket.taker is not None or (
                websocket.waiting is not None and not websocket.waiting.done()):
            return 'its handler waits for a message'
        if websocket.backlog is not None and websocket.backlog.messages:
            count = len(websocket.backlog.messages)
            return f'{count} message{"s wait" if count > 1 else " waits"} for its handler'
        if websocket.kept:
            return f'{websocket.kept} bytes wait for the client'
        return 'its handler is busy'
    return _ELSE[websocket.state]

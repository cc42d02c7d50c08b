"""Upgrade: a request that offers to go on with another protocol: is it a handshake of WebSocket?

    a handshake                 the scope `websocket`
    a broken one                400, or 426 for another version than 13
    anything else, or with the  the scope `http`, as any request
    option `websocket` off
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http.handshake import HandshakeError, read_handshake
from ..server import Request, Response
from ..websocket import refuse
from .exchange import Exchange, Message
from .websocket import SocketExchange

if TYPE_CHECKING:
    from .runner import Runner


def exchange_of(runner: Runner, request: Request, response: Response) -> (
        tuple[Exchange | SocketExchange, Message] | None):
    """Return the exchange of a request that offers an upgrade, and its scope; None if refused."""
    scope = runner.scope(request)
    handshake = None
    if request.connection.server.settings.websocket:
        try:
            handshake = read_handshake(request)
        except HandshakeError as error:
            request.connection.server.notices.refused(request.connection, error)
            refuse(response, error.status, error.sentence, error.fields)
            return None
    if handshake is None:
        return Exchange(runner, request, response), scope
    del scope['method']
    scope['type'] = 'websocket'
    scope['asgi'] = {'version': '3.0', 'spec_version': '2.4'}
    scope['scheme'] = 'wss' if scope['scheme'] == 'https' else 'ws'
    scope['subprotocols'] = list(handshake.subprotocols)
    scope['extensions'] = {'websocket.http.response': {}}
    return SocketExchange(runner, request, response, handshake), scope

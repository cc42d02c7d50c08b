"""Upgrade: a request that offers to go on with another protocol: is it a handshake of WebSocket?

    a handshake                 the scope `websocket`
    a broken one                400, or 426 for another version than 13
    anything else, or with the  the scope `http`, as any request
    option `websocket` off
"""

from __future__ import annotations

from ..websocket import refuse
from ..ws.handshake import HandshakeError, read_handshake
from .exchange import Exchange, Message
from .websocket import SocketExchange


def upgraded(exchange: Exchange, scope: Message) -> Exchange | SocketExchange | None:
    """Return what takes the place of the exchange of a request that offers an upgrade.

    For a handshake of WebSocket the scope is changed; a broken one is answered, and gets None.
    """
    request, response = exchange.request, exchange.response
    connection = request.connection
    if not connection.server.settings.websocket:
        return exchange
    try:
        handshake = read_handshake(request)
    except HandshakeError as error:
        connection.server.notices.refused(connection, error)
        refuse(response, error.status, error.sentence, error.fields)
        return None
    if handshake is None:
        return exchange
    del scope['method']
    scope['type'] = 'websocket'
    scope['asgi'] = {'version': '3.0', 'spec_version': '2.4'}
    scope['scheme'] = 'wss' if scope['scheme'] == 'https' else 'ws'
    scope['subprotocols'] = list(handshake.subprotocols)
    tls = scope['extensions'].get('tls')
    scope['extensions'] = {'websocket.http.response': {}, **({} if tls is None else {'tls': tls})}
    return SocketExchange(exchange.runner, request, response, handshake)

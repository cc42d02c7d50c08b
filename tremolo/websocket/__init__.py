"""websocket: sockets for native handlers and for ASGI (see README.md)."""

from __future__ import annotations

from .errors import WebSocketClosed
from .handshake import refuse
from .streams import Sink, Source
from .websocket import WebSocket

__all__ = ['Sink', 'Source', 'WebSocket', 'WebSocketClosed', 'refuse']

"""Door: the receiver of a connection's bytes while a handshake is in hand.

The connection goes on as for any request: it keeps what comes (`pipeline_size`), watches its
clocks, and cancels the handler when the client leaves. The socket only has to learn of the end.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import closing
from .handshake import refuse

if TYPE_CHECKING:
    from ..server import Request, Response
    from ..server.connection import Connection
    from .websocket import WebSocket


class Door:
    """Stands between the stream and its connection until the handshake is answered."""

    __slots__ = ('_connection', '_response', 'websocket')

    def __init__(self, websocket: WebSocket, connection: Connection, response: Response) -> None:
        self.websocket = websocket
        self._connection = connection
        self._response = response

    @property
    def request(self) -> Request:
        """The request that asks for the socket."""
        return self.websocket.request

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the connection, and leave when the handshake was refused."""
        self._leave()
        self._connection.data_received(data)

    def eof_received(self) -> None:
        """Tell the connection."""
        self._leave()
        self._connection.eof_received()

    def stream_closed(self, cause: BaseException | None) -> None:
        """Tell the connection, which cancels the handler, and end the socket."""
        in_hand = self._response.live
        self._connection.stream_closed(cause)
        if in_hand:
            closing.end(self.websocket, 1006, '')

    def refuse(self) -> None:
        """Answer 503: the server stops."""
        if self._response.live and not self._response.framing:
            closing.end(self.websocket, 1001, 'the server stops')
            refuse(self._response, 503)

    def _leave(self) -> None:
        stream = self._connection.stream
        if not self._response.live and stream.receiver is self:
            stream.receiver = self._connection

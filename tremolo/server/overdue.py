"""Overdue: the end of a handler that took longer than `handler_timeout`."""

from __future__ import annotations

from ..http import ProtocolError
from ..typed import TYPE_CHECKING
from .notices import cancel, gone, why

if TYPE_CHECKING:
    from .connection import Connection


def stop_handler(connection: Connection) -> None:
    """Stop the handler of a connection: 503, or a reset if the head was sent already."""
    task, response = connection.task, connection.response
    if response is None or response.head_sent or task is None:
        return connection.abort('handler_timeout', reset=True)
    connection.ends_because('handler_timeout')
    # From now on what the handler does cannot reach the client.
    connection.response = connection.task = None
    response.live = False
    response.status = 503
    response.cut('handler_timeout')
    if connection.request_body is not None:
        connection.request_body.close(gone(connection))
    if connection.server.request_observers:
        # (Now, as long as `since` is the request's begin.)
        connection.server.request_ended(response, 'handler_timeout')
    connection.server.heads.refused = response.request.mark or b''
    connection.refuse(ProtocolError(503, 'the handler took too long (handler_timeout)'),
                      'handler_timeout')
    cancel(task, why(connection.reason))
    return None

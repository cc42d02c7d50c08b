"""Body turns: the rest of a body that has come waits until others had their turn.

One read may bring ten thousand chunks of a byte. Then nothing more is read, and what has come is
parsed a part at a time, from the ready queue: also if the client sends nothing more.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .phases import DISCARD

if TYPE_CHECKING:
    from .request_body import RequestBody

# Pieces of one body that are parsed before others have their turn. (Usually a read is one piece,
# but it may be thousands of chunks: http/chunked.py takes some hundreds of them at a time.)
PER_TURN = 3


def postpone(body: RequestBody) -> None:
    """Go on with a body when others had their turn, and read nothing before."""
    stream = body.connection.stream
    body.minimum_rate.stop(stream.reactor.now)    # (It is we who take time.)
    stream.pause_reading()
    if not body.postponed:
        body.postponed = True
        stream.reactor.call_soon(_go_on, body)


def _go_on(body: RequestBody) -> None:
    connection, body.postponed = body.connection, False
    if connection.request_body is body and not body.done:
        if connection.phase is DISCARD:
            connection.discard_body()
        elif body.reading:
            body.pump()

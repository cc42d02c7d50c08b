"""Lost: what a handler yields or returns when its answer is complete is told, and not sent."""

from __future__ import annotations

from ..loop import StreamClosed
from ..server import HandlerError, Response
from ..typed import TYPE_CHECKING, Any
from .returned import discard

if TYPE_CHECKING:
    from .handlers import Handler


def lost(handler: Handler, response: Response, value: Any, yielded: bool) -> Exception:
    """Return the error of a value that is returned too late; None stands for a chunk.

    `yielded` tells whether the handler has yielded a chunk.
    """
    discard(value)
    if not (response.ended or response.live):
        return StreamClosed()    # The client is gone: that is no mistake of the handler.
    what = 'yielded a chunk' if value is None else 'returned a value'
    if response.ended:
        after, instead = 'response.send or response.end', 'leave those out'
    elif response.framing == 'upgraded':
        after, instead = 'response.upgrade', 'write it to the stream'
    elif yielded:
        after, instead = 'it had yielded', 'yield the value'
    else:
        after, instead = 'response.write', 'give the value to response.end'
    return HandlerError(f'{handler.name} {what} after {after}: it would be lost; {instead}')

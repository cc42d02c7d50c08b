"""What a program is told when a WebSocket is over."""

from __future__ import annotations

from ..loop import Future
from ..ws.closed import WebSocketClosed as WebSocketClosed


def tell(future: Future | None, code: int, reason: str) -> None:
    """Let a Future raise `WebSocketClosed`; nobody has to look at it: clients may leave."""
    if future is not None and not future.done():
        future.set_exception(WebSocketClosed(code, reason))
        future.exception()

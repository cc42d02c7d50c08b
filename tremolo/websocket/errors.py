"""What a program is told when a WebSocket is over."""

from __future__ import annotations

from ..errors import TremoloError
from ..loop import Future


class WebSocketClosed(TremoloError):
    """The WebSocket is over. `code` is 1005 if a close had no code, and 1006 if it was lost."""

    in_good_order = True    # A spawned task that ends by it is no fault (dropped.py).

    def __init__(self, code: int = 1006, reason: str = '') -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f'the WebSocket is closed: {self.code}{f", {self.reason}" if self.reason else ""}'


def tell(future: Future | None, code: int, reason: str) -> None:
    """Let a Future raise `WebSocketClosed`; nobody has to look at it: clients may leave."""
    if future is not None and not future.done():
        future.set_exception(WebSocketClosed(code, reason))
        future.exception()

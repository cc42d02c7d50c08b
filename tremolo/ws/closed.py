"""Closed: the error of who uses a WebSocket that is over, on either side of it."""

from __future__ import annotations

from ..errors import TremoloError


class WebSocketClosed(TremoloError):
    """The WebSocket is over. `code` is 1005 if a close had no code, and 1006 if it was lost."""

    in_good_order = True    # A spawned task that ends by it is no fault (dropped.py).

    def __init__(self, code: int = 1006, reason: str = '') -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f'the WebSocket is closed: {self.code}{f", {self.reason}" if self.reason else ""}'

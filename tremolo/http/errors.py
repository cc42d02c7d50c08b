"""Errors of this room: a `ProtocolError` is the peer's fault, a `HeaderError` the application's."""

from __future__ import annotations

from ..errors import TremoloError


class ProtocolError(TremoloError):
    """The peer broke HTTP. The server answers with `status` and closes the connection.

    `reason` is for the log alone: it may hold up to 64 characters of what the peer sent.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.status}: {self.reason}'


class HeaderError(TremoloError, ValueError):
    """The application set a header, a status or a cookie that may not be sent."""


def shown(arrived: bytes | str) -> str:
    """Return at most 64 characters of the repr of `arrived`, for a reason or a message."""
    # Cut before the repr too: the repr of a megabyte takes long.
    return repr(arrived[:64])[:64]

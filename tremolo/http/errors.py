"""Errors of this room: `ProtocolError` is the peer's fault, `HeaderError` the application's."""

from __future__ import annotations

from ..errors import TremoloError


class ProtocolError(TremoloError):
    """The peer broke HTTP; `status` is the answer, and the connection ends with it.

    `reason` is for the log alone: it may hold up to 64 characters of what arrived (`shown`).
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.status}: {self.reason}'


class HeaderError(TremoloError, ValueError):
    """A header, status or cookie that may not be sent; raised where the application sets it."""


def shown(arrived: bytes | str) -> str:
    """Show at most 64 characters of the repr of what arrived, for a reason or a message."""
    # Cut twice, so that nobody makes the repr of a megabyte.
    return repr(arrived[:64])[:64]

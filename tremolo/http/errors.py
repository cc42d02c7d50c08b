"""Errors of this room. Whose fault it is shows in the type.

`ProtocolError` is the peer's: it knows the status of the answer, and the connection ends with it.
`HeaderError` is the application's, and is raised where the application sets the header.
"""

from __future__ import annotations

from ..errors import TremoloError


class ProtocolError(TremoloError):
    """The peer broke HTTP; `status` is the answer, `reason` is for the log alone.

    The reason may hold up to 64 bytes (as a repr) of what arrived, so it never becomes part of a
    response.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.status}: {self.reason}'


class HeaderError(TremoloError, ValueError):
    """A header, status or cookie that the application may not send."""


def shown(arrived: bytes | str) -> str:
    """Show at most 64 characters of the repr of what arrived, for a reason or a message.

    Cut twice, so that nobody makes the repr of a megabyte.
    """
    return repr(arrived[:64])[:64]

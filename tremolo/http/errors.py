"""Errors of this room: a `ProtocolError` is the peer's fault, a `HeaderError` the application's."""

from __future__ import annotations

from ..errors import TremoloError
from ..escaped import quoted


class ProtocolError(TremoloError):
    """The peer broke HTTP. The server answers with `status` and closes the connection.

    `sentence` tells the peer what is wrong. So it must not hold anything that the peer sent: what
    a server repeats may be another's request, or a script. `arrived` is for the log alone: up to 64
    characters of what the peer sent (see `shown`). `reason` is both.
    """

    def __init__(self, status: int, sentence: str, arrived: str = '') -> None:
        # (All three: the error can be copied, and each reader of a body raises a copy.)
        super().__init__(status, sentence, arrived)
        self.status = status
        self.sentence = sentence
        self.arrived = arrived

    @property
    def reason(self) -> str:
        """The sentence, and what arrived, for the log."""
        return f'{self.sentence}: {self.arrived}' if self.arrived else self.sentence

    def __str__(self) -> str:
        return f'{self.status}: {self.reason}'


class FormError(ProtocolError):
    """A form is malformed (400), or more than the limits allow (413)."""


class HeaderError(TremoloError, ValueError):
    """The application set a header, a status or a cookie that may not be sent."""


def shown(arrived: bytes | str) -> str:
    """Return at most 64 characters of the repr of `arrived`, for a reason or a message."""
    return quoted(arrived, 64)[:64]

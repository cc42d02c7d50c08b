"""The loop's own errors, and whose fault each is."""

from __future__ import annotations

from ..errors import TremoloError


class Cancelled(BaseException):
    """Thrown at the `yield` where a task waits, to stop it; no `except Exception` swallows it."""


class InvalidState(TremoloError):
    """A Future was asked for what it does not have yet, or was given a second value."""


class StreamClosed(TremoloError):
    """The peer is gone, or the stream was closed here. `cause` keeps the `OSError`, if any."""

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__(str(cause) if cause is not None else 'the stream is closed')
        self.cause = cause


class LimitExceeded(TremoloError):
    """More bytes came than the reader asked to hold (`read_until`, `read_all`)."""


class ListenError(TremoloError):
    """The system refuses an address to listen on (exit status 1)."""

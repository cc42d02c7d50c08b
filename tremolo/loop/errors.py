"""The loop's own errors, and whose fault each is."""

from __future__ import annotations

from ..errors import TremoloError


class Cancelled(BaseException):
    """Raised at the `yield` where a task waits, to stop it; no `except Exception` catches it."""

    in_good_order = True    # That nobody has looked at it is no fault (dropped.py).


class InvalidState(TremoloError):
    """An object is in the wrong state for a call: a Future without a value, or set twice."""


class StreamClosed(TremoloError):
    """The peer is gone, or the stream was closed here. `cause` keeps the `OSError`, if any."""

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__(str(cause) if cause is not None else 'the stream is closed')
        self.cause = cause


class LimitExceeded(TremoloError):
    """More bytes arrived than the reader allows (`read_until`, `read_all`)."""


class ListenError(TremoloError):
    """The system refuses an address to listen on (exit status 1)."""


def without_frames(error: BaseException | None) -> BaseException | None:
    """Return an error that an object may keep, though the error's frames lead to that object.

    Else both are a cycle. So are the frames of another error that is being handled meanwhile.
    """
    if error is not None:
        # (In a frozen dataclass this may not be set in the usual way.)
        BaseException.__setattr__(error.with_traceback(None), '__context__', None)
    return error


class NoReactor(RuntimeError):
    """No reactor runs in this thread."""

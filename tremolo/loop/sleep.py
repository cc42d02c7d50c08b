"""Sleep: a Future that is done after some seconds."""

from __future__ import annotations

from ..typed import Any
from .dropped import nothing
from .future import Future, on_loop


def sleep(seconds: float, result: Any = None) -> Future:
    """Return a Future of `result`, done after `seconds`; to cancel it cancels its timer."""
    # There is nothing to give back. But in debug mode a Future with `give_back` that is dropped
    # before its value was taken warns: here a `yield` was forgotten.
    future = Future(give_back=nothing)
    on_loop(future.reactor, _set_alarm, future, seconds, result)
    return future


def _set_alarm(future: Future, seconds: float, result: Any) -> None:
    future.on_cancel = future.reactor.call_later(seconds, future.set_result, result).cancel

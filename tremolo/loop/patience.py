"""Patience: nobody is too late because the loop was (polling/pauses.py)."""

from __future__ import annotations

from ..polling.poller import READ
from ..typed import TYPE_CHECKING, Any, Callable
from .timers import Timer

if TYPE_CHECKING:
    from .reactor import Reactor
    from .stream import Stream


def read_now(stream: Stream) -> None:
    """Read what has come since the poll, if it is read at all: before a deadline ends a stream."""
    watcher = stream.reactor.watchers.get(stream.fd)
    if watcher is not None and watcher.mask & READ and watcher.reader is not None:
        watcher.reader()


def call_patiently(reactor: Reactor, seconds: float, callback: Callable[..., Any], *args: Any
                   ) -> Timer:
    """Do as `Reactor.call_later`, but `seconds` are those in which the loop could turn."""
    pauses = reactor.pauses
    missed, deadline = pauses.missed, reactor.time() + seconds

    def due() -> None:
        nonlocal missed, deadline
        deadline += pauses.missed - missed
        missed = pauses.missed
        if deadline > reactor.now:
            timer.move(deadline)
        else:
            timer.cancel()    # (It refers to this function.)
            callback(*args)

    timer = reactor.call_at(deadline, due)
    return timer

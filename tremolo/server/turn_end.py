"""Turn end: what has to be done once for all answers of a turn, before they are sent."""

from __future__ import annotations

import logging

from ..loop import Reactor
from ..typed import Callable

_log = logging.getLogger('tremolo.server')


def before_sending(reactor: Reactor, do: Callable[[], object], problem: str) -> None:
    """Call `do` in each turn, just before what was written in it is sent.

    The log tells the `problem` if it raises.
    """
    def end_turn() -> None:
        try:
            do()
        except Exception:
            _log.exception('%s', problem)
        send()

    send, reactor.end_turn = reactor.end_turn, end_turn    # type: ignore[method-assign]

"""Reactors: make the reactor of a service, and run a coroutine on it before and after it serves."""

from __future__ import annotations

from collections.abc import Coroutine

from ..errors import SettingError
from ..loop import Reactor
from ..settings import Settings
from ..typed import Any


def make_reactor(settings: Settings) -> Reactor:
    """Make a reactor for the option `loop`: one that drives itself, or a guest of that loop.

    Raises `SettingError` for a loop that is not installed.
    """
    if settings.loop == 'reactor':
        return Reactor(debug=settings.debug)
    # Late: a process without asyncio starts faster and stays smaller.
    from ..bridge.guest import GuestReactor, make_loop
    try:
        loop = make_loop(settings.loop)
    except ImportError as error:
        raise SettingError(f'loop: {settings.loop} is not installed') from error
    return GuestReactor(loop, debug=settings.debug)


def complete(reactor: Reactor, coroutine: Coroutine[Any, Any, None] | None,
             seconds: float | None = None) -> None:
    """Run a coroutine, if there is one, to its end; the reactor must not be running.

    After `seconds` it is named in the log and cancelled.
    """
    if coroutine is not None:
        from ..bridge.bridge import bridge_to, within
        bridge_to(reactor).complete(coroutine if seconds is None else within(seconds, coroutine))

"""Reactors: which loop drives a service, and how a coroutine is run while nobody drives it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from ..errors import SettingError
from ..loop import Reactor
from ..settings import Settings


def make_reactor(settings: Settings) -> Reactor:
    """Make a reactor: its own master, or the guest of the loop that is asked for.

    Raises `SettingError` for a loop that is not installed.
    """
    if settings.loop == 'reactor':
        return Reactor(debug=settings.debug)
    # Asyncio is imported when something needs it, and not before.
    from ..bridge.guest import GuestReactor, make_loop
    try:
        loop = make_loop(settings.loop)
    except ImportError as error:
        raise SettingError(f'loop: {settings.loop} is not installed') from error
    return GuestReactor(loop, debug=settings.debug)


def complete(reactor: Reactor, coroutine: Coroutine[Any, Any, None] | None) -> None:
    """Run a coroutine, if there is one, to its end, while the reactor does not run."""
    if coroutine is not None:
        from ..bridge import bridge_to
        bridge_to(reactor).complete(coroutine)

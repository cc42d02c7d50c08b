"""asyncio on the reactor, and the reactor inside an asyncio loop. The tour is in README.md."""

from __future__ import annotations

# From now on asyncio's coroutines can await our Futures.
from . import waiting  # noqa: F401
from .bridge import Bridge, bridge_to
from .eager import Starter
from .event_loop import ReactorEventLoop, ReactorSelector
from .futures import awaiting, future_of
from .guest import GuestReactor, hosted, make_loop

__all__ = [
    'Bridge', 'GuestReactor', 'ReactorEventLoop', 'ReactorSelector', 'Starter', 'awaiting',
    'bridge_to', 'future_of', 'hosted', 'make_loop',
]

"""asyncio on the reactor, and the reactor inside an asyncio loop. The tour is in README.md."""

from __future__ import annotations

from .bridge import Bridge, bridge_to
from .eager import Starter
from .event_loop import ReactorEventLoop, ReactorSelector
from .futures import awaiting, future_of
from .guest import GuestReactor, hosted, make_loop
from .waiting import wait_in_coroutine

__all__ = [
    'Bridge', 'GuestReactor', 'ReactorEventLoop', 'ReactorSelector', 'Starter', 'awaiting',
    'bridge_to', 'future_of', 'hosted', 'make_loop', 'wait_in_coroutine',
]

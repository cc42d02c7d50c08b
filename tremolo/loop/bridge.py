"""The old address of `tremolo.bridge`, kept for programs that import it from here."""

from ..bridge import (
    Bridge,
    ReactorEventLoop,
    ReactorSelector,
    Starter,
    awaiting,
    bridge_to,
    future_of,
)

__all__ = [
    'Bridge', 'ReactorEventLoop', 'ReactorSelector', 'Starter', 'awaiting', 'bridge_to',
    'future_of',
]

"""Scarcity: when a slow client has to make room for others.

A client that pauses costs a descriptor and some memory, and as long as there are enough of both it
hurts nobody. An attack is many such clients. So the strict limits (`min_upload_rate`,
`min_download_rate`, a short `half_close_timeout`) hold only while connections are scarce: while
more than three quarters are open of those that the option `connections` allows, or of those for
which the process has descriptors; or while more than three quarters of the places are taken that
`limit_concurrency` gives to requests. The last quarter is what the strict limits keep free for
others.
"""

from __future__ import annotations

import sys

from ..typed import Any

OWN_DESCRIPTORS = 64    # Descriptors that are no connections: ours, and some for the application.
_ENOUGH = 0.75    # The part of the connections that may be open before they are scarce.


def is_scarce(server: Any) -> bool:
    """Tell whether connections are scarce: then slow clients have to make room."""
    places = server.places
    scarce: bool = len(server.connections) > server.plenty or (
        places is not None and places.scarce)
    return scarce


def plenty(connections: int) -> int:
    """Return how many connections may be open before they are scarce; `connections` 0: no limit."""
    return int(_ENOUGH * room_for(connections))


def room_for(connections: int) -> int:
    """Return how many connections there is room for; `connections` 0: no limit but the system's."""
    most = max(1, _descriptors() - OWN_DESCRIPTORS)
    return min(connections or most, most)


def _descriptors() -> int:
    try:
        import resource
    except ImportError:    # Windows has no such limit.
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft

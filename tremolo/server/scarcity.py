"""Scarcity: when a slow client has to make room for others.

A client that pauses costs a descriptor and some memory, and as long as there are enough of both it
hurts nobody. An attack is many such clients. So the strict limits (`min_upload_rate`,
`min_download_rate`, a short `half_close_timeout`) hold only while connections are scarce: while
more than three quarters are open of those that the option `connections` allows, or of those for
which the process has descriptors. The last quarter is what the strict limits keep free for others.
"""

from __future__ import annotations

import sys

from ..settings import Settings

OWN_DESCRIPTORS = 64    # Descriptors that are no connections: ours, and some for the application.
_ENOUGH = 0.75    # The part of the connections that may be open before they are scarce.
# A peer that has vanished is found out after so many seconds at the earliest, and so many seconds
# after the longest pause that is allowed.
_VANISHED = 90.0
_LATER = 30.0


def plenty(connections: int) -> int:
    """Return how many connections may be open before they are scarce; `connections` 0: no limit."""
    descriptors = _descriptors()
    most = max(1, descriptors - OWN_DESCRIPTORS)
    return int(_ENOUGH * min(connections or most, most))


def _descriptors() -> int:
    try:
        import resource
    except ImportError:    # Windows has no such limit.
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def vanished_after(settings: Settings) -> float:
    """Return after how many seconds a peer is gone whose kernel answers nothing; 0: never."""
    stall = settings.stall_timeout
    return max(_VANISHED, stall + _LATER) if stall else 0.0

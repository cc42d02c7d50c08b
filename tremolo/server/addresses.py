"""Addresses: the two ends of a connection, and how the client reached us.

They are asked of the socket once for each connection, in two system calls, when somebody needs
them: most handlers never do.
"""

from __future__ import annotations

import os

from ..loop import Stream
from ..typed import Any

# The client's end and our own as `(host, port)`, and the scheme, 'http' or 'https'. On a UNIX
# socket a client has no address: None, and our end is `(path, None)`. What the socket can no longer
# tell is None. (A plain tuple: to take a NamedTuple apart costs an ASGI request 0.5 % more.)
Addresses = tuple[Any, Any, str]


def addresses_of(stream: Stream) -> Addresses:
    """Ask a stream for its addresses (two system calls)."""
    return told(stream.peer, stream.sockname, 'https' if stream.secure else 'http')


def told(client: Any, server: Any, scheme: str = 'http') -> Addresses:
    """Return the addresses that a socket tells of its peer and of itself."""
    if isinstance(server, tuple):
        return tuple(client[:2]) if client else None, tuple(server[:2]), scheme
    return None, None if server is None else (os.fsdecode(server), None), scheme

"""Addresses: the two ends of a connection, how the client reached us, and where we listen.

They are asked of the socket once for each connection, in two system calls, when somebody needs
them: most handlers never do.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable

from ..loop import Stream
from ..loop.listener import host_port
from ..output import say
from ..typed import Any

# The client's end and our own as `(host, port)`, and the scheme, 'http' or 'https'. On a UNIX
# socket a client has no address: None, and our end is `(path, None)`. What the socket can no longer
# tell is None. (A plain tuple: to take a NamedTuple apart costs an ASGI request 0.5 % more.)
Addresses = tuple[Any, Any, str]


def addresses_of(stream: Stream) -> Addresses:
    """Ask a stream for its addresses (two system calls)."""
    return as_addresses(stream.peer, stream.sockname, 'https' if stream.secure else 'http')


def as_addresses(client: Any, server: Any, scheme: str = 'http') -> Addresses:
    """Return the addresses that a socket tells of its peer and of itself."""
    if isinstance(server, tuple):
        return tuple(client[:2]) if client else None, tuple(server[:2]), scheme
    return None, None if server is None else (os.fsdecode(server), None), scheme


def url_of(address: Any, secure: bool = False) -> str:
    """Write a socket's address as a URL (`unix:/path` for a UNIX socket)."""
    if not isinstance(address, tuple):
        return f'unix:{address}'
    return f'{"https" if secure else "http"}://{host_port(*address[:2])}'


def announce(addresses: Iterable[Any], pid: int = 0, secure: Container[Any] = ()) -> None:
    """Print where a server listens, and its process (0: this one), if anybody reads it.

    Those of the addresses that are in `secure` speak TLS.
    """
    for address in addresses:
        url = url_of(address, address in secure)
        say(f'running on {url} (process {pid or os.getpid()}, press CTRL+C to quit)')

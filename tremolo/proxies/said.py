"""Said: what the proxies that are believed say of one request, whichever fields they write.

A node is one end of a connection as a proxy writes it, `203.0.113.7` or `[2001:db8::7]:51234`. A
port that is not given is 0. An address is always written in one way (RFC 5952; one that is mapped
into IPv6 is that of IPv4), so that a list of an application finds it.
"""

from __future__ import annotations

from ..http.authority import read_host
from ..http.errors import ProtocolError
from ..late import expression
from .trusted import IP, read_ip

Lines = list[tuple[bytes, bytes]]    # Fields: names in lower case, values trimmed.

# A longer way than over so many proxies is none: there the search for the client ends. (It bounds
# what a head costs. Each hop of a real way is named by a proxy that is believed.)
MOST_HOPS = 100
_LONGEST_NODE = 64    # Bytes. The longest real one, IPv6 with a port, has 53.

_WITH_PORT = expression(r'(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?')
SCHEMES = {b'http': 'http', b'https': 'https'}
_OF_SOCKETS = {**SCHEMES, b'ws': 'http', b'wss': 'https'}


class Said:
    """The client as `(host, port)`, its scheme and the host it asked for; None: nothing is said.

    `lines` are the values of the fields that were read, in their order, as far as they are said by
    proxies that are believed; None stands for a field of which nothing is left.
    """

    __slots__ = ('client', 'host', 'lines', 'scheme')

    def __init__(self, size: int) -> None:
        self.client: tuple[str, int] | None = None
        self.scheme: str | None = None
        self.host: bytes | None = None
        self.lines: list[bytes | None] = [None] * size


def read_node(text: str) -> tuple[IP, int] | None:
    """Read IP, IP:port, [IPv6], [IPv6]:port; None for anything else."""
    if len(text) > _LONGEST_NODE:
        return None
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return None
    v6, v4, port = match.groups()
    number = int(port or 0)
    ip = read_ip(v6 or v4) if number <= 65535 and bool(v6) == (':' in (v6 or '')) else None
    return None if ip is None else (ip, number)


def read_scheme(value: bytes, is_socket: bool) -> str | None:
    """Return http or https, which ws and wss stand for in a handshake of WebSocket, or None."""
    return (_OF_SOCKETS if is_socket else SCHEMES).get(value.lower())


def valid_host(value: bytes) -> bytes | None:
    """Return a host as it may stand in Host, but not an empty one, or None."""
    try:
        return value if read_host(value) else None
    except ProtocolError:
        return None

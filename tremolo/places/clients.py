"""Clients: one address cannot take all places: `connections_per_client`.

Who a client is:

    the peer of a socket                    an IPv4 address, or the first 64 bits of one of IPv6:
                                            one household, or one server, has all the others
    behind a proxy with PROXY               the address that its header says
    behind a proxy with X-Forwarded-*       the address that each request says; the connection,
    or Forwarded (`trusted_proxies`)        which many share, is not counted

A trusted proxy itself, and who comes by a UNIX socket, is nobody. A connection too many is closed
when it is accepted, before a handshake of TLS and without a byte; the log has a line. A request too
many is refused by concurrency.py. Each worker counts for itself: the kernel spreads the connections
of a client over all workers.

Connections that another worker hands over are counted, and never closed: that one let them in.
"""

from __future__ import annotations

from collections import Counter

from ..proxies.trusted import TrustedProxies, read_ip
from ..server import Request, Server
from ..server.connection import Connection
from ..typed import Any

_REASON = 'connections_per_client'
# ::ffff:0:0/96 is IPv4 on a socket for both (`read_ip` knows that), 64:ff9b::/96 is IPv4 where a
# network of IPv6 alone has translated it (RFC 6052, RFC 7755): one of them is one client.
_TRANSLATED = 0x64ff9b << 64


class Clients:
    """The connections of each client, from accept to close."""

    def __init__(self, server: Server) -> None:
        """Count for a server, and for the parts of it that are made later."""
        settings = server.settings
        self.most = settings.connections_per_client
        self._proxies = TrustedProxies(settings.trusted_proxies)
        # (`*` believes every peer. Of whom such a peer tells is a client all the same.)
        self._named = TrustedProxies(tuple(
            each for each in settings.trusted_proxies if each != '*'))
        self._count: Counter[Any] = Counter()
        # Who each connection belongs to, and each that still arrives (room edge).
        self._who: dict[Any, Any] = {}
        self._admitted: Any = None    # Whose socket is being admitted, if that is known.
        server.clients = self
        server.at_connect.append(self._connected)
        server.at_close.append(self._closed)

    def client_of(self, request: Request) -> Any:
        """Return who has sent a request; None: nobody."""
        if request.forwarded is not None:
            return who(request.forwarded[0])
        return self._who.get(request.connection)

    def _peer(self, address: Any) -> Any:
        """Return who the peer of a socket is; None: a proxy, or nobody."""
        if not isinstance(address, tuple) or self._proxies.trusts(address, False):
            return None
        return who(address)

    def _told(self, address: Any) -> Any:
        """Return who is behind the header of PROXY; None: another proxy, or nobody."""
        if address is None or self._named.trusts(address, False):
            return None
        return who(address)

    # -- connections ------------------------------------------------------------------------------

    def door(self, part: Server) -> Any:
        """Return what takes the sockets that a part accepts, if nothing comes before them."""
        def accept(sock: Any, address: Any) -> None:
            client = self._peer(address)
            if client is not None and self._count[client] >= self.most:
                part.closed[_REASON] += 1
                part.notices.tell_of_arrival(address, _REASON, '', False)
                sock.close()
                return
            self._admitted = (client,)
            try:
                part.admit(sock, address)
            finally:
                self._admitted = None

        return accept

    def arrives(self, arrival: Any) -> bool:
        """Count a socket whose client is known, and whose connection has not begun; or refuse."""
        if arrival.known is not None:
            client = self._told(arrival.known[0])
        else:
            client = self._peer(arrival.address)
        if client is not None and self._count[client] >= self.most:
            return False
        self._enter(arrival, client)
        return True

    def left(self, arrival: Any) -> None:
        """Forget one that arrived: its connection begins now, or it has ended."""
        self._forget(arrival)

    def _connected(self, connection: Connection) -> None:
        if self._admitted is not None:
            client = self._admitted[0]
        elif connection.known_addresses is not None:
            client = self._told(connection.known_addresses[0])
        else:
            client = self._peer(connection.addresses[0])
        self._enter(connection, client)

    def _closed(self, connection: Connection, reason: str) -> None:
        self._forget(connection)

    def _enter(self, each: Any, client: Any) -> None:
        if client is not None:
            self._who[each] = client
            self._count[client] += 1

    def _forget(self, each: Any) -> None:
        client = self._who.pop(each, None)
        if client is not None:
            self._count[client] -= 1
            if not self._count[client]:
                del self._count[client]


def who(address: Any) -> Any:
    """Return who is at an address `(host, port)`; None: nobody that is known."""
    if address is None:
        return None
    ip = read_ip(str(address[0]).partition('%')[0])
    if ip is None:
        return None    # (A proxy may hide its client: `unknown`, `_hidden`.)
    if ip.is_v6 and ip.number >> 32 == _TRANSLATED:
        return ip.number & 0xffffffff
    return ('IPv6', ip.number >> 64) if ip.is_v6 else ip.number

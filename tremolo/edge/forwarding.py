"""Forwarding: requests whose client is behind a proxy, and what is left of the fields that say so.

With `trusted_proxies` each request passes here before it reaches the application, whichever kind of
application that is: it reads what a proxy that is believed says of its client, and it takes away
what nobody may believe. So native handlers, ASGI and WSGI see the same.

    the peer is       the fields of the kind that is chosen      those of the other kind
    believed          the part that such proxies have said       removed
    a stranger        removed                                    removed

The kinds are Forwarded, and all fields whose names begin with X-Forwarded. A name with underscores
for dashes (X_Forwarded_For) is that of no proxy, and is removed, too: in CGI and WSGI the two would
be one. Without `trusted_proxies` there is none of this, and the fields reach the application as
they came: it may want to read them by itself.
"""

from __future__ import annotations

from ..http.authority import read_host
from ..proxies.forwarded import read_forwarded
from ..proxies.said import Said
from ..proxies.trusted import TrustedProxies
from ..proxies.x_forwarded import read_x_forwarded
from ..server import Request, Response, Server
from ..server.addresses import Addresses
from ..typed import Any

_READERS: dict[str, Any] = {'x-forwarded': read_x_forwarded, 'forwarded': read_forwarded}


class Forwarding:
    """Goes before the `handle` of a server, and of the parts of it that are made later."""

    def __init__(self, server: Server) -> None:
        self._trusted = TrustedProxies(server.settings.trusted_proxies)
        self._read = _READERS.get(server.settings.forwarded)    # None: neither kind.
        self._handle, server.handle = server.handle, self._forwarded

    def _forwarded(self, request: Request, response: Response) -> None:
        """Let a request be answered; hot, where proxies are believed."""
        places = [place for place, field in enumerate(request.fields)
                  if b'orwarded' in field[0] and _is_of_proxies(field[0])]
        if places:
            self._rewrite(request, places)
        self._handle(request, response)

    def _rewrite(self, request: Request, places: list[int]) -> None:
        """Note what is said in the fields at these places, and leave what may be believed."""
        fields = request.fields
        left: list[bytes | None] = [None] * len(places)
        host = None
        addresses = request.connection.addresses
        if self._read is not None and self._trusted.trusts(addresses[0], _is_unix(addresses)):
            is_socket = b'websocket' in (request.upgrade or b'')
            said: Said = self._read([fields[place] for place in places], self._trusted, is_socket)
            if said.client is not None or said.scheme is not None:
                request.forwarded = (said.client or addresses[0], addresses[1],
                                     said.scheme or addresses[2])
            left, host = said.lines, said.host
        if host is None and left == [fields[place][1] for place in places]:
            return
        changed = dict(zip(places, left))
        block = []
        for place, field in enumerate(fields):
            value = changed.get(place, field[1])
            if value is not None and (host is None or field[0] != b'host'):
                block.append(field if value is field[1] else (field[0], value))
        if host is not None:
            request.authority = read_host(host)
            block.insert(0, (b'host', host))
        request.block = block


def _is_of_proxies(name: bytes) -> bool:
    """Return whether a field is one of those by which proxies tell of their clients."""
    name = name.replace(b'_', b'-')
    return name == b'forwarded' or name.startswith(b'x-forwarded')


def _is_unix(addresses: Addresses) -> bool:
    """Return whether these are the addresses of a UNIX socket."""
    return addresses[0] is None and addresses[1] is not None and addresses[1][1] is None

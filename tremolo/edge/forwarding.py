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

# Names that are no matter of this, and that most requests have.
_USUAL = frozenset((
    b'accept', b'accept-encoding', b'accept-language', b'authorization', b'cache-control',
    b'connection', b'content-length', b'content-type', b'cookie', b'host', b'origin', b'pragma',
    b'priority', b'referer', b'sec-ch-ua', b'sec-ch-ua-mobile', b'sec-ch-ua-platform',
    b'sec-fetch-dest', b'sec-fetch-mode', b'sec-fetch-site', b'sec-fetch-user',
    b'upgrade-insecure-requests', b'user-agent'))
# Those that most proxies send; `_is_of_proxies` knows all.
_OURS = frozenset((b'forwarded', b'x-forwarded-for', b'x-forwarded-host', b'x-forwarded-port',
                   b'x-forwarded-proto'))
_READERS: dict[str, Any] = {'x-forwarded': read_x_forwarded, 'forwarded': read_forwarded}


class Forwarding:
    """Goes before the `handle` of a server, and of the parts of it that are made later."""

    def __init__(self, server: Server) -> None:
        self._trusted = TrustedProxies(server.settings.trusted_proxies)
        self._read = _READERS.get(server.settings.forwarded)    # None: neither kind.
        self._handle, server.handle = server.handle, self._forwarded

    def _forwarded(self, request: Request, response: Response) -> None:
        """Let a request be answered; hot, where proxies are believed."""
        # (`find`: with `in` the first bytes are tried as a number, which fails at length. With the
        # usual names as a set: a third of the instructions.)
        lines: list[tuple[bytes, bytes]] = []
        for field in request.fields:
            name = field[0]
            if name not in _USUAL and (
                    name in _OURS or (name.find(b'orwarded') >= 0 and _is_of_proxies(name))):
                lines.append(field)
        if lines:
            self._read_and_leave(request, lines)
        self._handle(request, response)

    def _read_and_leave(self, request: Request, lines: list[tuple[bytes, bytes]]) -> None:
        """Note what is said in these lines, and leave of them what may be believed."""
        connection = request.connection
        client, server, scheme = addresses = connection.known_addresses or connection.addresses
        if self._read is None or not self._trusted.trusts(
                client, client is None and _is_unix(addresses)):
            _leave(request, lines, [None] * len(lines), None)
            return
        is_socket = request.upgrade is not None and request.upgrade.find(b'websocket') >= 0
        said: Said = self._read(lines, self._trusted, is_socket)
        if said.client is not None or said.scheme is not None:
            request.forwarded = said.client or client, server, said.scheme or scheme
        if said.host is not None:
            _leave(request, lines, said.lines, said.host)
            return
        for line, value in zip(lines, said.lines):
            if value != line[1]:
                _leave(request, lines, said.lines, None)
                return


def _leave(request: Request, lines: list[tuple[bytes, bytes]], left: list[bytes | None],
           host: bytes | None) -> None:
    """Leave of these lines of a request the values of `left`; `host` replaces its Host."""
    block, at = [], 0
    for field in request.fields:
        if at < len(lines) and field is lines[at]:
            value = left[at]
            at += 1
            if value is not None:
                block.append(field if value is field[1] else (field[0], value))
        elif host is None or field[0] != b'host':
            block.append(field)
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

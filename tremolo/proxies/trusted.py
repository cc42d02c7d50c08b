"""Trusted: which proxies are believed, by their addresses.

    trusted = TrustedProxies(('10.0.0.0/8', 'fd00::/8', 'unix'))
    trusted.trusts(('10.1.2.3', 51234), False)    # True
    trusted.trusts(None, True)                    # True: a UNIX socket's peer has no address

A peer is compared as a number, never as text: `::ffff:10.1.2.3`, which is how a socket for both
families names an IPv4 client (RFC 4291 section 2.5.5.2), is `10.1.2.3`, and no other spelling of an
address gets past. Names are none of these, since who answers for a name may change while it is
believed.
"""

from __future__ import annotations

import ipaddress
import socket

from ..late import expression
from ..typed import Any, NamedTuple

_OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
_IPV4 = expression(r'\.'.join((_OCTET,) * 4))
_MAPPED = bytes(10) + b'\xff\xff'    # ::ffff:0:0/96
# The peers that were believed last: the same few proxies come again and again (0.1 us for one that
# is known, 1 us for another). At most so many; a full set is emptied. Those that are not believed
# are clients, and nothing is kept of them.
_MOST_KEPT = 256


class IP(NamedTuple):
    """An address: whether it is one of IPv6, its number, and the text that all write alike."""

    is_v6: bool
    number: int
    text: str


# A network as numbers: its mask and its address; and the zone (of `%eth0`) that it is confined to.
_Network = tuple[int, int, str]


class TrustedProxies:
    """Addresses and networks (CIDR) that are believed, `unix`, or `*` for all.

    Raises `ValueError` for a name, and for a network with bits of a host. (The settings have said
    so before: see `networks` in the room settings.)
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._all = '*' in names
        self._unix = self._all or 'unix' in names
        self._networks: tuple[list[_Network], list[_Network]] = [], []    # IPv4, IPv6
        for name in names:
            if name not in ('*', 'unix'):
                is_v6, network = _network(name)
                self._networks[is_v6].append(network)
        self._known: set[str] = set()

    def trusts(self, client: tuple[Any, ...] | None, is_unix: bool) -> bool:
        """Return whether a peer is believed: `(host, port)`, or None on a UNIX socket.

        A peer without an address on another socket (it is gone) is believed by `*` alone.
        """
        if client is None:
            return self._unix if is_unix else self._all
        host = client[0]
        if self._all or host in self._known:
            return True
        address, _, zone = host.partition('%')
        ip = read_ip(address)
        if ip is None or not self.contains(ip, zone):
            return False
        # (`>=`: reactors in several threads may each add one at once.)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known.add(host)
        return True

    def contains(self, ip: IP, zone: str = '') -> bool:
        """Return whether an address is believed."""
        if self._all:
            return True
        for mask, network, only in self._networks[ip.is_v6]:
            if ip.number & mask == network and (not only or only == zone):
                return True
        return False


def read_ip(text: str) -> IP | None:
    """Return an address without a zone; that of IPv4 for one that is mapped; None if it is none."""
    match = _IPV4.fullmatch(text)
    if match is not None:
        # (By `ipaddress` it is four times as slow. And before Python 3.9.5 that reads 010.0.0.1,
        # which is 8.0.0.1 for others.)
        a, b, c, d = match.groups()
        return IP(False, int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d), text)
    if ':' not in text or '%' in text:
        return None
    try:
        # (In C, and a socket's peer is written in the same way. By `ipaddress`: 10 times as slow.)
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    if packed.startswith(_MAPPED):
        return IP(False, int.from_bytes(packed[12:], 'big'), '.'.join(map(str, packed[12:])))
    return IP(True, int.from_bytes(packed, 'big'), socket.inet_ntop(socket.AF_INET6, packed))


def _network(name: str) -> tuple[bool, _Network]:
    """Return whether a network is one of IPv6, and its numbers. A mapped one is that of IPv4."""
    name, _, zone = name.partition('%')
    network = ipaddress.ip_network(name)
    number, mask = int(network.network_address), int(network.netmask)
    if network.version == 6 and number >> 32 == 0xffff and network.prefixlen >= 96:
        return False, (mask & 0xffffffff, number & 0xffffffff, '')
    return network.version == 6, (mask, number, zone)

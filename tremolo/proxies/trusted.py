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

from ..typed import Any, Union

IP = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_Network = tuple[int, int, str]

# The addresses that were asked about last, and the answers: the same few proxies come again and
# again (0.1 us for a known one, 6 us for a new one). A full dictionary is emptied.
_MOST_KEPT = 1024


class TrustedProxies:
    """Addresses and networks (CIDR) that are believed, `unix`, or `*` for all.

    Raises `ValueError` for a name, and for a network with bits of a host. (The settings have said
    so before: see `networks` in the room settings.)
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._all = '*' in names
        self._unix = self._all or 'unix' in names
        # The networks of IPv4 and of IPv6: the mask, the address, and the zone (%eth0), if any.
        self._networks: tuple[list[_Network], list[_Network]] = [], []
        for name in names:
            if name not in ('*', 'unix'):
                is_v6, network = _network(name)
                self._networks[is_v6].append(network)
        self._known: dict[str, bool] = {}

    def trusts(self, client: tuple[Any, ...] | None, is_unix: bool) -> bool:
        """Return whether a peer is believed: `(host, port)`, or None on a UNIX socket.

        A peer without an address on another socket (it is gone) is believed by `*` alone.
        """
        if client is None:
            return self._unix if is_unix else self._all
        if self._all:
            return True
        host = client[0]
        known = self._known.get(host)
        if known is None:
            known = self._contains(host)
            # (`>=`: reactors in several threads may each add one at once.)
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[host] = known
        return known

    def _contains(self, host: str) -> bool:
        address = read_ip(host)
        if address is None:
            return False
        number, zone = int(address), host.partition('%')[2]
        for mask, network, only in self._networks[address.version == 6]:
            if number & mask == network and (not only or only == zone):
                return True
        return False


def read_ip(text: str) -> IP | None:
    """Return an address; that of IPv4 for one that is mapped into IPv6; None if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        # (Python before 3.9.5 reads 010.0.0.1, which is 8.0.0.1 for others.)
        return address if str(address) == text else None
    return getattr(address, 'ipv4_mapped', None) or address


def _network(name: str) -> tuple[bool, _Network]:
    """Return whether a network is one of IPv6, and its numbers. A mapped one is that of IPv4."""
    name, _, zone = name.partition('%')
    network = ipaddress.ip_network(name)
    number, mask = int(network.network_address), int(network.netmask)
    if network.version == 6 and number >> 32 == 0xffff and network.prefixlen >= 96:
        return False, (mask & 0xffffffff, number & 0xffffffff, '')
    return network.version == 6, (mask, number, zone)

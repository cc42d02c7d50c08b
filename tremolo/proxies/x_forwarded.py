"""X-Forwarded: what proxies say of their clients in fields that no standard defines.

    X-Forwarded-For: 192.0.2.1, 203.0.113.7, 10.0.0.2    each proxy adds the address of its peer
    X-Forwarded-Proto: https                             what the client speaks
    X-Forwarded-Host: example.org                        what it asked for, in its field Host

Whoever asks may send such fields, too, and a proxy only adds to them: so what stands on the left is
a stranger's. The search for the client begins on the right, at the address that our peer has added.
If that is a proxy that is believed, the next one counts, and so on: the first that is not believed
is the client. An element that is no address (also an empty one: a proxy that had no address to add
leaves it) ends the search at the last good one, since nobody has been named who could vouch for
what is left of it.

Of the others the last value counts: most proxies set one anew, and if it was added to, the last is
our peer's. X-Forwarded-Port is not read: a host says its port itself.
"""

from __future__ import annotations

from socket import AF_INET, inet_pton

from .said import MOST_HOPS, SCHEMES, Lines, Said, read_node, read_scheme, valid_host
from .trusted import TrustedProxies, read_ip

_FOR, _PROTO = b'x-forwarded-for', b'x-forwarded-proto'
# Those that are lists, if proxies add to them: the last value is that of our peer. Others may be
# about anything (X-Forwarded-Email, X-Forwarded-Client-Cert), and stay as our peer has sent them.
_LISTS = frozenset((b'x-forwarded-host', b'x-forwarded-port', b'x-forwarded-prefix', _PROTO,
                    b'x-forwarded-server'))
_LONGEST_IPV4 = 15    # Bytes.


def read_x_forwarded(lines: Lines, trusted: TrustedProxies, is_socket: bool) -> Said:
    """Read fields that a proxy which is believed has sent. Hot, where proxies are believed."""
    said = Said(len(lines))
    left, place, search, seen = said.lines, len(lines), None, set()
    for name, value in reversed(lines):
        place -= 1
        if name == _FOR:
            # (Mostly one proxy has named one address, and nobody has to vouch for another.)
            if search is None and said.client is None and len(value) <= _LONGEST_IPV4:
                said.client = _lone_ipv4(value)
                if said.client is not None:
                    left[place] = value
                    continue
            if search is None:
                search = _Search(trusted, said)
            left[place] = search.back_through(value)
        elif name in _LISTS:
            if name not in seen:
                seen.add(name)
                if name == _PROTO and value in SCHEMES:
                    said.scheme = SCHEMES[value]
                    left[place] = value
                else:
                    left[place] = _last_value(said, name, value, is_socket)
        elif name.startswith(b'x-forwarded') and name.find(b'_') < 0:
            left[place] = value
    return said


def _lone_ipv4(value: bytes) -> tuple[str, int] | None:
    """Return a client whose address is all of a value, without a port; None for anything else."""
    try:
        text = value.decode()
        inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None
    return text, 0


class _Search:
    """The way back from our peer to the client."""

    def __init__(self, trusted: TrustedProxies, said: Said) -> None:
        """`said` has the client so far, if another line has named one."""
        self._trusted = trusted
        self._said = said
        self._left = MOST_HOPS    # 0: the search is over.
        if said.client is not None:
            ip = read_ip(said.client[0])
            self._left = MOST_HOPS - 1 if ip is not None and trusted.contains(ip) else 0

    def back_through(self, value: bytes) -> bytes | None:
        """Go on in a line that stands before those that were seen; return its part that counts."""
        end, begin = len(value), None
        while self._left and end >= 0:
            comma = value.rfind(b',', 0, end)
            text = value[comma + 1:end].strip(b' \t').decode('latin-1')
            # (First an address alone, as most are: IPv6 without brackets has no port.)
            ip, port = read_ip(text), 0
            if ip is None:
                node = read_node(text)
                if node is None:
                    self._left = 0
                    break
                ip, port = node
            self._said.client = ip.text, port
            self._left = self._left - 1 if self._trusted.contains(ip) else 0
            end = begin = comma
        return None if begin is None else value[begin + 1:].strip(b' \t')


def _last_value(said: Said, name: bytes, value: bytes, is_socket: bool) -> bytes | None:
    """Note the last value of a field; return it, or None if it is not valid."""
    value = value.rpartition(b',')[2].strip(b' \t')
    if name == _PROTO:
        said.scheme = read_scheme(value, is_socket)
        return None if said.scheme is None else value
    if name == b'x-forwarded-host':
        said.host = valid_host(value)
        return said.host
    return value or None

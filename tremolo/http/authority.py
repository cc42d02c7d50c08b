"""Authority: the host that a request is for, in its Host field or in its target.

A target that is no path is rare, and so is a host that was not seen before: read_head (head.py)
comes here only for these.
"""

from __future__ import annotations

from .errors import ProtocolError, shown
from .grammar import ABSOLUTE, AUTHORITY, HOST

# The longest name of DNS and RFC 3986 section 3.2.2, with a port.
_HOST_SIZE = 255 + 6
# Well-formed hosts as they were sent, each in lower case: a server receives the same few hosts
# again and again. There are at most 256 of at most `_HOST_SIZE` bytes, and nothing else of a
# request; a full dictionary is emptied.
_MOST_HOSTS = 256
hosts: dict[bytes, bytes] = {}


def read_authority(method: str, target: bytes) -> bytes | None:
    """Check a target that is not a path, and return its authority (RFC 9112 section 3.2).

    `OPTIONS *` has none. Raises `ProtocolError`.
    """
    if method == 'CONNECT':
        if AUTHORITY.fullmatch(target):
            raise ProtocolError(501, 'the method CONNECT is for proxies, and this is none')
    elif target == b'*':
        if method == 'OPTIONS':
            return None
    else:
        absolute = ABSOLUTE.fullmatch(target)
        # An http URI without a host is invalid (RFC 9110 section 4.2.1).
        if absolute is not None and not absolute[1].startswith(b':'):
            return read_host(absolute[1])
    raise ProtocolError(400, 'the form of the request target does not fit the method',
                        shown(b'%b %b' % (method.encode('ascii'), target)))


def read_host(value: bytes) -> bytes:
    """Return a host with an optional port, checked and in lower case (RFC 9110 section 7.2).

    It may be empty. Raises `ProtocolError`.
    """
    host = hosts.get(value)
    if host is None:
        host = value.lower()
        if len(host) > _HOST_SIZE or HOST.fullmatch(host) is None:
            raise ProtocolError(400, 'the host is malformed', shown(host))
        # (`>=`: reactors in several threads may each add a host at once.)
        if len(hosts) >= _MOST_HOSTS:
            hosts.clear()
        hosts[value] = host
    return host

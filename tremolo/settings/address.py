"""Address: where a server listens, and how an address is written.

    parse_bind('[::1]:8000')        # Address(host='::1', port=8000, path=None)
    str(Address('', 80))            # ':80'

`str` of an address is a text that `parse_bind` reads back.
"""

from __future__ import annotations

import re

from ..errors import SettingError
from ..late import expression
from ..typed import NamedTuple

_BRACKETED = expression(r'\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]:([^:]*)')
_IPV6 = expression(r'[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?')
_QUERY = expression(r'\?socket_mode=(?:0o?)?([0-7]{3})')


class Address(NamedTuple):
    """A host (empty for all interfaces) and a port, or else the path of a UNIX socket.

    `mode` is the mode of the file of the socket; None: what the option `socket_mode` says.
    """

    host: str | None
    port: int = 0
    path: str | None = None
    mode: int | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f'unix:{self.path}' + ('' if self.mode is None
                                          else f'?socket_mode={self.mode:03o}')
        host = self.host or ''
        return f'[{host}]:{self.port}' if ':' in host else f'{host}:{self.port}'

    def mode_or(self, default: int | None) -> int | None:
        """Return the mode for the file of a UNIX socket."""
        return default if self.mode is None else self.mode


def bare_host(host: str) -> str:
    """Return a host without the brackets of IPv6; '' for `*`, which is every IPv4 address."""
    if host.startswith('[') and host.endswith(']'):
        return host[1:-1]
    return '' if host == '*' else host


def parse_bind(text: str) -> Address:
    """Read `HOST:PORT`, `:PORT` (all interfaces), `[IPV6]:PORT` or `unix:/path`.

    A UNIX socket may have a mode of its own: `unix:/path?socket_mode=660`. Raises `SettingError`,
    whose message starts with `bind:` and says what to write instead.
    """
    if text.startswith('unix:'):
        path, mark, query = text[5:].partition('?')
        if not path or '\0' in path:
            raise SettingError(f'bind: {text!r} has no path, write unix:/path/to/socket')
        match = _QUERY.fullmatch(mark + query)
        if mark and match is None:
            raise SettingError(f'bind: {text!r}: after the path only ?socket_mode=660 may stand')
        return Address(None, 0, path, int(match[1], 8) if match else None)
    if text.startswith('['):
        match = _BRACKETED.fullmatch(text)
        if match is None:
            raise SettingError(f'bind: {text!r} is not [IPV6]:PORT, such as [::1]:8000')
        host, port = match.groups()
    else:
        host, colon, port = text.rpartition(':')
        if not colon or ':' in host or '/' in text:
            raise SettingError(f'bind: {text!r} {_hint(text, host, port)}')
    if not re.fullmatch('[0-9]{1,5}', port) or int(port) > 65535:
        raise SettingError(f'bind: {text!r} has a bad port, it goes from 0 (any free one) to 65535')
    return Address(bare_host(host), int(port), None)


def _hint(text: str, host: str, port: str) -> str:
    """Say what is wrong with an address, and what to write instead."""
    scheme, _, rest = text.partition('://')
    if ',' in text:
        return 'is several addresses, give each of them to a bind of its own'
    if scheme == 'fd':
        return 'is a socket that is open already, write HOST:PORT or unix:/path'
    if rest and scheme.isalpha():
        return f'is a URL, write {rest.partition("/")[0]}'
    if '/' in text:
        return f'is not an address, write HOST:PORT or unix:{text if ":" not in text else "/path"}'
    if text.isdecimal():
        return f'has no port, write :{text} or HOST:{text}'
    if not host:
        return f'has no port, write {text}:8000, :8000 or unix:/path'
    if _IPV6.fullmatch(text) and (host.endswith(':') or not 2 <= len(port) <= 5
                                  or not port.isdecimal()):
        return f'is IPv6 without a port, write [{text}]:8000'
    return f'is ambiguous, write IPv6 as [{host}]:{port}'

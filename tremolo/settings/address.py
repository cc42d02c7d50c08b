"""Address: where a server listens, and how an address is written.

    parse_bind('[::1]:8000')        # Address(host='::1', port=8000, path=None)
    str(Address('', 80))            # ':80'

`str` of an address is a text that `parse_bind` reads back.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import SettingError

_BRACKETED = re.compile(r'\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]:([^:]*)')


class Address(NamedTuple):
    """A host (empty for all interfaces) and a port, or else the path of a UNIX socket."""

    host: str | None
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f'unix:{self.path}'
        host = self.host or ''
        return f'[{host}]:{self.port}' if ':' in host else f'{host}:{self.port}'


def parse_bind(text: str) -> Address:
    """Read `HOST:PORT`, `:PORT` (all interfaces), `[IPV6]:PORT` or `unix:/path`.

    Raises `SettingError`, whose message starts with `bind:` and says what to write instead.
    """
    if text.startswith('unix:'):
        path = text[5:]
        if not path or '\0' in path:
            raise SettingError(f'bind: {text!r} has no path, write unix:/path/to/socket')
        return Address(None, 0, path)
    if text.startswith('['):
        match = _BRACKETED.fullmatch(text)
        if match is None:
            raise SettingError(f'bind: {text!r} is not [IPV6]:PORT, such as [::1]:8000')
        host, port = match.groups()
    else:
        host, colon, port = text.rpartition(':')
        if not colon:
            raise SettingError(f'bind: {text!r} has no port, write HOST:PORT, :PORT or unix:/path')
        if ':' in host:
            raise SettingError(f'bind: {text!r} is ambiguous, write IPv6 as [{host}]:{port}')
        if '/' in host:
            raise SettingError(f'bind: {text!r} is not an address, write HOST:PORT or unix:/path')
    if not re.fullmatch('[0-9]{1,5}', port) or int(port) > 65535:
        raise SettingError(f'bind: {text!r} has a bad port, it goes from 0 (any free one) to 65535')
    return Address(host, int(port), None)

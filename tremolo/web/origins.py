"""Origins: from which web pages a browser may open a WebSocket (RFC 6455 section 10.2).

A browser lets each page connect to each server, and sends the server's cookies along. So a page of
somebody else can speak in the name of its visitor, unless the server looks at the Origin field, in
which the browser names the page (RFC 6454). Other clients than browsers send no Origin, and pass.

    scheme "://" host [ ":" port ]    compared without case, the default port as if it was written
    null                              a page without an origin: only where it is listed
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..http import RequestHead
from ..late import expression
from ..typed import Any

_ORIGIN = expression(r'([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?')
_DEFAULT_PORTS = {'http': 80, 'https': 443}


def checked_origins(origins: Any) -> frozenset[str] | None:
    """Return the origins as they are compared; None, which lets all pass, stays None.

    Raises `ValueError` for an entry that no browser would ever send.
    """
    if origins is None:
        return None
    if isinstance(origins, (str, bytes)) or not isinstance(origins, Iterable):
        entry = origins if isinstance(origins, str) else 'https://example.org'
        raise ValueError(f'origins is a list: write origins=[{entry!r:.64}]')
    return frozenset(_checked(each) for each in origins)


def _checked(entry: Any) -> str:
    if not isinstance(entry, str):
        raise ValueError(f"an origin is str, not {entry!r:.64}: write 'https://example.org'")
    if entry == '*':
        raise ValueError("origins=['*'] is written origins=None: it lets the pages of all pass")
    normal = normalized(entry)
    if normal is None or normal.startswith(('ws:', 'wss:')):
        raise ValueError(f'the origin {entry!r:.64} is none that a browser sends{_instead(entry)}')
    return normal


def _instead(entry: str) -> str:
    """Say what to write instead of an entry that is no origin."""
    scheme, mark, rest = entry.strip().partition('://')
    if not mark:
        scheme, rest = 'https', entry.strip()
    if '*' in rest:
        return ': write each host, there are no patterns'
    scheme = {'ws': 'http', 'wss': 'https'}.get(scheme.lower(), scheme)
    host = re.split('[/?#]', rest)[0].rpartition('@')[2]
    try:
        host = host.encode('idna').decode('ascii') if not host.isascii() else host
    except UnicodeError:
        host = ''
    better = f'{scheme}://{host}'
    return f': write {better!r:.80}' if normalized(better) else ": write 'https://example.org'"


def normalized(origin: str) -> str | None:
    """Return an origin in lower case and with its port, 'null' as it is; None if it is neither."""
    if origin == 'null':
        return origin
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    number = int(port) if port else _DEFAULT_PORTS.get(scheme, '')
    return f'{scheme}://{host}:{number}'


def refused_origin(head: RequestHead, allowed: frozenset[str] | None) -> bytes | None:
    """Return the page's origin if it is not allowed, else None.

    A client that names no origin is no browser, and passes. (Two Origin fields are 400 in each
    request: see `grammar.py` of the room `http`.)
    """
    if allowed is None:
        return None
    for name, value in head.fields:
        if name == b'origin':
            return None if normalized(value.decode('latin-1')) in allowed else value
    return None

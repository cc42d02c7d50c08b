"""Accepting: the headers of `websocket.accept`, which are fields of the answer 101."""

from __future__ import annotations

from collections.abc import Iterable

from ..typed import Any

# They frame the answer, which is the server's affair: left out, as Transfer-Encoding is in others.
# (What belongs to the handshake, `WebSocket.accept` refuses.)
_LEFT_OUT = frozenset((b'connection', b'upgrade', b'content-length', b'transfer-encoding'))


def own_fields(headers: Iterable[Any]) -> list[tuple[str, str]]:
    """Return the application's fields. Raises `TypeError` for what is no pair of bytes."""
    fields = []
    for pair in headers:
        try:
            name, value = map(bytes, pair)
        except (TypeError, ValueError) as error:
            raise TypeError(f'a header is a pair of bytes: {pair!r:.200}') from error
        if name.lower() not in _LEFT_OUT:
            fields.append((name.decode('latin-1'), value.decode('latin-1')))
    return fields

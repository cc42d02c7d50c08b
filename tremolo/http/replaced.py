"""Replaced: what becomes of the status and the fields when another answer takes their place."""

from __future__ import annotations

from collections.abc import Iterable

from ..typed import Any
from .encoder import encode
from .errors import HeaderError
from .headers import Headers
from .response import status_line

# Fields that describe a body, beside those that begin with Content-.
_OF_A_BODY = frozenset((
    'digest', 'etag', 'last-modified', 'repr-digest', 'trailer', 'transfer-encoding'))
# Fields that let others keep an answer. An answer that nobody meant must not be kept.
_OF_CACHES = frozenset(('cache-control', 'expires'))
# Fields that have several lines: those of the new answer stand beside those of the old one.
_ADDED = frozenset(('set-cookie', 'vary'))


def fields_kept(headers: Headers, meant: bool) -> Headers | None:
    """Remove what describes a body, and return the rest.

    If the new answer is not `meant`, what caches read goes too. Then there are none, if those that
    are left cannot be sent: that may be the reason for the new answer, which has to be sent.
    """
    for name in headers:
        lower = name.lower()
        if _describes_body(lower) or (not meant and lower in _OF_CACHES):
            del headers[name]
    try:
        if not meant:
            encode(headers.raw_items(), refuse_coding=True)
    except HeaderError:
        return None
    return headers


def replace_fields(headers: Headers, fields: Iterable[tuple[str, str]]) -> None:
    """Set the fields of a new answer. Raises `HeaderError` before anything is changed."""
    new = Headers(fields)
    for name in new:
        if name in headers and name.lower() not in _ADDED:
            del headers[name]
    for name, value in new.items():
        headers.add(name, value)


def checked_status(status: Any) -> tuple[int, str | None]:
    """Return a status and its phrase. Raises `HeaderError`, which says what to write instead."""
    pair = isinstance(status, tuple) and len(status) == 2
    code, reason = status if pair else (status, None)
    if not isinstance(code, int) or not 200 <= code <= 599:
        raise HeaderError(f'{code!r:.64} is no status of a final answer (200..599){_instead(code)}')
    if reason is not None and not isinstance(reason, str):
        raise HeaderError(f"the reason {reason!r:.64} is no str: write ({int(code)}, 'Lost')")
    status_line(code, reason)
    return code, reason


def _describes_body(name: str) -> bool:
    # (Content-Security-Policy is a rule for the page that is shown, whatever it holds.)
    return name in _OF_A_BODY or (
        name.startswith('content-') and not name.startswith('content-security-policy'))


def _instead(code: Any) -> str:
    if isinstance(code, str) and code.strip()[:3].isdigit():
        return f': write {code.strip()[:3]}'
    if isinstance(code, tuple):
        return ": write 404, or (404, 'Lost')"
    return {101: ': call response.upgrade(protocol)',
            103: ': call response.hint(fields)'}.get(code, '') if isinstance(code, int) else ''

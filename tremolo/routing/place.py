"""Place: where paths end, and what a search has found. Exact paths need nothing else of this room.

(The tree, patterns and converters are imported with the first path that has groups.)
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from ..typed import Any, Generic, TypeVar

T = TypeVar('T')
# What stands unescaped in a segment (RFC 3986 section 3.3: pchar).
_PCHAR = "!$&'()*+,;=:@-._~"


def quoted(parts: list[str], path: str) -> str:
    """Return segments as a part of a URL, percent-encoded; `path` is the route's, for the error.

    Raises `ValueError` for a segment that no URL has.
    """
    text = '/'.join(parts)
    if any(part in ('.', '..') for part in parts):
        # (Every client takes them away, also when they are percent-encoded.)
        raise ValueError(f'{text!r:.64} for {path!r}: no URL has a segment . or ..')
    try:
        return '/'.join([quote(part, safe=_PCHAR) for part in parts])
    except UnicodeEncodeError:
        raise ValueError(f'{text!r:.64} for {path!r} is not UTF-8') from None


def encoded(path: str) -> bytes:
    """Return an exact path as it usually stands on the wire."""
    return quote(path, safe='/' + _PCHAR).encode('ascii')


class Place(Generic[T]):
    """Where paths of one shape end: the target of each method."""

    def __init__(self) -> None:
        self.methods: dict[str, T] = {}
        self.joins = False    # Whether one of the groups is a <path:name>.
        # The names of the groups, which may differ from method to method.
        self.names: dict[str, tuple[str, ...]] = {}
        # The path of each method that was registered. (HEAD may be there as a companion of GET.)
        self._paths: dict[str, str] = {}

    def add(self, path: str, targets: Mapping[str, T], names: tuple[str, ...], head: bool) -> None:
        """Add the targets of methods. Raises `ValueError` if one of them has one."""
        for method in targets:
            if method in self._paths:
                other = self._paths[method]
                by = '' if other == path else f', by {other}'
                raise ValueError(f'{method} {path} is served already{by}')
        if head and 'GET' in targets and 'HEAD' not in self._paths:
            self.methods['HEAD'], self.names['HEAD'] = targets['GET'], names
        for method, target in targets.items():
            self.methods[method], self.names[method] = target, names
            self._paths[method] = path


class Search(Generic[T]):
    """What a search has found. (Made without an `__init__`: it is made for each request.)"""

    __slots__ = ('groups', 'methods', 'target')

    # What answers; None if nothing has this method.
    target: T | None
    groups: dict[str, Any]
    # All that matches the path and has not this method: the targets by their methods.
    methods: list[dict[str, T]]


class Span:
    """The segments of a <path:name>. (They are joined at the end, not in vain for each node.)"""

    __slots__ = ('start', 'stop')

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop

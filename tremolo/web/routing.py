"""Router: from a method and a path to a route.

There are three kinds of paths. An exact path is looked up in a dictionary; then the patterns, which
are the other two, are tried in the order in which they were registered:

    '/page'                   exactly this path
    '/page/<int:id>'          named groups: <name> (no slash), <int:name>, <path:name> (slashes too)
    r'^/page/(?P<id>\\d+)$'   a regular expression, which must match the whole path

Paths are compared percent-decoded. What no route has may be below the path of a folder of files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from urllib.parse import quote

from ..late import expression
from ..typed import Any, Callable, Generic, TypeVar

_GROUP = expression(r'<(?:(?P<kind>[a-z]+):)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)>')
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    'str': ('[^/]+', str),
    # ASCII digits only: int() itself accepts a sign, underscores and Arabic digits.
    'int': ('[0-9]{1,18}', int),
    'path': ('.+', str),
}

T = TypeVar('T')


class Route(Generic[T]):
    """One path, and the target of each of its methods."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.methods: dict[str, T] = {}
        self.pattern: re.Pattern[str] | None = None
        self.converters: dict[str, Callable[[str], Any]] = {}
        try:
            if path.startswith('^'):
                self.pattern = re.compile(path)
            elif '<' in path:
                self.pattern = re.compile(self._expression(path), re.DOTALL)
        except re.error as error:
            raise ValueError(f'the path {path!r} is malformed: {error}') from error
        if not path.startswith(('/', '^')):
            raise ValueError(f'the path {path!r} begins neither with / nor, as a pattern, with ^')

    @property
    def groups(self) -> set[str]:
        """The names of the path's groups."""
        return set(self.pattern.groupindex) if self.pattern is not None else set()

    def match(self, path: str) -> dict[str, Any] | None:
        """Return the values of the groups, or None if the path does not match.

        An optional group that took no part in the match has the value None.
        """
        found = self.pattern.fullmatch(path) if self.pattern is not None else None
        if found is None:
            return None
        return {
            name: self.converters[name](value) if name in self.converters and value else value
            for name, value in found.groupdict().items()
        }

    def _expression(self, path: str) -> str:
        """Return the regular expression of a path with `<groups>`, and keep their converters."""
        text, end = '', 0
        for group in _GROUP.finditer(path):
            kind, name = group['kind'] or 'str', group['name']
            if kind not in _KINDS:
                raise ValueError(f'{path!r}: no such kind {kind!r}; there are {", ".join(_KINDS)}')
            pattern, self.converters[name] = _KINDS[kind]
            text += f'{re.escape(path[end:group.start()])}(?P<{name}>{pattern})'
            end = group.end()
        rest = path[end:]
        if not end or '<' in rest or not path.startswith('/'):
            raise ValueError(f'the path {path!r} is malformed: write /page/<int:id>')
        return text + re.escape(rest)


class Router(Generic[T]):
    """All routes of an application."""

    def __init__(self) -> None:
        self._routes: dict[str, Route[T]] = {}
        # The methods of each exact path, by the path as it stands on the wire. Most requests find
        # their route here, without decoding.
        self.exact: dict[bytes, dict[str, T]] = {}
        self._patterns: list[Route[T]] = []
        # Below each of these paths all is answered by one target. The longest are the first.
        self._below: list[Route[T]] = []

    def add(self, path: str, methods: Collection[str], target: T) -> Route[T]:
        """Add a route for methods of a path. Raises `ValueError` if one of them has a route."""
        route = self._routes.get(path)
        if route is None:
            route = self._routes[path] = Route(path)
            if route.pattern is None:
                self.exact[quote(path, safe="/!$&'()*+,;=:@-._~").encode('ascii')] = route.methods
            else:
                self._patterns.append(route)
        for method in methods:
            if method in route.methods:
                raise ValueError(f'{method} {path} is served already')
        route.methods.update((method, target) for method in methods)
        return route

    def add_below(self, path: str, methods: Collection[str], target: T) -> None:
        """Let a target answer a path and all below it that has no route of its own.

        Raises `ValueError` if the path has such a target already.
        """
        route: Route[T] = Route(path.rstrip('/') + '/')
        if any(each.path == route.path for each in self._below):
            raise ValueError(f'all below {route.path} is served already')
        route.methods.update((method, target) for method in methods)
        self._below.append(route)
        self._below.sort(key=lambda each: -len(each.path))

    def methods(self) -> set[str]:
        """Return the methods of all routes."""
        return {method for route in (*self._routes.values(), *self._below)
                for method in route.methods}

    def listed(self) -> Iterator[tuple[str, Collection[str]]]:
        """Give the path of each route as it was written, with its methods."""
        return ((route.path, route.methods) for route in (*self._routes.values(), *self._below))

    def find(self, path: str) -> tuple[Route[T], dict[str, Any]] | None:
        """Return the route of a decoded path and the values of its groups, or None."""
        route = self._routes.get(path)
        if route is not None and route.pattern is None:
            return route, {}
        for route in self._patterns:
            groups = route.match(path)
            if groups is not None:
                return route, groups
        for route in self._below:
            if f'{path}/'.startswith(route.path):
                return route, {}
        return None

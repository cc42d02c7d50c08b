"""Router: all routes of an application.

    router.add('/page/<int:id>', {'GET': target})
    router.find('GET', b'/page/7').target

A path is compared as it stands on the wire: it is parted at its slashes, and then each segment is
percent-decoded as UTF-8 (other bytes become U+FFFD). So `%2F` parts nothing. Three kinds of paths
are looked at in this order, and then the folders of files:

    '/page'                   exactly this path: a dictionary
    '/page/<int:id>'          named groups: a tree (tree.py)
    r'^/page/(?P<id>\\d+)$'   an expression of one's own, which must match the whole decoded path:
                              one after the other, in the order in which they were registered;
                              one that may take more than linear time is refused (ambiguity.py)

What matches and has not the method is passed over: the next may have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote_to_bytes

from ..typed import TYPE_CHECKING, Any, Generic, TypeVar
from .place import Place, Search, Span, encoded, quoted

if TYPE_CHECKING:
    from .converters import Converters
    from .pattern import Pattern
    from .tree import Node

T = TypeVar('T')


class Route(Generic[T]):
    """A path as it was registered, and what answers it."""

    def __init__(self, path: str, targets: Mapping[str, T], name: str,
                 pattern: Pattern | None) -> None:
        self.path = path
        self.targets = targets    # By their methods.
        self.name = name
        self.pattern = pattern    # None: it has no groups, or is an expression of one's own.

    def url(self, groups: Mapping[str, Any]) -> str:
        """Return the URL with these groups. Raises `ValueError` for a value that it cannot have."""
        url = quoted(self.path.split('/'), self.path) if self.pattern is None else (
            self.pattern.url(groups))
        if url.startswith('//'):
            raise ValueError(f'{url!r:.64} would be the URL of another host')
        return url

    def takes(self, groups: Mapping[str, Any]) -> bool:
        """Tell whether a URL may have these groups."""
        names = () if self.pattern is None else self.pattern.names
        return not self.path.startswith('^') and {*names} == groups.keys()


class Router(Generic[T]):
    """All routes of an application."""

    def __init__(self) -> None:
        self._converters: Converters | None = None
        # All of them, as they were registered.
        self.routes: list[Route[T]] = []
        # The methods of each exact path, by the path as it stands on the wire. Most requests find
        # their target here, without decoding.
        self.exact: dict[bytes, dict[str, T]] = {}
        self._plain: dict[str, Place[T]] = {}    # The same by the decoded path.
        # Of the paths with groups, if there are any, and the search in it (`tree.walk`).
        self._tree: Node[T] | None = None
        self._walk: Any = None
        self._expressions: dict[str, tuple[re.Pattern[str], Place[T]]] = {}
        # Below each of these paths all is answered by one target: its segments.
        self._below: dict[tuple[str, ...], Place[T]] = {}
        self._depths: list[int] = []    # Their lengths, the longest first.

    @property
    def converters(self) -> Converters:
        """The kinds of groups."""
        if self._converters is None:
            # Late: many programs have no groups. (No request is the first that needs this.)
            from .converters import Converters
            self._converters = Converters()
        return self._converters

    def _pattern_of(self, path: str) -> Pattern | None:
        """Take a path apart; None: it has no groups. Raises `ValueError` for a malformed one."""
        if path.startswith('/') and '<' not in path:
            return None
        from .pattern import Pattern  # Late, as above.
        return Pattern(path, self.converters)

    def groups_of(self, path: str) -> tuple[str, ...]:
        """Return the names of the groups of a path. Raises `ValueError` for a malformed one."""
        if path.startswith('^'):
            return tuple(_compiled(path).groupindex)
        pattern = self._pattern_of(path)
        return () if pattern is None else pattern.names

    def add(self, path: str, targets: Mapping[str, T], *, name: str = '',
            head: bool = True) -> None:
        """Add a route: the targets of methods. With `head` that of GET answers HEAD, too.

        (Unless another target is for HEAD, here or in another route of the path.)

        Raises `ValueError` for a malformed path, and if one of the methods has a route.
        """
        pattern = None
        if path.startswith('^'):
            compiled = _compiled(path)
            from .ambiguity import fault_of  # Late, as above.
            fault = fault_of(path)
            if fault:
                raise ValueError(f'the path {path!r} {fault}')
            _, place = self._expressions.setdefault(path, (compiled, Place()))
            names = tuple(compiled.groupindex)
        else:
            pattern = self._pattern_of(path)
            names = () if pattern is None else pattern.names
            if pattern is None:
                place = self._plain.setdefault(path, Place())
                self.exact[encoded(path)] = place.methods
            else:
                if self._tree is None:
                    from .tree import Node, walk  # Late, as above.
                    self._tree, self._walk = Node(), walk
                place = self._tree.place_of(pattern.segments[1:])
        place.add(path, targets, names, head)
        self.routes.append(Route(path, targets, name, pattern))

    def add_below(self, path: str, targets: Mapping[str, T]) -> None:
        """Let a target answer a path and all below it that nothing else answers.

        `Each(target)` has all methods. Raises `ValueError` if the path has such a target already.
        """
        segments = tuple(path.rstrip('/').split('/'))
        if segments in self._below:
            raise ValueError(f"all below {path.rstrip('/')}/ is served already")
        place = self._below[segments] = Place()
        if isinstance(targets, Each):
            place.methods = targets
        else:
            place.add(path, targets, (), True)
        self._depths = sorted({*self._depths, len(segments)}, reverse=True)

    def methods(self) -> set[str]:
        """Return the methods of all routes."""
        return {method for each in (*(route.targets for route in self.routes),
                                    *(place.methods for place in self._below.values()))
                for method in each}

    def listed(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Give the path of each route and folder as it was registered, with methods."""
        yield from ((route.path, route.targets) for route in self.routes)
        yield from (('/'.join((*each, '')), {*place.methods} - {'HEAD'})
                    for each, place in self._below.items())

    def find(self, method: str, raw_path: bytes) -> Search[T]:
        """Return what answers a method of a path as it came (without its query).

        `target` is None if nothing does; then `methods` has what matches with other methods, each
        as a dictionary from methods to targets. What a converter raises, but `ValueError`, passes.
        """
        try:
            path = raw_path.decode()
        except UnicodeDecodeError:
            path = raw_path.decode('utf-8', 'replace')
        segments = path.split('/')
        if '%' in path:
            path = unquote_to_bytes(raw_path).decode('utf-8', 'replace')
            segments = path.split('/')
            if len(segments) != raw_path.count(b'/') + 1:
                # A slash was escaped. (All at once is four times as fast as one by one.)
                segments = [unquote_to_bytes(each).decode('utf-8', 'replace')
                            for each in raw_path.split(b'/')]
        search: Search[T] = Search()
        search.methods = passed = []
        if path in self._plain and path.count('/') == len(segments) - 1:
            # (A path that has a slash in one of its segments is no exact one.)
            place = self._plain[path]
            if method in place.methods:
                search.target, search.groups = place.methods[method], {}
                return search
            passed.append(place.methods)
        values: list[Any] = []
        found: Place[T] | None = None
        if self._tree is not None and not segments[0]:
            # (The tree begins behind the first slash.)
            found = self._walk(self._tree, 1, segments, method, values, passed)
        if found is None:
            search.target, search.groups = self._find_further(method, path, segments, passed)
            return search
        search.target, names = found.methods[method], found.names[method]
        if found.joins:
            values = ['/'.join(segments[value.start:value.stop]) if type(value) is Span else value
                      for value in values]
        # (Most have one group: `zip` would be a tenth of the search, measured.)
        search.groups = {names[0]: values[0]} if len(names) == 1 else dict(zip(names, values))
        return search

    def _find_further(self, method: str, path: str, segments: list[str],
                      passed: list[dict[str, T]]) -> tuple[T | None, dict[str, Any]]:
        """Look at the expressions of one's own and the folders; return the target and groups."""
        for compiled, place in self._expressions.values():
            match = compiled.fullmatch(path)
            if match is not None:
                if method in place.methods:
                    return place.methods[method], match.groupdict()
                passed.append(place.methods)
        for depth in self._depths:
            below = self._below.get(tuple(segments[:depth]))
            if below is not None:
                if method in below.methods:
                    return below.methods[method], {}
                passed.append(below.methods)
                break    # What the longest path has not is not looked for in the others.
        return None, {}

    def url(self, name: str, groups: Mapping[str, Any]) -> str:
        """Return the path of the first route with this name and these groups, percent-encoded.

        Raises `ValueError` that says what there is, and for a value that its group does not take.
        """
        named = [route for route in self.routes if route.name == name]
        if not named:
            if callable(name):
                raise ValueError(f'{name!r:.64} is no name: write '
                                 f'{getattr(name, "__name__", "")!r}')
            there = ', '.join(dict.fromkeys(each.name for each in self.routes if each.name))
            hint = ("; the URL of a file is its folder's path and its own name, as '/assets/a.css'"
                    if name == 'static' else '')
            raise ValueError(f'no route has the name {name!r:.64}: there are {there or "none"}'
                             f'{hint}')
        fault: ValueError | None = None
        for route in named:
            if route.takes(groups):
                try:
                    return route.url(groups)
                except ValueError as error:
                    fault = fault or error
        given = ', '.join(groups) or 'none'
        paths = ', '.join(dict.fromkeys(route.path for route in named))
        raise fault or ValueError(f'{name!r:.64} has no route with these groups ({given}): there '
                                  f'is {paths} (no URL is made of a path that begins with ^)')


class Each(dict[str, T]):
    """The targets of all methods there are: one. (It names none of them.)"""

    def __init__(self, target: T) -> None:
        super().__init__()
        self._target = target

    def __contains__(self, method: object) -> bool:
        return True

    def __missing__(self, method: str) -> T:
        return self._target


def _compiled(path: str) -> re.Pattern[str]:
    try:
        return re.compile(path)
    except re.error as error:
        raise ValueError(f'the path {path!r} is malformed: {error}') from error

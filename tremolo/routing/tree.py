"""Tree: the paths with groups, by their segments; and the search of a path in it.

Each node stands for a beginning of paths. At each segment the ways on are tried in this order, and
not in that of registration:

    1  the same text
    2  converters: one's own in the order in which they were set, then int, float, uuid
    3  mixed segments: the longest text before its first group first, then behind its last
    4  <name>
    5  <path:name>: first the path with the most segments behind it

Where a way ends without an answer the search goes back and tries the next one. That costs no more
than a step for each node, however long the path is: a node is reached at one place of the path
only. It is as many segments from the begin as the node is from the root, and behind a <path:name>
as many from the end as follow in the pattern. (So there is one <path:name> in a pattern.) A search
that finds all methods for a 405 is as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..typed import Any, Generic, TypeVar
from .converters import NO_VALUE, PATH, STR, Converter
from .pattern import Segment

T = TypeVar('T')


class Place(Generic[T]):
    """Where paths of one shape end: the target of each method."""

    def __init__(self) -> None:
        self.methods: dict[str, T] = {}
        # The names of the groups, which may differ from method to method.
        self.names: dict[str, tuple[str, ...]] = {}
        # The path of each method that was registered. (HEAD may be there as a companion of GET.)
        self._paths: dict[str, str] = {}

    def add(self, path: str, methods: Sequence[str], target: T, names: tuple[str, ...],
            head: bool) -> None:
        """Add a target for methods. Raises `ValueError` if one of them has one."""
        for method in methods:
            if method in self._paths:
                other = self._paths[method]
                by = '' if other == path else f', by {other}'
                raise ValueError(f'{method} {path} is served already{by}')
        if head and 'GET' in methods and 'HEAD' not in self._paths:
            self.methods['HEAD'], self.names['HEAD'] = target, names
        for method in methods:
            self.methods[method], self.names[method] = target, names
            self._paths[method] = path


class Node(Generic[T]):
    """A beginning of paths, and the ways on from it."""

    __slots__ = ('converted', 'mixed', 'named', 'place', 'plain', 'rest')

    def __init__(self) -> None:
        self.place: Place[T] | None = None
        self.plain: dict[str, Node[T]] = {}
        self.converted: list[tuple[Converter, Node[T]]] = []
        self.mixed: Mixed[T] | None = None
        self.named: Node[T] | None = None
        # Behind a <path:name>, by the number of segments that follow, most first.
        self.rest: list[tuple[int, Node[T]]] = []

    def place_of(self, segments: Sequence[Segment]) -> Place[T]:
        """Return the place of a pattern below this node; it is made if it is not there."""
        node = self
        for index, segment in enumerate(segments):
            node = node._way(segment, len(segments) - index - 1)
        if node.place is None:
            node.place = Place()
        return node.place

    def _way(self, segment: Segment, following: int) -> Node[T]:
        """Return the node behind a segment."""
        texts, converters = segment
        if not converters:
            return self.plain.setdefault(texts[0], Node())
        if texts != ('', ''):
            self.mixed = self.mixed or Mixed()
            return self.mixed.way(segment)
        converter, = converters
        if converter is STR:
            self.named = self.named or Node()
            return self.named
        ways: list[Any] = self.rest if converter is PATH else self.converted
        key = following if converter is PATH else converter
        for found, node in ways:
            if found == key:
                return node    # type: ignore[no-any-return]
        node = Node()
        ways.append((key, node))
        self.rest.sort(key=lambda way: -way[0])
        self.converted.sort(key=lambda way: way[0].rank)
        return node


class Mixed(Generic[T]):
    """The mixed segments behind a node, by the texts at their begin and their end.

    Only those that differ in nothing but what is between are tried one after the other.
    """

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str], list[tuple[Segment, Node[T]]]] = {}
        # The lengths of the begins, and for each begin those of the ends, the longest first.
        self._begins: list[int] = []
        self._ends: dict[str, list[int]] = {}

    def way(self, segment: Segment) -> Node[T]:
        """Return the node behind a segment; it is made if it is not there."""
        begin, end = segment.texts[0], segment.texts[-1]
        ways = self._ways.setdefault((begin, end), [])
        for found, node in ways:
            if found == segment:
                return node
        ways.append((segment, Node()))
        ends = self._ends.setdefault(begin, [])
        ends[:] = sorted({*ends, len(end)}, reverse=True)
        self._begins = sorted({*self._begins, len(begin)}, reverse=True)
        return ways[-1][1]

    def candidates(self, text: str) -> Iterator[tuple[Segment, Node[T]]]:
        """Return those that begin and end as the text does."""
        size = len(text)
        for length in self._begins:
            begin = text[:length]
            for end in self._ends.get(begin, ()):
                if length + end < size:
                    yield from self._ways.get((begin, text[size - end:]), ())


class Search(Generic[T]):
    """One search, and what it has found."""

    __slots__ = ('_method', '_segments', '_values', 'groups', 'methods', 'target')

    def __init__(self, method: str, segments: list[str]) -> None:
        self._method = method
        self._segments = segments
        self._values: list[Any] = []    # Of the groups on the way to where the search stands.
        # What answers; None if nothing has this method.
        self.target: T | None = None
        self.groups: dict[str, Any] = {}
        # All that matches the path and has not this method: the targets by their methods.
        self.methods: list[dict[str, T]] = []

    def take(self, place: Place[T] | None, groups: dict[str, Any] | None = None) -> bool:
        """Take what the path has led to, and tell whether that ends the search."""
        if place is None:
            return False
        self.target = place.methods.get(self._method)
        if self.target is None:
            self.methods.append(place.methods)
            return False
        if groups is None:
            groups = dict(zip(place.names[self._method], map(self._joined, self._values)))
        self.groups = groups
        return True

    def _joined(self, value: Any) -> Any:
        # (Joined at the end: on the way it may be joined in vain for each node.)
        return '/'.join(self._segments[value.start:value.stop]) if type(value) is _Span else value

    def walk(self, node: Node[T], index: int) -> bool:
        """Go on from a node with this segment, and tell whether that ends the search."""
        segments = self._segments
        if index == len(segments):
            return self.take(node.place)
        text = segments[index]
        way = node.plain.get(text)
        if way is not None and self.walk(way, index + 1):
            return True
        if text:    # (No group is empty.)
            for converter, way in node.converted:
                value = converter.read(text)
                if value is not NO_VALUE and self._on(way, index + 1, value):
                    return True
            if node.mixed is not None:
                for segment, way in node.mixed.candidates(text):
                    found = segment.read(text)
                    if found is not None and self._on(way, index + 1, *found):
                        return True
            if node.named is not None and self._on(node.named, index + 1, text):
                return True
        for following, way in node.rest:
            end = len(segments) - following
            if (end > index + 1 or (end == index + 1 and text)) \
                    and self._on(way, end, _Span(index, end)):
                return True
        return False

    def _on(self, node: Node[T], index: int, *found: Any) -> bool:
        """Go on from a node, with the values of the groups before it."""
        values = self._values
        values += found
        if self.walk(node, index):
            return True
        del values[len(values) - len(found):]
        return False


class _Span:
    """The segments of a <path:name>."""

    __slots__ = ('start', 'stop')

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop

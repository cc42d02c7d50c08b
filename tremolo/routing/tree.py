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
from .place import Place, Span

T = TypeVar('T')


class Node(Generic[T]):
    """A beginning of paths, and the ways on from it."""

    __slots__ = ('converted', 'mixed', 'named', 'only', 'only_plain', 'place', 'plain', 'rest')

    def __init__(self) -> None:
        self.place: Place[T] | None = None
        self.plain: dict[str, Node[T]] = {}
        self.converted: list[tuple[Converter, Node[T]]] = []
        self.mixed: Mixed[T] | None = None
        self.named: Node[T] | None = None
        # Behind a <path:name>, by the number of segments that follow, most first.
        self.rest: list[tuple[int, Node[T]]] = []
        self.only_plain = True    # Whether all ways on are texts.
        # The way on and its converter, if it is the only one.
        self.only: tuple[Converter, Node[T]] | None = None

    def place_of(self, segments: Sequence[Segment]) -> Place[T]:
        """Return the place of a pattern below this node; it is made if it is not there."""
        node = self
        for index, segment in enumerate(segments):
            way = node._way(segment, len(segments) - index - 1)
            converted = [*node.converted, *([(STR, node.named)] if node.named else [])]
            others = (*node.plain, *node.rest, *([node.mixed] if node.mixed else []))
            node.only_plain = not converted and len(others) == len(node.plain)
            node.only = converted[0] if len(converted) == 1 and not others else None
            node = way
        if node.place is None:
            node.place = Place()
            node.place.joins = any(PATH in segment.converters for segment in segments)
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


def walk(node: Node[T], index: int, segments: list[str], method: str, values: list[Any],
         passed: list[dict[str, T]]) -> Place[T] | None:
    """Go on from a node with this segment; return the first place that has the method. Hot.

    `values` are those of the groups on the way to the node, and at last to the place. The methods
    of each place without this method are added to `passed`.
    """
    size = len(segments)
    while index < size:
        # (No recursion where there is nothing to go back to.)
        if node.only_plain:
            way = node.plain.get(segments[index])
            if way is None:
                return None
            node = way
        elif node.only is not None:
            value = node.only[0].read(segments[index])
            if value is NO_VALUE:
                return None
            values.append(value)
            node = node.only[1]
        else:
            break
        index += 1
    else:
        place = node.place
        if place is None or method in place.methods:
            return place
        passed.append(place.methods)
        return None
    known = len(values)
    for way, after, found in ways(node, index, segments):
        values += found
        place = walk(way, after, segments, method, values, passed)
        if place is not None:
            return place
        del values[known:]
    return None


def ways(node: Node[T], index: int, segments: list[str]
         ) -> Iterator[tuple[Node[T], int, Sequence[Any]]]:
    """Give the ways on from a node, the best first: the next node, its segment, the values."""
    text, after, size = segments[index], index + 1, len(segments)
    if text in node.plain:
        yield node.plain[text], after, ()
    if text:    # (No group is empty.)
        for converter, way in node.converted:
            value = converter.read(text)
            if value is not NO_VALUE:
                yield way, after, (value,)
        if node.mixed is not None:
            for segment, way in node.mixed.candidates(text):
                values = segment.read(text)
                if values is not None:
                    yield way, after, values
        if node.named is not None:
            yield node.named, after, (text,)
    for following, way in node.rest:
        end = size - following
        if end > after or (end == after and text):
            yield way, end, (Span(index, end),)

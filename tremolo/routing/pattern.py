"""Pattern: a path with groups, taken apart; and the URLs that lead to it.

    /notes/<int:id>/file-<name>.txt
     plain  a group  mixed: text and groups in one segment
"""

from __future__ import annotations

from collections.abc import Mapping

from ..late import expression
from ..typed import Any, NamedTuple
from .converters import NO_VALUE, PATH, STR, Converter, Converters
from .place import quoted

_GROUP = expression(r'<(?:([A-Za-z_][A-Za-z0-9_]*):)?([A-Za-z_][A-Za-z0-9_]*)>')
# A mixed segment may be parted in many ways; after so many that do not match it is given up. So the
# time grows with the segment's length and not with its square.
_MOST_WAYS = 100


class Segment(NamedTuple):
    """What stands between two slashes: text and groups in turns; `texts` has one more."""

    texts: tuple[str, ...]
    converters: tuple[Converter, ...] = ()

    def read(self, text: str) -> list[Any] | None:
        """Return the values of the groups of a mixed segment, None if it does not match.

        What does not match is parted again, `_MOST_WAYS` times at most: the groups on the left take
        as much as they can, as in an expression.
        """
        begin, end = len(self.texts[0]), len(text) - len(self.texts[-1])
        if not (text.startswith(self.texts[0]) and text.endswith(self.texts[-1])):
            return None
        return self._values(text[begin:end], len(self.converters) - 1, [_MOST_WAYS])

    def _values(self, text: str, last: int, ways: list[int]) -> list[Any] | None:
        """Return the values of the groups up to this one, if they are all of the text."""
        converter, between = self.converters[last], self.texts[last]
        if not last:
            value = converter.read(text)
            return None if value is NO_VALUE else [value]
        size = len(between)
        # (Each group has a character or more.)
        at = text.rfind(between, 1, len(text) - 1)
        while at > 0 and ways[0]:
            ways[0] -= 1
            value = converter.read(text[at + size:])
            if value is not NO_VALUE:
                before = self._values(text[:at], last - 1, ways)
                if before is not None:
                    return [*before, value]
            at = text.rfind(between, 1, at + size - 1)
        return None


class Pattern:
    """A path as it was registered: its segments, and the names of its groups in their order."""

    def __init__(self, path: str, converters: Converters) -> None:
        """Take it apart. Raises `ValueError` that says what is wrong."""
        self.path = path
        self._converters = converters
        self._kinds: list[Converter] = []
        names: list[str] = []
        self.segments = [self._segment(text, names) for text in path.split('/')]
        self.names = tuple(names)
        if not path.startswith('/'):
            raise ValueError(f'the path {path!r} begins neither with / nor, as a pattern, with ^')
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'the path {path!r} has two groups {name!r}: give each a name of '
                                 'its own')
        if self._kinds.count(PATH) > 1:
            raise ValueError(f'the path {path!r} has two groups <path:...>, and nobody could say '
                             'where the first one ends: write <name> for all but one')

    def _segment(self, text: str, names: list[str]) -> Segment:
        """Take a segment apart, and add the names of its groups."""
        texts: list[str] = []
        converters: list[Converter] = []
        end = 0
        for group in _GROUP.finditer(text):
            kind, name = group.groups()
            converter = self._converters.of(kind or 'str')
            if converter is None:
                raise ValueError(
                    f'the path {self.path!r} has the unknown converter {kind!r}: there are '
                    f"{', '.join(self._converters)}; set one of your own before the route, "
                    f'app.converters[{kind!r}] = (pattern, from_text, to_text)')
            if converters and group.start() == end:
                raise ValueError(f'the path {self.path!r} has two groups side by side: write a '
                                 'text between them')
            texts.append(text[end:group.start()])
            converters.append(converter)
            names.append(name)
            end = group.end()
        texts.append(text[end:])
        if any('<' in each for each in texts):
            raise ValueError(f'the path {self.path!r} is malformed: write /page/<int:id>')
        if PATH in converters and texts != ['', '']:
            raise ValueError(f'the path {self.path!r} has a <path:...> beside other text: it '
                             'stands alone between two slashes')
        self._kinds += converters
        return Segment(tuple(texts), tuple(converters))

    def url(self, groups: Mapping[str, Any]) -> str:
        """Return the path that has these values, percent-encoded.

        Raises `ValueError` for a value that its group would not read again as the same text.
        """
        names = iter(self.names)
        return '/'.join(self._written(segment, groups, names) for segment in self.segments)

    def _written(self, segment: Segment, groups: Mapping[str, Any], names: Any) -> str:
        text, texts = segment.texts[0], []
        for converter, after in zip(segment.converters, segment.texts[1:]):
            name = next(names)
            try:
                texts.append(converter.write(groups[name]))
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(f'{name} of {self.path!r}: {error}') from error
            text += texts[-1] + after
        mixed = Segment(segment.texts, (STR,) * len(texts)) if len(texts) > 1 else None
        if mixed is not None and mixed.read(text) != texts:
            raise ValueError(f'{text!r:.64} would not be read as the same groups of {self.path!r}')
        return quoted(text.split('/') if PATH in segment.converters else [text], self.path)

"""Converters: what the text of a group looks like, and which value it stands for.

    <name>, <str:name>    any text that is not empty                 str
    <int:name>            1 to 18 digits                             int
    <float:name>          digits, a point and digits behind them     float
                          or not, a minus before them or not
    <uuid:name>           8-4-4-4-12 hexadecimal digits, in both     uuid.UUID
                          cases (RFC 9562 section 4)
    <path:name>           one segment or more, with their slashes    str
    <date:name>           what `app.converters['date']` says

Digits are those of ASCII: `int` itself takes a sign, underscores and Arabic digits. They are
counted, so a number is as quickly read as it is sent, and is finite.
"""

from __future__ import annotations

import re
from collections import UserDict

from ..late import expression
from ..typed import TYPE_CHECKING, Any, Callable

NO_VALUE: Any = object()    # What `Converter.read` returns where the text does not match.
_NAME = expression('[A-Za-z_][A-Za-z0-9_]*')
_LAST = 1 << 30    # The rank of the first built-in converter: one's own come before it.


class Converter:
    """A kind of group: its expression, and the two functions between its text and its value."""

    def __init__(self, name: str, pattern: str, from_text: Callable[[str], Any],
                 to_text: Callable[[Any], str], rank: int) -> None:
        self.name = name
        self.pattern = pattern
        self.from_text = from_text
        self.to_text = to_text
        # Of two converters that match the same segment, that of the lower rank comes first.
        self.rank = rank
        # (By itself: groups, numbers and flags in it are its own. Compiled late: few are used.)
        self._expression = expression(pattern, re.DOTALL)

    def read(self, text: str) -> Any:
        """Return the value of a text; `NO_VALUE` if it is none. (No pattern matches empty text.)"""
        if self._expression.fullmatch(text) is None:
            return NO_VALUE
        try:
            return self.from_text(text)
        except ValueError:
            return NO_VALUE

    def write(self, value: Any) -> str:
        """Return the text of a value. Raises `ValueError` if it would not be read again."""
        if value is None or isinstance(value, bytes):
            raise ValueError(f'{value!r:.64} is no value of a URL')
        text = self.to_text(value)
        if not isinstance(text, str) or not text or self._expression.fullmatch(text) is None:
            raise ValueError(f'{value!r:.64} does not match <{self.name}:...>')
        return text


class _Text(Converter):
    """Any text: needs no expression, and most groups are of this kind."""

    def read(self, text: str) -> Any:
        return text or NO_VALUE


class _Int(Converter):
    """Digits. (Without the expression: it would be a tenth of a search, measured.)"""

    def read(self, text: str) -> Any:
        return int(text) if text.isdigit() and text.isascii() and len(text) <= 18 else NO_VALUE


def _uuid(text: str) -> Any:
    from uuid import UUID  # (`Converters.of` has imported it.)
    return UUID(text)


STR = _Text('str', '.+', str, str, 0)
PATH = _Text('path', '.+', str, str, 0)
_BUILT_IN = (
    STR,
    _Int('int', '[0-9]{1,18}', int, str, _LAST),
    Converter('float', r'-?[0-9]{1,18}(\.[0-9]{1,24})?', float, str, _LAST + 1),
    Converter('uuid', '-'.join(f'[0-9A-Fa-f]{{{count}}}' for count in (8, 4, 4, 4, 12)),
              _uuid, str, _LAST + 2),
    PATH,
)

if TYPE_CHECKING:
    _Mapping = UserDict[str, Any]
else:
    _Mapping = UserDict


class Converters(_Mapping):
    """The converters by their names; one's own are set as a tuple of three.

        app.converters['date'] = (r'\\d{4}-\\d\\d-\\d\\d', date.fromisoformat, date.isoformat)

    The pattern must match the whole text of the group, of one segment and percent-decoded. Where
    `from_text` raises `ValueError`, the path does not match. `to_text` is for `url_for`. Setting
    raises `ValueError` for what is no converter, for a name that is there, and for a pattern that
    may take more than linear time (ambiguity.py).
    """

    def __init__(self) -> None:
        super().__init__()
        self.data.update((each.name, each) for each in _BUILT_IN)

    def __setitem__(self, name: str, parts: Any) -> None:
        write = f"write app.converters[{name!r:.64}] = (pattern, from_text, to_text)"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"the name of a converter is as that of a variable, not {name!r:.64}")
        if name in self.data:
            raise ValueError(f'there is a converter {name!r}: choose another name')
        if not isinstance(parts, tuple) or len(parts) != 3:
            raise ValueError(f'the converter {name!r} is no tuple of three: {write}')
        pattern, from_text, to_text = parts
        if not isinstance(pattern, str):
            raise ValueError(f'the pattern of the converter {name!r} is str: {write}')
        for function in from_text, to_text:
            if not callable(function):
                raise ValueError(f'the converter {name!r} needs two functions, and {function!r:.64}'
                                 f' is none: {write}')
        try:
            empty = re.compile(pattern, re.DOTALL).fullmatch('')
        except re.error as error:
            raise ValueError(f'the pattern of the converter {name!r} is malformed: {error}'
                             ) from error
        if empty is not None:
            raise ValueError(f'the pattern of the converter {name!r} matches an empty text, and no '
                             'group is empty: write + in the place of *')
        from .ambiguity import fault_of  # (Late: few set one, and no request does.)
        fault = fault_of(pattern, re.DOTALL)
        if fault:
            raise ValueError(f'the pattern of the converter {name!r} {fault}')
        self.data[name] = Converter(name, pattern, from_text, to_text, len(self.data))

    def of(self, name: str) -> Converter | None:
        """Return the converter of a path's group, None if there is none of this name."""
        if name == 'uuid':
            import uuid  # noqa: F401 (Late: few use it. Not later: no request imports.)
        converter: Converter | None = self.data.get(name)
        return converter

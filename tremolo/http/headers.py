"""Headers: the fields of a request or an answer, for handlers.

    headers = Headers([('Content-Type', 'text/plain')])
    headers['content-type']                     # names are case-insensitive: 'text/plain'
    headers.add('Set-Cookie', 'a=1')            # one more line; `headers[name] = value` replaces
    headers.get_all('set-cookie')
    headers.update({'X-A': '1', 'X-B': '2'})    # and `setdefault`, `pop`, as in a dictionary

Names and values are str. The lines keep their order, and the names their case. A line is checked
when it is set, and not again when it is sent (text_fields.py), so that the traceback
points at the line of the application that set it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..typed import Any
from .encoder import known_names
from .errors import HeaderError
from .text_fields import encode_pair

# Names that were checked, in lower case; at most so many, then it is emptied.
_lower: dict[str, str] = {}
_MOST_NAMES = 1024
# Fields of an answer that have a meaning for the server, beside their text.
_MEANT = frozenset((
    'connection', 'content-length', 'content-type', 'date', 'etag', 'last-modified', 'server',
    'transfer-encoding'))


class Headers:
    """Header fields: a case-insensitive mapping from a name to one value or several.

    A value is str, or an int (`headers['Retry-After'] = 120`), and is read as str. To set a line
    raises `HeaderError` if it may not be sent, `TypeError` if it is of another type.
    """

    __slots__ = ('_lines',)

    def __init__(self, pairs: Iterable[tuple[str, str | int]] = ()) -> None:
        # Each line: the name in lower case, the name as it was set, and the value. (A message has
        # about ten lines, so to look at all of them is faster than to keep a dictionary.)
        self._lines: list[tuple[str, str, str]] = []
        for name, value in pairs:
            self.add(name, value)

    @classmethod
    def from_wire(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Return the fields of a parsed request, which are valid, with names in lower case."""
        headers = cls()
        for raw_name, raw_value in pairs:
            name = raw_name.decode('ascii')
            headers._lines.append((name, name, raw_value.decode('latin-1')))
        return headers

    def __getitem__(self, name: str) -> str:
        """Return the first value of a field. Raises `KeyError`."""
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a field, or the default."""
        lower = name.lower()
        for key, _, value in self._lines:
            if key == lower:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Return the values of all lines of a field, in the order of the lines."""
        lower = name.lower()
        return [value for key, _, value in self._lines if key == lower]

    @property
    def validators(self) -> tuple[str | None, str | None]:
        """The ETag and the Last-Modified of an answer, None where there is none."""
        etag = modified = None
        for key, _, value in self._lines:
            if key == 'etag':
                etag = value
            elif key == 'last-modified':
                modified = value
        return etag, modified

    def __setitem__(self, name: str, value: str | int) -> None:
        """Replace all lines of a field by one, in the place of the first."""
        line = _checked(name, value)
        lower = line[0]
        for key, _, _ in self._lines:
            if key == lower:
                break
        else:
            self._lines.append(line)
            return
        first = [key for key, _, _ in self._lines].index(lower)
        self._lines = [each for each in self._lines if each[0] != lower]
        self._lines.insert(first, line)

    def add(self, name: str, value: str | int) -> None:
        """Add a line after all others."""
        self._lines.append(_checked(name, value))

    def update(self, fields: Headers | Mapping[str, str | int]
               | Iterable[tuple[str, str | int]]) -> None:
        """Set each of these fields, as `headers[name] = value` does."""
        for name, value in fields.items() if isinstance(fields, (Headers, Mapping)) else fields:
            self[name] = value

    def setdefault(self, name: str, value: str | int) -> str:
        """Set a field if there is none, and return its first value."""
        if name not in self:
            self[name] = value
        return self[name]

    def pop(self, name: str, default: str | None = None) -> str | None:
        """Remove all lines of a field, and return its first value, or the default."""
        value = self.get(name, default)
        if name in self:
            del self[name]
        return value

    def __delitem__(self, name: str) -> None:
        """Remove all lines of a field. Raises `KeyError` if there is none."""
        if name not in self:
            raise KeyError(name)
        lower = name.lower()
        self._lines = [line for line in self._lines if line[0] != lower]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        """Return the number of different names; `len(headers.items())` is that of the lines."""
        return len({key for key, _, _ in self._lines})

    def keys(self) -> list[str]:
        """Return each name once, in the order and the case of the first line of each."""
        first: dict[str, str] = {}
        for key, name, _ in self._lines:
            first.setdefault(key, name)
        return list(first.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def items(self) -> list[tuple[str, str]]:
        """Return all lines in order."""
        return [(name, value) for _, name, value in self._lines]

    def raw_items(self) -> list[tuple[bytes, bytes]]:
        """Return all lines in order as pairs of bytes, for `encode`."""
        return [(name.encode('ascii'), value.encode('latin-1')) for _, name, value in self._lines]

    def plain_lines(self) -> bytes | None:
        """Return all lines as they are sent, None if one has a meaning for the server. Hot.

        (Each was checked when it was set. To check them by `encode` again was a fifth of an answer
        with one field, measured.)
        """
        text = ''
        for key, name, value in self._lines:
            if key in _MEANT:
                return None
            text += f'{name}: {value}\r\n'
        return text.encode('latin-1')

    def __repr__(self) -> str:
        return f'Headers({self.items()!r})'


class SentHeaders(Headers):
    """Fields that are sent already: a change would be lost, and raises `HeaderError`."""

    __slots__ = ()

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._lines = [(name.lower(), name, value) for name, value in pairs]

    def __setitem__(self, name: str, value: str | int) -> None:
        raise HeaderError(f'the head is sent already: {name} would be lost')

    def __delitem__(self, name: str) -> None:
        raise HeaderError(f'the head is sent already: {name} cannot be removed')

    def add(self, name: str, value: str | int) -> None:
        """Refuse it."""
        self[name] = value


def _checked(name: str, value: str | int) -> tuple[str, str, str]:
    """Check a line as the encoder does, and return it as `Headers` keeps it. Hot."""
    text = value if type(value) is str else _as_text(value)
    if type(name) is str and type(text) is str:
        # Usually the name is known and the value is printable ASCII (a third faster, measured).
        lower = _lower.get(name)
        if (lower is not None and text.isascii() and text.isprintable()
                and text.strip() == text):
            return lower, name, text
    raw_name, _ = encode_pair(name, text)
    lower = name.lower()
    if raw_name in known_names:
        # (`>=`: reactors in several threads may each add a name at once.)
        if len(_lower) >= _MOST_NAMES:
            _lower.clear()
        _lower[name] = lower
    return lower, name, text


def _as_text(value: Any) -> Any:
    """Return an int as text, and any other value as it is."""
    return f'{value:d}' if isinstance(value, int) and not isinstance(value, bool) else value

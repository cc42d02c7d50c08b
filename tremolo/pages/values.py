"""Values: how the page of debug mode shows an object: in few characters, whatever it is.

What is shown was made by a program that has just failed, so nothing of it is trusted. A container
is read item by item, and no further than is shown. Any other object is asked for its own repr,
which may raise anything, be a query to a database, or never end: `read_values` does all of this on
a thread, and waits no longer than it is told.

A value whose name looks like that of a secret is not shown: the page may be sent to a colleague.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from threading import Thread

from ..escaped import lines
from ..typed import Any, Callable

LONGEST = 300    # Characters of a value.
MOST_VARIABLES = 40
HIDDEN = '***'

_DEEPEST = 4     # Containers in each other.
_SECRET = ('passw|passphrase|pwd|token|secret|key|cookie|auth(?!or)|authorization|credential|'
           'creds|jwt|session_?id|signature')
_secret_name = re.compile(_SECRET, re.IGNORECASE)
# `token=...`, `'token': '...'`, `(b'token', b'...')`: in a query, and in the repr of an object that
# is not ours. (A text has to be short: each name in it is tried to its end.)
_secret_value = re.compile(
    rf"""((?:{_SECRET})[\w.-]*(?:['"]\s*[:,]|['"]?\s*[=:])\s*(?:b(?=['"]))?)"""
    r"""('[^']*'?|"[^"]*"?|(?:(?:Basic|Bearer) +)?[^,;&)\s}]+)""", re.IGNORECASE)

# `postgres://name:password@host`, as settings and errors have it; the end may be cut off.
_url_password = re.compile(r'(://[^\s/:@\'"]{0,200}:)[^\s/@\'"]+(?=@|[\'"]?…)')

# How a container begins and ends. (A subclass is shown by its name, too.)
_CONTAINERS: dict[type, tuple[str, str]] = {
    dict: ('{', '}'), list: ('[', ']'), tuple: ('(', ')'), set: ('{', '}'),
    frozenset: ('frozenset({', '})'), deque: ('deque([', '])')}

# The name of a class. (Its own class may say something else, or raise.)
_name_of: Callable[[type], str] = type.__dict__['__name__'].__get__

# The thread whose time was over. As long as it runs no other is begun.
_late: list[Thread] = []


def is_secret(name: str) -> bool:
    """Whether a name looks like that of a secret."""
    return _secret_name.search(name) is not None


def without_secrets(text: str) -> str:
    """Return a text with the values of secrets hidden, as far as it says their names."""
    return _secret_value.sub(rf'\1{HIDDEN}', without_passwords(text))


def without_passwords(text: str) -> str:
    """Return a text with the passwords in its URLs hidden."""
    return _url_password.sub(rf'\1{HIDDEN}', text)


def printable(text: str) -> str:
    """Return a text in which each character can be seen: others, half of a pair too, by number."""
    return lines(text, indent='')


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return at most so many characters of a text, with a sign that there were more."""
    return text if len(text) <= longest else f'{text[:longest]}…'


def shown(value: object, depth: int = _DEEPEST) -> str:
    """Return the repr of a value, in at most LONGEST characters and a sign. Raises nothing."""
    try:
        return shortened(printable(_repr(value, depth)))
    except BaseException as error:
        # Even SystemExit: it is not to end the server.
        names = _name_of(type(value)), _name_of(type(error))
        return shortened(printable('<{}, whose repr raised {}>'.format(*names)))


def _repr(value: Any, depth: int) -> str:
    kind = type(value)
    if kind in (str, bytes, bytearray) and len(value) > LONGEST:
        return without_secrets(f'{value[:LONGEST - 20]!r}…') + f' {len(value):,} in all'
    if kind is int and value.bit_length() > 3 * LONGEST:
        return f'<int of {value.bit_length():,} bits>'    # (To write it takes the square of that.)
    # (Not `isinstance`: it asks the object for its `__class__`, which may be a property.)
    for base, (begin, end) in _CONTAINERS.items():
        if issubclass(kind, base):
            inside = _items(value, base, depth) if depth else '…'
            if base is tuple and inside and len(value) == 1:
                inside += ','
            name = '' if kind is base else _name_of(kind)
            if base is set and not inside:
                return f'{name or "set"}()'
            return f'{name}{begin}{inside}{end}'
    return without_secrets(shortened(repr(value)))


def _items(value: Any, base: Any, depth: int) -> str:
    """Return the items of a container, until there are enough characters."""
    texts: list[str] = []
    left = LONGEST
    for text in _pairs(value, depth) if base is dict else _singles(value, base, depth):
        if left < 0:
            texts.append(f'… {len(value):,} in all')
            break
        texts.append(text)
        left -= len(text) + 2
    return ', '.join(texts)


def _singles(value: Any, base: Any, depth: int) -> Iterator[str]:
    items = list(islice(base.__iter__(value), LONGEST))
    named = base is tuple and len(items) == 2 and _names_secret(items[0])
    for number, item in enumerate(items):
        yield HIDDEN if named and number else shown(item, depth - 1)


def _pairs(value: dict[Any, Any], depth: int) -> Iterator[str]:
    for key, item in islice(dict.items(value), LONGEST):
        text = HIDDEN if _names_secret(key) else shown(item, depth - 1)
        yield f'{shown(key, depth - 1)}: {text}'


def _names_secret(name: Any) -> bool:
    """Whether it is a name, as that of a header field, and looks like that of a secret."""
    if type(name) is bytes:
        name = name[:LONGEST].decode('latin-1')
    return type(name) is str and is_secret(name[:LONGEST])


def read_values(sources: Iterable[Mapping[str, Any]], seconds: float
                ) -> list[list[tuple[str, str]]]:
    """Return the names of each source with their values, as far as the time is enough.

    A value that there was no time for is '…'.
    """
    left: deque[tuple[list[tuple[str, str]], int, object]] = deque()
    rows = []
    for source in sources:
        variables = _variables(source)
        row = [(shortened(printable(name)), HIDDEN if is_secret(name) else '…')
               for name in variables]
        left += [(row, place, value) for place, value in enumerate(variables.values())
                 if row[place][1] is not HIDDEN]
        rows.append(row)

    def read() -> None:
        while left:
            try:
                row, place, value = left.popleft()
            except IndexError:
                return    # The time is over.
            row[place] = row[place][0], shown(value)

    thread = Thread(target=read, name='values of a page', daemon=True)
    try:
        if any(each.is_alive() for each in _late):
            raise RuntimeError
        thread.start()
    except RuntimeError:
        return rows    # (Also where the system gives us no thread.)
    thread.join(seconds)
    left.clear()
    _late[:] = [thread] if thread.is_alive() else []
    return [list(row) for row in rows]


def _variables(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first variables of a call. (What `exec` got for them may be anything.)"""
    try:
        return {name: value for name, value in islice(dict(source).items(), MOST_VARIABLES)
                if type(name) is str and name[:2] != '__'}
    except Exception:
        return {}

"""Option: one line of the table of options (options.py): what it is called, and what it accepts.

`off`, `none` and None turn an option off if its line has an `off=`, and are refused otherwise. 0 is
a number like any other: a size of 0 allows no byte, a time of 0 is over at once. Where 0 makes no
sense (no connections at all, at least 0 bytes/second), 0 is the value that `off` is stored as.
Where 0 makes sense but no use (`head_timeout`), it is refused.
"""

from __future__ import annotations

import re

from ..errors import SettingError
from ..typed import Any
from .kinds import KINDS

# Variables without our prefix, which hosts of applications set for any server.
_SHARED_VARIABLES = {'port': ('PORT',), 'workers': ('WEB_CONCURRENCY',),
                     'trusted_proxies': ('FORWARDED_ALLOW_IPS',)}
SHARED = frozenset(name for names in _SHARED_VARIABLES.values() for name in names)
# Letters that mean the same with each server that has them, and the option that they are here.
SHORT = {'b': 'bind', 'w': 'workers'}

# The `off` of an option that cannot be off. (None cannot stand for that: it is the `off` of some.)
_NEVER: Any = object()


class Option:
    """One line of the table. Its `name` is that of the attribute in `Options`."""

    __slots__ = ('default', 'group', 'help', 'kind', 'least', 'most', 'name', 'off', 'synonyms')

    def __init__(
        self, group: str, kind: str, default: Any, help: str,
        synonyms: tuple[str, ...] = (), off: Any = _NEVER, least: float = 0,
        most: float | None = None,
    ) -> None:
        self.name = ''
        self.group = group
        self.kind = kind
        self.default = default
        self.help = help
        self.synonyms = synonyms
        self.off = off
        self.least = least
        self.most = KINDS[kind].most if most is None else most

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def unit(self) -> str:
        """The unit of a bare number: bytes, seconds, bytes/second, or '' for a plain count."""
        return KINDS[self.kind].unit

    @property
    def metavar(self) -> str:
        """The word for the value in the help of the command line; '' for a flag."""
        return KINDS[self.kind].metavar

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the synonyms."""
        return (self.name, *self.synonyms)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set this option; the first one that is set wins."""
        synonyms = (f'TREMOLO_{name.upper()}' for name in self.synonyms)
        main = self.main_variables
        return (*main[:1], *synonyms, *main[1:]) if main else ()

    @property
    def main_variables(self) -> tuple[str, ...]:
        """The environment variables to tell users about: without those of the synonyms."""
        if self.kind == 'context':
            return ()    # An object of Python, which no text can name.
        return (f'TREMOLO_{self.name.upper()}', *_SHARED_VARIABLES.get(self.name, ()))

    def convert(self, value: Any, label: str = '') -> Any:
        """Return the value as `Settings` keeps it.

        Raises `SettingError` with one line that starts with `label`: the name, the flag or the
        variable that the user wrote. Without a label it starts with the name of the option.
        """
        label = label or self.name
        may_be_off = self.off is not _NEVER
        if may_be_off and (value is None or str(value).lower() in ('off', 'none')):
            return self.off
        kind = KINDS[self.kind]
        try:
            result = kind.convert(value)
        except SettingError as error:
            raise SettingError(f'{label}: {str(error).removeprefix("bind: ")}') from None
        except (TypeError, ValueError):
            off = ', or off' if may_be_off else ''
            text = '***' if self.kind == 'secret' else _shorten(value)
            raise SettingError(f'{label}: {text} is not {kind.accepts}{off}') from None
        # (0 is the `off` of some, and is given as 0, too.)
        if isinstance(result, (int, float)) and result != self.off and not (
                self.least <= result <= self.most):
            what, limit = ('small, at least', self.least) if result < self.least else (
                'large, at most', self.most)
            number = f'{limit:.3f}'.rstrip('0').rstrip('.')
            unit = f' {kind.unit}' if kind.unit else ''
            raise SettingError(f'{label}: {_shorten(value)} is too {what} {number}{unit}')
        return result

    def show(self, value: Any) -> str:
        """Write a value as a user would: `16KiB`, `30s`, `off`."""
        if self.off is not _NEVER and value == self.off:
            return 'off'
        return KINDS[self.kind].show(value)


def _shorten(value: Any) -> str:
    # (An address may have been written with the password of its certificate.)
    text = re.sub('(password=)[^&]*', r'\1***', repr(value), flags=re.I)
    return text if len(text) <= 64 else text[:61] + '...'


def option(*args: Any, **kwargs: Any) -> Any:
    """Make a line of the table."""
    # (It returns Any, so that each line of the table can declare the type of the option's value.)
    return Option(*args, **kwargs)

"""Late: what is made when it is used first, and not when its file is imported.

    CODING = expression(rb'gzip|deflate')    # compiled by the first `CODING.fullmatch(...)`

To compile an expression takes 0.03 to 0.4 ms, and most programs, and most requests, use few of
them. What every request uses is compiled at once: `re.compile` stands there.

Nothing is imported by this, since a server may have no file descriptor left when a request first
needs something. So these are the rules for imports:

    at the top of a file      what is needed to serve; all of it is imported before the first accept
    in a function             what is needed before that or after the last request, or by few
                              programs, or never by a request; a comment says which
    `__getattr__`             the public names of the package (`tremolo/__init__.py`): a program
                              pays for those that it uses
    typed.py                  what only the type checker needs
"""

from __future__ import annotations

import re
from functools import partial

from .typed import Any, Callable, TypeVar, cast

Text = TypeVar('Text', str, bytes)


class Late:
    """Stands for an object until the first of its attributes is asked for."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        # (From now on it is an attribute of this object, and is found without this function.)
        value = getattr(self._make(), name)
        setattr(self, name, value)
        return value


def expression(pattern: Text, flags: int = 0) -> re.Pattern[Text]:
    """Return a regular expression that is compiled when it is used first."""
    return cast('re.Pattern[Text]', Late(partial(re.compile, pattern, flags)))

"""Typed: the names of `typing` that our annotations need, without importing `typing`.

No annotation is evaluated here (`from __future__ import annotations`), so when the program runs
most of these names only have to exist. `typing` itself is a twelfth of what `import tremolo` costs
(17 million instructions, with what its classes add), and a server needs nothing of it. The type
checker sees the real ones. (So `typing.get_type_hints` of a function of ours gives `typed.Any`.)
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable as Callable

TYPE_CHECKING = False    # Type checkers take a variable of this name for true.

if TYPE_CHECKING:
    from typing import Any as Any
    from typing import BinaryIO as BinaryIO
    from typing import Generic as Generic
    from typing import NamedTuple as NamedTuple
    from typing import NoReturn as NoReturn
    from typing import Optional as Optional
    from typing import Protocol as Protocol
    from typing import TypeVar as TypeVar
    from typing import Union as Union
    from typing import cast as cast
else:
    class Any:
        """Any value; also what stands for a type that only the type checker looks at."""

        def __class_getitem__(cls, _):
            return cls

    class Generic:
        """The base of a class with a parameter: `Route[Any]` is `Route`."""

        def __class_getitem__(cls, _):
            return cls

    class Protocol:
        """The base of a class that says what others must have."""

    class _Fields(type):
        """Makes the named tuple that the annotations and the defaults of a class tell."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body['__annotations__']
            defaults = [body.pop(field) for field in fields if field in body]
            base = namedtuple(name, fields, defaults=defaults, module=body['__module__'])
            return type(name, (base,), {'__slots__': (), **body})

    class NamedTuple(metaclass=_Fields):
        """The base of a class that is a tuple with names."""

    BinaryIO = NoReturn = Optional = Union = Any

    def TypeVar(name, *constraints, bound=None):
        """Return what stands for the type of a parameter."""
        return Any

    def cast(_, value):
        """Return the value as it is."""
        return value

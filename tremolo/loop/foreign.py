"""Foreign: what a task may wait for that is no Future of ours: coroutines, and what asyncio awaits.

The loop knows nothing of asyncio. The package `tremolo` says how awaitables are adopted
(adopting.py); asyncio itself is imported when the first of them comes.
"""

from __future__ import annotations

from types import GeneratorType

from ..adopting import adopt
from ..typed import Any, Callable
from .future import Future

# Makes a Future of an awaitable that is no Future of ours.
_adopt: Callable[[Any], Future] | None = adopt


def adopted(awaitable: Any) -> Future | None:
    """Return a Future of an awaitable that is not ours; None if nobody can run it."""
    return None if _adopt is None else _adopt(awaitable)


def awaited(value: Any, mistake: type[Exception] = TypeError, other: str = '') -> Future:
    """Return a Future of an awaitable, which asyncio runs; raise `mistake` for other values."""
    if hasattr(value, '__await__') and _adopt is not None:
        return _adopt(value)
    if isinstance(value, GeneratorType):
        name = value.__name__
        raise mistake(f'yielded the generator {name}(): write `yield from {name}()`')
    raise mistake(f'yielded {type(value).__name__}, which is not a Future{other}')

"""Later: the Future of a form, a part or a piece; used as that itself, it says what is missing.

    part = files.next()           # the `yield` is missing
    part.filename                 # AttributeError: ... write `part = yield files.next()`
"""

from __future__ import annotations

from collections.abc import Generator

from ..loop import Reactor, Task
from ..typed import Any, NoReturn


class Later(Task):
    """A task that reads on the reactor's thread; the handler may run on another."""

    __slots__ = ('_call',)

    def __init__(self, reading: Generator[Any, Any, Any], reactor: Reactor, call: str) -> None:
        self._call = call
        super().__init__(reading, reactor=reactor, later=not reactor.in_loop_thread())

    def _instead(self) -> str:
        # The mistake is told here, and not by its error a second time. (It is not cancelled: tools
        # look for attributes, too.)
        self._seen = True
        return (f'{self._call} is a Future: write `yield {self._call}` in a generator, `await '
                f'{self._call}` in an `async def`, `{self._call}.result()` in a thread')

    def __getattr__(self, name: str) -> NoReturn:
        # (Of what is missing alone. `_call` is missing if the constructor of this object failed.)
        raise AttributeError(name if name[:1] == '_' else self._instead())

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError(self._instead())

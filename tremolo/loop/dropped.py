"""Dropped: a Future that nobody waited for: a `yield` or an `await` was forgotten.

    with lock.acquire():             # raises, and leaves the line
    lock.acquire()                   # warns, and the lock is given back when the Future is freed
    with (yield lock.acquire()):     # what was meant

It is freed at once on CPython, and on PyPy when garbage is collected next. `with` does not wait for
that: it cancels the Future itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import Cancelled

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo.loop')


def nothing(_: Any) -> None:
    """Give nothing back: for a Future without such a value that warns in debug mode."""


class Droppable:
    """The part of a Future for mistakes: what happens when no code waits for its value."""

    __slots__ = ()

    if TYPE_CHECKING:
        _done: bool
        _value: Any
        _error: BaseException | None
        _seen: bool
        _origin: str | None
        give_back: Callable[[Any], Any] | None
        reactor: Reactor

        def cancel(self, message: str = '') -> bool: ...

    def dropped(self) -> None:
        """Tell of an error that nobody looked at; give a value back that nobody took."""
        if self._error is not None and not isinstance(self._error, Cancelled):
            _log.error('an error was never looked at', exc_info=self._error)
            return
        give_back = self.give_back if self._done else None
        lost = give_back is not None and give_back is not nothing and not self.reactor.closed
        if lost and give_back is not None:
            # Soon, on the loop's thread: garbage is collected in any thread, and at any line.
            self.reactor.call_soon_threadsafe(give_back, self._value)
        if self._origin is not None and (not self._done or give_back is not None):
            _log.warning('%s: a Future was dropped without being waited for: is a `yield` missing?',
                         self._origin)
        elif lost:
            _log.warning('a Future was dropped, and its value is given back: is a `yield` or an '
                         '`await` missing? In debug mode the line is told')

    def _forgotten(self) -> NoReturn:
        """Take no value, and raise `TypeError` with what to write."""
        if self.reactor.in_loop_thread():
            self.cancel()
        else:
            self.reactor.call_soon_threadsafe(self.cancel)
        raise TypeError(
            'a Future has to be waited for: write `with (yield lock.acquire()):` in a generator, '
            '`with (await lock.acquire()):` in an `async def`, and '
            '`with lock.acquire().result():` in a thread')

    def __enter__(self) -> NoReturn:
        self._forgotten()

    def __aenter__(self) -> NoReturn:
        self._forgotten()

    def __exit__(self, *exc: object) -> None:
        """Never called; without it Python would not call `__enter__`."""

    __aexit__ = __exit__

"""Dropped: a Future that nobody waited for: a `yield` or an `await` was forgotten.

    with lock.acquire():             # raises, and leaves the line
    lock.acquire()                   # warns, and the lock is given back when the Future is freed
    with (yield lock.acquire()):     # what was meant

It is freed at once on CPython, and on PyPy when garbage is collected next. `with` does not wait for
that: it cancels the Future itself.

From Python 3.12 on, the last frame of a generator or coroutine refers to the frames that resumed
it, so to the task. A task with an error would be a cycle (task, error, traceback, frames), and its
error would be told late, or never in an idle process. Therefore an error that nobody waits for
loses its traceback, and keeps it as a text, a note.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from ..typed import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .reactor import Reactor

_log = logging.getLogger('tremolo.loop')


# Whether the last frame of a generator refers to those that resumed it.
FRAMES_STAY = sys.implementation.name == 'cpython' and sys.version_info >= (3, 12)


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

    def failed(self) -> None:
        """Free the frames of an error that nobody waits for, unless code looks at it very soon."""
        if self._error is not None and self._error.__traceback__ is not None:
            self.reactor.call_soon(self._forget_frames)

    def _forget_frames(self) -> None:
        if not self._seen and self._error is not None:
            note_traceback(self._error)

    def dropped(self) -> None:
        """Tell of an error that nobody looked at; give a value back that nobody took."""
        # (Some errors tell of an end in good order: a WebSocket that is over, say.)
        if self._error is not None and not getattr(self._error, 'in_good_order', False):
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


def note_traceback(error: BaseException) -> None:
    """Make a note of the traceback of an error, and drop it; those of its causes too."""
    import traceback
    with suppress(Exception):    # The class may be the program's own.
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        error.add_note(''.join(lines).rstrip())
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and each.__traceback__ is not None:
            each.with_traceback(None)
            left += (each.__cause__, each.__context__, *getattr(each, 'exceptions', ()))

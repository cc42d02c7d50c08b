"""Late: what is made when it is used first; and a descriptor that is kept for late imports.

    CODING = expression(rb'gzip|deflate')    # compiled by the first `CODING.fullmatch(...)`

To compile an expression takes 0.03 to 0.4 ms, and most programs, and most requests, use few of
them. What every request uses is compiled at once: `re.compile` stands there.

Nothing is imported by this, since a server may have no file descriptor left when a request first
needs something. So these are the rules for our imports:

    at the top of a file      what is needed to serve; all of it is imported before the first accept
    in a function             what is needed before that or after the last request, or by few
                              programs, or never by a request; a comment says which
    `__getattr__`             the public names of the package (`tremolo/__init__.py`): a program
                              pays for those that it uses
    typed.py                  what only the type checker needs

What others import late is not ours to choose: a handler an own module, `strptime` its `_strptime`,
a text in an unusual charset its codec, `getaddrinfo` that of names. For these a server keeps a
descriptor, which it gives up for an import when no other is left (`Reserve`).
"""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import suppress
from functools import partial

from .typed import Any, Callable, TypeVar, cast

_AGAIN = 0.1    # Seconds until a descriptor for imports is looked for again.

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


class Reserve:
    """A descriptor for imports, when the process has no other: from a server's start to its end.

    It is a finder in `sys.meta_path` that finds nothing. It is asked for each module that is not
    there yet, before a file is opened; one at a time is enough, since what an import opens it also
    closes before it goes on. So modules that are there, and all else, cost nothing.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._fd = -1
        self._threads: set[int] = set()    # Other threads that import without it.
        # Who gives it up and who takes it back are two threads. (Nobody waits for long: in a child
        # that was forked meanwhile it may never be free.)
        self._lock = threading.Lock()
        self._ended = False
        self._take()
        sys.meta_path.insert(0, self)
        reactor.at_close.add(self.close)

    def _take(self) -> None:
        """Take it, or take it back."""
        with self._lock:
            if self._fd >= 0 or self._ended:
                return
            self._threads = set(filter(_imports, self._threads))
            if not self._threads:
                with suppress(OSError):
                    self._fd = os.open(os.devnull, os.O_RDONLY)
                    return
        self._reactor.call_later(_AGAIN, self._take)

    def find_spec(self, *_: object) -> None:
        """Give the descriptor up if no other is left; it is taken back when the import is over."""
        others = not self._reactor.in_loop_thread()
        locked = self._lock.acquire(timeout=_AGAIN)
        try:
            fd = self._fd
            if others:    # (The loop goes on meanwhile.)
                self._threads.add(threading.get_ident())
            try:
                os.close(os.dup(fd))
            except OSError:
                if fd >= 0:
                    self._fd = -1
                    os.close(fd)
                    self._reactor.call_soon_threadsafe(self._take)
        finally:
            if locked:
                self._lock.release()

    def close(self, _: object = None) -> None:
        """End it."""
        self._ended = True
        self._reactor.at_close.discard(self.close)
        with suppress(ValueError):
            sys.meta_path.remove(self)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _imports(thread: int) -> bool:
    """Return whether a thread imports something now, however long that takes."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_filename.startswith('<frozen importlib'):
            return True
        frame = frame.f_back
    return False

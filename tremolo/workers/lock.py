"""Lock: one at a time, in all workers together: `server['lock']`.

    with (yield lock.acquire()):                  # a generator
    with (yield lock(3).acquire(timeout=5)):      # another lock, by its number; or `TimeoutError`
    async with lock:                              # an async def
    with lock:                                    # with thread=True, in a thread

It is a record lock of the system (fcntl(2)) on a byte of a file without a name. Such a lock is the
process's, though the file was opened before the fork: it ends with its holder, however that ends,
and the file with the last process. In a process without workers only its own tasks have to wait.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any
from weakref import WeakValueDictionary

from ..loop import Future, InvalidState, Reactor, Semaphore, Task, sleep
from ..loop.future import on_loop
from ..loop.sync import timeout as within

# Seconds between two looks at a lock that another process has: at first, and at most.
_LOOK, _LONGEST_LOOK = 0.001, 0.02


def open_locks() -> int:
    """Open the file on whose bytes the locks are, for all workers. Raises `OSError`."""
    if hasattr(os, 'memfd_create'):
        return os.memfd_create('locks')
    import tempfile
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Lock:
    """One of the locks, number 0 unless another is asked for: `lock(3)`. It is not re-entrant."""

    def __init__(
        self, reactor: Reactor, file: int | None, number: int = 0,
        lines: WeakValueDictionary[int, Semaphore] | None = None,
        held: dict[int, ExitStack] | None = None,
    ) -> None:
        """`file` is that of `open_locks`; `lines` and `held` are what the numbers share."""
        self._reactor = reactor
        self._file = file
        self._number = number
        # By number: where the tasks of this process stand in line, and what is held.
        self._lines = WeakValueDictionary() if lines is None else lines
        self._held = {} if held is None else held

    def __call__(self, number: int) -> Lock:
        """Give the lock of this number, 0 or more. Raises `ValueError`."""
        if not isinstance(number, int) or not 0 <= number < 1 << 62:
            raise ValueError(f'a lock has a whole number from 0 on, below 2**62, not {number!r}')
        return Lock(self._reactor, self._file, number, self._lines, self._held)

    def acquire(self, timeout: float | None = None) -> Future:
        """Wait for it, at most `timeout` seconds; the value releases it at the end of a `with`.

        The Future raises `TimeoutError`.
        """
        reactor = self._reactor
        task = Task(self._acquire(), reactor=reactor, later=not reactor.in_loop_thread())
        if not task.done() or task.exception() is None:
            task.give_back = ExitStack.close
        return task if timeout is None else within(timeout, task)

    def release(self) -> None:
        """Release it by hand; from any thread. Raises `InvalidState` if nobody here holds it."""
        held = self._held.get(self._number)
        if held is None:
            raise InvalidState('it is not held')
        held.close()

    def _acquire(self) -> Generator[Any, Any, ExitStack]:
        number = self._number
        line = self._lines.setdefault(number, Semaphore())
        with ExitStack() as stack:
            stack.enter_context((yield line.acquire()))
            # Who waits has the second byte: so a process where many wait cannot keep the others out
            # by taking the first again as soon as it has released it.
            pause = _LOOK
            for byte in (2 * number + 1, 2 * number):
                while not self._try(byte):
                    yield sleep(pause)
                    pause = min(2 * pause, _LONGEST_LOOK)
                stack.callback(self._unlock, byte)
            self._unlock(2 * number + 1)
            stack.callback(self._held.pop, number)
            held = self._held[number] = ExitStack()
            # (It may be closed in a thread.)
            held.callback(on_loop, self._reactor, stack.pop_all().close)
            return held

    def _try(self, byte: int) -> bool:
        if self._file is not None:
            import fcntl
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):
                return False
        return True

    def _unlock(self, byte: int) -> None:
        if self._file is not None:
            import fcntl
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)

    def __enter__(self) -> None:
        if self._reactor.in_loop_thread():
            raise InvalidState('the loop cannot wait here: write `with (yield lock.acquire()):`')
        self.acquire().result()

    async def __aenter__(self) -> None:
        await self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()

    async def __aexit__(self, *exc: object) -> None:
        self.release()


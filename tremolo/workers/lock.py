"""Lock: one holder at a time, in all workers together: `server['lock']`.

    with (yield lock.acquire()):                  # a generator
    with (yield lock(3).acquire(timeout=5)):      # lock number 3; or `TimeoutError` after 5 s
    async with lock:                              # an async def
    with lock:                                    # with thread=True, in a thread

Between processes it is a record lock (fcntl(2)) on one byte of a file without a name. A record lock
belongs to a process, not to the descriptor: the supervisor can open the file before it forks. The
kernel releases the lock when the holder ends, however it ends. The file is gone with the last
process. Within one process the tasks wait in a queue (`Semaphore`), also without workers.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from weakref import WeakValueDictionary

from ..loop import Future, InvalidState, Reactor, Semaphore, Task, sleep
from ..loop import timeout as within
from ..loop.future import on_loop
from ..typed import Any

# Seconds between two attempts on a lock that another process holds: at first, and at most. (The
# kernel can wait for a record lock, but then the loop would stand still.)
_LOOK, _LONGEST_LOOK = 0.001, 0.02


def open_locks() -> int:
    """Open the file of all locks, before the fork; return its descriptor. Raises `OSError`."""
    from ..machine import unnamed_file  # (Late: only workers need it.)
    return unnamed_file('locks')


class Lock:
    """A lock by its number: `lock` is number 0, `lock(3)` number 3. Locks are not re-entrant."""

    def __init__(
        self, reactor: Reactor, file: int | None, number: int = 0,
        lines: WeakValueDictionary[int, Semaphore] | None = None,
        held: dict[int, ExitStack] | None = None,
    ) -> None:
        """Make a lock on the `file` of `open_locks`, or without a file within this process alone.

        `lines` and `held` are shared by the locks of all numbers.
        """
        self._reactor = reactor
        self._file = file
        self._number = number
        # By number: the queue of this process's tasks, and how a lock that is held is released. A
        # queue is freed with the last task that uses it.
        self._lines = WeakValueDictionary() if lines is None else lines
        self._held = {} if held is None else held

    def __call__(self, number: int) -> Lock:
        """Return the lock of a number, from 0 to below 2**62. Raises `ValueError`."""
        if not isinstance(number, int) or not 0 <= number < 1 << 62:
            raise ValueError(f'a lock has a whole number from 0 on, below 2**62, not {number!r}')
        return Lock(self._reactor, self._file, number, self._lines, self._held)

    def acquire(self, timeout: float | None = None) -> Future:
        """Wait until the lock is ours, at most `timeout` seconds.

        The value of the Future is a context manager whose end releases the lock. The Future raises
        `TimeoutError`.
        """
        reactor = self._reactor
        task = Task(self._acquire(), reactor=reactor, later=not reactor.in_loop_thread())
        if not task.done() or task.exception() is None:
            task.give_back = ExitStack.close
        return task if timeout is None else within(timeout, task)

    def release(self) -> None:
        """Release the lock, from any thread.

        Raises `InvalidState` if this process does not hold it.
        """
        held = self._held.get(self._number)
        if held is None:
            raise InvalidState('it is not held')
        held.close()

    def _acquire(self) -> Generator[Any, Any, ExitStack]:
        number = self._number
        line = self._lines.setdefault(number, Semaphore())
        with ExitStack() as stack:
            stack.enter_context((yield line.acquire()))
            # The lock itself is the first byte. A process that waits for it holds the second byte,
            # so it is the next. Without that, a process with many waiting tasks could always take
            # the first byte again, at the moment of its release, and keep the others out.
            pause = _LOOK
            for byte in (2 * number + 1, 2 * number):
                while not self._try(byte):
                    yield sleep(pause)
                    pause = min(2 * pause, _LONGEST_LOOK)
                stack.callback(self._unlock, byte)
            self._unlock(2 * number + 1)
            stack.callback(self._held.pop, number)
            held = self._held[number] = ExitStack()
            # `release` may run in another thread; the semaphore is for the loop's thread only.
            held.callback(on_loop, self._reactor, stack.pop_all().close)
            return held

    def _try(self, byte: int) -> bool:
        """Lock a byte; return False if another process has it."""
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


"""Place: where a service may run, and where it may be started. Looked at before anything is bound.

              main thread    another thread    inside an asyncio loop, or a handler
    run       yes            no: no signals    no: it would hold up that loop
    start     yes            yes               yes, if the server has a thread of its own
    serve     -              -                 yes, in asyncio
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Iterator

from ..loop import InvalidState, Reactor, current_reactor
from ..typed import Any, Callable, TypeVar

T = TypeVar('T')

# While an application is only checked (`--check`), what it does at its import serves nothing.
_checked: list[str] = []


def in_asyncio() -> bool:
    """Return whether an asyncio loop runs in this thread."""
    if 'asyncio' not in sys.modules:
        return False
    from ..bridge.running import loop_runs
    return loop_runs()


def _reactor_here() -> Reactor | None:
    """Return the reactor that this thread runs or works for."""
    try:
        return current_reactor()
    except RuntimeError:
        return None


@contextlib.contextmanager
def only_checked() -> Iterator[None]:
    """Let `run` and `start` be refused in this block."""
    _checked.append('the application is only checked (--check), and serves as soon as it is '
                    "imported: write that below if __name__ == '__main__'")
    try:
        yield
    finally:
        _checked.pop()


def check_run() -> None:
    """Raise `InvalidState` where `run` cannot be called."""
    if _checked:
        raise InvalidState(f'run: {_checked[0]}')
    if in_asyncio():
        raise InvalidState('run: an asyncio loop runs in this thread, and run would hold it up; '
                           'write `await app.serve(...)` here, or `app.start(...)`')
    if threading.current_thread() is not threading.main_thread():
        raise InvalidState('run: signals arrive in the main thread alone; in another thread write '
                           '`app.start(...)`, and `stop()` at the end')
    if _reactor_here() is not None:
        raise InvalidState('run: a handler or a hook of a server runs here, and run would hold it '
                           'up; write `app.start(...)`')


def check_start(reactor: Reactor | None, thread: bool, waits: Callable[[], bool]) -> None:
    """Raise `InvalidState` where `start` cannot be called.

    `waits` tells whether the start or the end of the application may have to wait.
    """
    if _checked:
        raise InvalidState(f'start: {_checked[0]}')
    if (reactor is None and thread) or not in_asyncio():
        return
    if reactor is None:
        raise InvalidState('start: an asyncio loop runs in this thread, and a server that is '
                           'stepped here could not use asyncio; write `await app.serve(...)`, or '
                           'start it with thread=True')
    if waits():
        raise InvalidState('start: an asyncio loop runs in this thread, so the start of this '
                           'application cannot be waited for; write `await app.serve(...)`')


def check_stop(reactor: Reactor, thread: bool) -> None:
    """Raise `InvalidState` where `RunningServer.stop` would wait for its own caller."""
    if _reactor_here() is reactor and (
            thread or reactor.turning or not reactor.in_loop_thread()):
        raise InvalidState('stop: it waits for the requests in hand, so also for the handler that '
                           'calls it; write `app.stop()` here')


def apart_from_asyncio(function: Callable[..., T], *args: Any) -> T:
    """Call a function that may run an asyncio loop, and wait for it.

    One thread runs one asyncio loop at a time. So in a thread in which one runs already, another
    thread calls it.
    """
    if not in_asyncio():
        return function(*args)
    ended: list[T] = []
    failed: list[BaseException] = []
    context = contextvars.copy_context()

    def call() -> None:
        try:
            ended.append(context.run(function, *args))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=call, name='tremolo-start', daemon=True)
    thread.start()
    thread.join()
    try:
        for error in failed:
            raise error
        return ended.pop()
    finally:
        failed.clear()    # The traceback leads back here: a cycle.

"""Running: whether an asyncio loop runs in this thread, and whether its task is to end."""

from __future__ import annotations

import asyncio


def loop_runs() -> bool:
    """Return whether this thread is inside an asyncio loop: in a coroutine, or in a callback."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def being_cancelled() -> bool:
    """Return whether the task that runs is being cancelled itself.

    (Another task that it has cancelled, and waits for, raises `CancelledError` in it, too. Before
    Python 3.11 nothing tells the two apart: True.)
    """
    return getattr(asyncio.current_task(), 'cancelling', lambda: 1)() > 0

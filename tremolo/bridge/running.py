"""Running: whether an asyncio loop runs in this thread."""

from __future__ import annotations

import asyncio


def loop_runs() -> bool:
    """Return whether this thread is inside an asyncio loop: in a coroutine, or in a callback."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

"""Adopting: who runs an awaitable that is not ours, a coroutine for example.

`tremolo/__init__.py` sets `adopt`, and Python runs that file before any room is imported
(loop/foreign.py takes the value then). So the room `loop` knows no asyncio, and everything that a
task may wait for works as soon as the package is there.
"""

from __future__ import annotations

from .typed import Any, Callable

# Makes a Future of ours; called on any thread. It is done when the awaitable has ended, also after
# it was cancelled.
adopt: Callable[[Any], Any] | None = None

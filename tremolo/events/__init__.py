"""events: server-sent events, from a handler's `send` to the last chunk. The tour: README.md."""

from __future__ import annotations

from .stream import EventStream

__all__ = ['EventStream']

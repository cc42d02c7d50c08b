"""throttling: how fast bytes may pass. README.md has the tour."""

from __future__ import annotations

from .limits import Download, Throttles, begin_answer, held_by, leave, rate_of

__all__ = ['Download', 'Throttles', 'begin_answer', 'held_by', 'leave', 'rate_of']

"""Workers: several processes that serve the same addresses, and who sees to them.

The tour is in README.md.
"""

from __future__ import annotations

from .slot import Slot
from .supervisor import Supervisor

__all__ = ['Slot', 'Supervisor']

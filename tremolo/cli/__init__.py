"""cli: the command line. The tour is in README.md."""

from __future__ import annotations

from .arguments import main
from .leaving import run_and_leave

__all__ = ['main', 'run_and_leave']

"""cli: the command line. The tour is in README.md."""

from __future__ import annotations

from .arguments import main

__all__ = ['main']

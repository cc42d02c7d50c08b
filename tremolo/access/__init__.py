"""access: a line for each answer. The tour is in README.md."""

from __future__ import annotations

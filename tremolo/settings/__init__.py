"""Settings: every option once, and what values it takes. The tour is in README.md."""

from __future__ import annotations

from .kinds import Address, parse_bind
from .options import OPTIONS, Option, Options, Settings, option_table, part_options

__all__ = [
    'OPTIONS', 'Address', 'Option', 'Options', 'Settings', 'option_table', 'parse_bind',
    'part_options',
]

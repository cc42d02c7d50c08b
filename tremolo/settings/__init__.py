"""Settings: every option once, and what values it takes. The tour is in README.md."""

from __future__ import annotations

from .address import Address, parse_bind
from .option import Option
from .options import OPTIONS, Options, option_table
from .settings import Settings, part_options, under_all_names

__all__ = [
    'OPTIONS', 'Address', 'Option', 'Options', 'Settings', 'option_table', 'parse_bind',
    'part_options', 'under_all_names',
]

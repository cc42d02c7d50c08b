"""Shown: each option as a line, with its value and where that came from; for `--show-config`.

    host                   127.0.0.1            default
    port                   9000                 PORT
    ssl_keyfile_password   ***                  TREMOLO_SSL_KEYFILE_PASSWORD
    workers                4                    command line
    idle_timeout           5s                   command line, --keep-alive

What is meant is what `Settings.load` makes of the same. No line has a password in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..typed import Any
from .option import Option
from .options import BY_NAME, OPTIONS
from .settings import Settings, variables_of


def shown_lines(options: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Return a line for each option, in the order of the table. Raises `SettingError`."""
    settings = Settings.load(options, environ)
    given = {BY_NAME[name].name: name for name in options}
    variables = variables_of(given, environ)
    lines = []
    for option in OPTIONS:
        origin = variables.get(option.name, 'default')
        if option.name in given:
            origin, name = 'command line', given[option.name]
            if name != option.name:
                origin += f', --{name.replace("_", "-")}'
        value = _shown(option, getattr(settings, option.name))
        lines.append(f'{option.name:<22} {value:<20} {origin}')
    return lines


def _shown(option: Option, value: Any) -> str:
    """Write a value on one line, without a password; nothing is written as a dash."""
    if option.kind == 'binds':
        value = tuple(each.without_password for each in value)
    text = option.show(value)
    # (A path may have any character.)
    return (text if text.isprintable() else ascii(text)) or '-'

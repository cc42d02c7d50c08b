"""Kinds of options: how the value of one is read, what is accepted, and how it is written.

    KINDS['size'].convert('16KiB')      # 16384
    KINDS['size'].show(16384)           # '16KiB'

A kind knows one value; that it may be `off`, or must not be too small, is the option's own affair
(options.py). Units: a size is in bytes, a time in seconds, a rate in bytes/second, and a bare
number is just that. A size or a rate may also be written `64k`, `16KiB`, `2MiB`, `1GiB` (1,024 of
each smaller unit), a time `500ms`, `30s`, `5m`, `1h`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, NamedTuple

from ..errors import SettingError

LIFESPANS = ('auto', 'on', 'off')
LOOPS = ('reactor', 'asyncio', 'uvloop')
LOG_LEVELS = ('debug', 'info', 'warning', 'error', 'critical')

_SIZE = re.compile(r'([0-9]+) ?(|k|kib|m|mib|g|gib)', re.IGNORECASE)
_SIZE_UNITS = {'': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}
_TIME = re.compile(r'([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(|ms|s|m|h)', re.IGNORECASE)
_TIME_UNITS = {'': 1, 'ms': 0.001, 's': 1, 'm': 60, 'h': 3600}
_BRACKETED = re.compile(r'\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]:([^:]*)')


class Address(NamedTuple):
    """Where to listen: a host (empty: all interfaces) and a port, or the path of a UNIX socket."""

    host: str | None
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f'unix:{self.path}'
        host = self.host or ''
        return f'[{host}]:{self.port}' if ':' in host else f'{host}:{self.port}'


def parse_bind(text: str) -> Address:
    """Read `HOST:PORT`, `:PORT` (all interfaces), `[IPV6]:PORT` or `unix:/path`."""
    if text.startswith('unix:'):
        path = text[5:]
        if not path or '\0' in path:
            raise SettingError(f'bind: {text!r} has no path, write unix:/path/to/socket')
        return Address(None, 0, path)
    if text.startswith('['):
        match = _BRACKETED.fullmatch(text)
        if match is None:
            raise SettingError(f'bind: {text!r} is not [IPV6]:PORT, such as [::1]:8000')
        host, port = match.groups()
    else:
        host, colon, port = text.rpartition(':')
        if not colon:
            raise SettingError(f'bind: {text!r} has no port, write HOST:PORT, :PORT or unix:/path')
        if ':' in host:
            raise SettingError(f'bind: {text!r} is ambiguous, write IPv6 as [{host}]:{port}')
        if '/' in host:
            raise SettingError(f'bind: {text!r} is not an address, write HOST:PORT or unix:/path')
    if not re.fullmatch('[0-9]{1,5}', port) or int(port) > 65535:
        raise SettingError(f'bind: {text!r} has a bad port, it goes from 0 (any free one) to 65535')
    return Address(host, int(port), None)


def _text(value: Any) -> str:
    # The server's name goes into each response head as it is.
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return value
    raise ValueError


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text in ('true', 'yes', 'on', '1'):
        return True
    if text in ('false', 'no', 'off', '0'):
        return False
    raise ValueError


def _count(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch('[0-9]+', value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _port(value: Any) -> int:
    port = _count(value)
    if port > 65535:
        raise ValueError
    return port


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) * _SIZE_UNITS[match[2][:1].lower()] if match else _count(value)


def _time(value: Any) -> float:
    if isinstance(value, str):
        match = _TIME.fullmatch(value)
        if match is None:
            raise ValueError
        return float(match[1]) * _TIME_UNITS[match[2].lower()]
    # Infinity would pass every comparison and then break the poller's timeout.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 1e9:
        return float(value)
    raise ValueError


def _word(words: tuple[str, ...], value: Any) -> str:
    if isinstance(value, str) and value.lower() in words:
        return value.lower()
    raise ValueError


def _binds(value: Any) -> tuple[Address, ...]:
    if isinstance(value, Address):
        return (value,)
    if isinstance(value, str):
        value = [part.strip() for part in value.split(',')]
    addresses = [parse_bind(item) if isinstance(item, str) else item for item in value]
    if not all(isinstance(each, Address) for each in addresses):
        raise ValueError
    return tuple(addresses)


class Kind(NamedTuple):
    """`convert` raises `ValueError` or `TypeError` for what is not of the kind."""

    convert: Callable[[Any], Any]
    unit: str
    metavar: str    # what stands for the value on the command line; empty for a flag
    accepts: str    # what is said to be accepted, when something else came
    show: Callable[[Any], str] = str


def _show_size(value: int) -> str:
    for unit, size in (('GiB', 1 << 30), ('MiB', 1 << 20), ('KiB', 1 << 10)):
        if value and not value % size:
            return f'{value // size}{unit}'
    return str(value)


KINDS = {
    'text': Kind(_text, '', 'TEXT', 'printable ASCII text'),
    'flag': Kind(_flag, '', '', 'true or false'),
    'count': Kind(_count, '', 'N', 'a whole number'),
    'port': Kind(_port, '', 'PORT', 'a number from 0 (any free port) to 65535'),
    'size': Kind(_size, 'bytes', 'SIZE', 'a size in bytes, or such as 64k, 16KiB, 2MiB, 1GiB',
                 _show_size),
    'rate': Kind(_size, 'bytes/second', 'RATE', 'a number of bytes/second, or such as 64k, 2MiB',
                 _show_size),
    'time': Kind(_time, 'seconds', 'TIME', 'a time in seconds, or such as 500ms, 30s, 5m, 1h',
                 lambda value: f'{value:g}s'),
    'lifespan': Kind(partial(_word, LIFESPANS), '', 'MODE', ', '.join(LIFESPANS)),
    'level': Kind(partial(_word, LOG_LEVELS), '', 'LEVEL', ', '.join(LOG_LEVELS)),
    'loop': Kind(partial(_word, LOOPS), '', 'LOOP', ', '.join(LOOPS)),
    'binds': Kind(_binds, '', 'ADDRESS', 'HOST:PORT, :PORT, [IPV6]:PORT or unix:/path',
                  lambda value: ','.join(map(str, value))),
}

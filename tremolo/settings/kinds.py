"""Kinds of options: how the value of an option is read, what is accepted, and how it is written.

    KINDS['size'].convert('16KiB')      # 16384
    KINDS['size'].show(16384)           # '16KiB'

A kind knows one value. Whether an option may be `off`, and how small it may be, is a matter of the
option (options.py). A bare number is bytes for a size, seconds for a time, bytes/second for a rate.
A size or a rate may also be written `64k`, `16KiB`, `2MiB`, `1GiB` (each unit is 1,024 of the
smaller one), a time `500ms`, `30s`, `5m`, `1h`.
"""

from __future__ import annotations

import math
import os
import re
from functools import partial

from ..errors import SettingError
from ..late import expression
from ..typed import Any, Callable
from .address import Address, bare_host, parse_bind, parse_mode

LIFESPANS = ('auto', 'on', 'off')
LOOPS = ('reactor', 'asyncio', 'uvloop')
CERT_REQS = ('none', 'optional', 'required')
FORWARDED = ('x-forwarded', 'forwarded', 'off')
PROXY_PROTOCOLS = ('off', 'v1', 'v2', 'auto')
# How others choose the library that speaks WebSocket (uvicorn's `--ws`): each means on.
_WEBSOCKETS = ('auto', 'websockets', 'websockets-sansio', 'wsproto')
LOG_LEVELS = ('debug', 'info', 'warning', 'error', 'critical')
LOG_FORMATS = ('text', 'json')

_SIZE = expression(r'([0-9]+) ?(|k|kib|m|mib|g|gib)', re.IGNORECASE)
_SIZE_UNITS = {'': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}
_TIME = expression(r'([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(|ms|s|m|h)', re.IGNORECASE)
_TIME_UNITS = {'': 1, 'ms': 0.001, 's': 1, 'm': 60, 'h': 3600}


def _text(value: Any) -> str:
    # (`server_name` goes into the head of each answer as it is.)
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return value
    raise ValueError


def _host(value: Any) -> str:
    return bare_host(_text(value))


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text in ('true', 'yes', 'on', '1'):
        return True
    if text in ('false', 'no', 'off', '0'):
        return False
    raise ValueError


def _websocket(value: Any) -> bool:
    return str(value).lower() in _WEBSOCKETS or _flag(value)


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
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf:
        return float(value)
    raise ValueError


def _word(words: tuple[str, ...], value: Any) -> str:
    if isinstance(value, str) and value.lower() in words:
        return value.lower()
    raise ValueError


def _path(value: Any) -> str:
    # Absolute, since a program may change its folder, and a file is read again on SIGHUP.
    path = os.fspath(value)
    if not isinstance(path, str) or '\0' in path:
        raise ValueError
    try:
        return os.path.abspath(path) if path else ''
    except OSError:    # The current folder was deleted.
        return path


def _paths(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(',')]
    elif hasattr(value, '__fspath__'):
        value = [value]
    paths = tuple(map(_path, value))
    if '' in paths:
        raise ValueError
    return paths


def _secret(value: Any) -> str:
    # ('off' or 'none' may be a password. OpenSSL takes 1,024 bytes.)
    value = '' if value is None else value
    if isinstance(value, str) and len(value.encode('utf-8', 'surrogateescape')) <= 1024:
        return value
    raise ValueError


def _cert_reqs(value: Any) -> str:
    # (As a number or a name of the module `ssl`, too: uvicorn and gunicorn take these.)
    if isinstance(value, int) and not isinstance(value, bool):
        value = int(value)
    text = str(value).lower().removeprefix('verifymode.').removeprefix('cert_')
    return _word(CERT_REQS, dict(zip('012', CERT_REQS)).get(text, text))


def _ciphers(value: Any) -> str:
    import ssl  # Late: it takes 10 ms, and few name ciphers.
    text = _text(value)
    if text:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(text)
        except ssl.SSLError:
            raise ValueError from None
    return text


def _networks(value: Any) -> tuple[str, ...]:
    # (None of them has a comma: so they may be given one by one, together, or both.)
    given = [value] if isinstance(value, str) else value
    return tuple(_network(part.strip()) for each in given for part in _text(each).split(','))


def _network(value: Any) -> str:
    # Late: few servers name a proxy, and it is as much as a tenth of their start.
    import ipaddress
    text = _text(value)
    if text.lower() in ('*', 'unix'):
        return text.lower()
    address, slash, bits = text.partition('/')
    try:
        ipaddress.ip_address(address)    # (One alone may have a zone: fe80::1%eth0.)
        if slash and ('%' in address or not bits.isdigit()):
            raise ValueError
        right: Any = ipaddress.ip_network(text, strict=False) if slash else text
    except ValueError:
        raise SettingError(f'{text!r:.64} is no address, no network such as 10.0.0.0/8, and not '
                           'unix or *') from None
    if slash and ipaddress.ip_address(address) != right.network_address:
        raise SettingError(f'{text!r} has bits of a host behind its network: write {right}, or '
                           f'{address}')
    return text


def _context(value: Any) -> Any:
    if hasattr(value, 'wrap_bio') and hasattr(value, 'protocol'):
        return value
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


def _place(value: Any) -> Address:
    address = value if isinstance(value, Address) else parse_bind(_text(value))
    if address.inherited or address.options:
        raise ValueError
    return address


def _file(value: Any) -> str:
    return '-' if value == '-' else _path(value)


def _target(value: Any) -> str:
    # (It is compared with what clients send, byte by byte.)
    text = _text(value)
    if re.fullmatch('(/[!$%&-;=@-Z_a-z~]*)?', text):
        return text
    raise ValueError


def _access_format(value: Any) -> str:
    # Late: most servers have no template, and `combined` needs no look at the names.
    if value == 'combined':
        return 'combined'
    from .access_format import checked_format
    return checked_format(_text(value))


class Kind:
    """How the values of one kind are read and written. (A NamedTuple would slow down the start.)"""

    __slots__ = ('accepts', 'convert', 'metavar', 'most', 'show', 'unit')

    def __init__(self, convert: Callable[[Any], Any], unit: str, metavar: str, accepts: str,
                 show: Callable[[Any], str] = str, most: float = math.inf) -> None:
        # Returns the value as it is kept; raises `ValueError` or `TypeError` for any other value,
        # and `SettingError` where it can say more.
        self.convert = convert
        self.unit = unit          # what a bare number counts; empty if it counts nothing
        self.metavar = metavar    # what stands for the value in the help; empty for a flag
        self.accepts = accepts    # what the error says is accepted
        self.show = show
        self.most = most    # larger numbers break what they are used for: C's integers, pollers


def _show_size(value: int) -> str:
    for unit, size in (('GiB', 1 << 30), ('MiB', 1 << 20), ('KiB', 1 << 10)):
        if value and not value % size:
            return f'{value // size}{unit}'
    return str(value)


KINDS = {
    'text': Kind(_text, '', 'TEXT', 'printable ASCII text'),
    'host': Kind(_host, '', 'HOST', 'a host name or an address'),
    'mode': Kind(
        parse_mode, '', 'MODE', "a file's mode in octal digits, such as 660 (in Python 0o660)",
        lambda value: f'{value:o}'),
    'flag': Kind(_flag, '', '', 'true or false'),
    # On where nothing is given, so it takes a value: `--websocket off`, or `--no-websocket`.
    'switch': Kind(_flag, '', 'on|off', 'on or off', lambda value: 'on'),
    'websocket': Kind(_websocket, '', 'on|off', 'on', lambda value: 'on'),
    'count': Kind(_count, '', 'N', 'a whole number', most=2**31 - 1),
    'port': Kind(_port, '', 'PORT', 'a number from 0 (any free port) to 65535'),
    'size': Kind(_size, 'bytes', 'SIZE', 'a size in bytes, or such as 64k, 16KiB, 2MiB, 1GiB',
                 _show_size, most=1 << 50),
    'rate': Kind(_size, 'bytes/second', 'RATE', 'a number of bytes/second, or such as 64k, 2MiB',
                 _show_size, most=1 << 50),
    'time': Kind(_time, 'seconds', 'TIME', 'a time in seconds, or such as 500ms, 30s, 5m, 1h',
                 lambda value: f'{value:g}s', most=1e9),
    'lifespan': Kind(partial(_word, LIFESPANS), '', 'MODE', ', '.join(LIFESPANS)),
    'level': Kind(partial(_word, LOG_LEVELS), '', 'LEVEL', ', '.join(LOG_LEVELS)),
    'loop': Kind(partial(_word, LOOPS), '', 'LOOP', ', '.join(LOOPS)),
    'path': Kind(_path, '', 'PATH', 'a path'),
    'paths': Kind(_paths, '', 'PATH', 'paths', ','.join),
    'secret': Kind(_secret, '', 'TEXT', 'text of at most 1,024 bytes',
                   lambda value: '***' if value else ''),
    'cert_reqs': Kind(_cert_reqs, '', 'WHEN', ', '.join(CERT_REQS)),
    'ciphers': Kind(_ciphers, '', 'CIPHERS', 'a list of ciphers that OpenSSL knows'),
    'context': Kind(_context, '', '', 'an ssl.SSLContext', lambda value: ''),
    'networks': Kind(_networks, '', 'ADDRESSES', 'addresses, networks, unix or *', ','.join),
    'forwarded': Kind(partial(_word, FORWARDED), '', 'FIELDS', ', '.join(FORWARDED)),
    'proxy_protocol': Kind(
        partial(_word, PROXY_PROTOCOLS), '', 'VERSION', ', '.join(PROXY_PROTOCOLS)),
    'place': Kind(_place, '', 'ADDRESS', 'HOST:PORT, [IPV6]:PORT or unix:/path'),
    'file': Kind(_file, '', 'PATH', 'a path, or - for stdout'),
    'target': Kind(_target, '', 'PATH', 'a path that begins with /, without a query'),
    'access_format': Kind(_access_format, '', 'FORMAT', 'combined, json, or a template'),
    'log_format': Kind(partial(_word, LOG_FORMATS), '', 'FORMAT', ', '.join(LOG_FORMATS)),
    'binds': Kind(_binds, '', 'ADDRESS', 'HOST:PORT, :PORT, [IPV6]:PORT, unix:/path or fd:3',
                  lambda value: ','.join(map(str, value))),
}

"""Address: where a server listens, and how an address is written.

    parse_bind('[::1]:8000')        # Address(host='::1', port=8000)
    str(Address('', 80))            # ':80'

    HOST:PORT  :PORT  [IPV6]:PORT   a TCP socket
    unix:/path                      a UNIX socket
    fd:3  fd://3  fd:NAME           a listening socket that is open already, by its number, or by
                                    the name that systemd has for it

In a path or a name `%3F` is `?`, and `%25` is `%`; any other `%` is itself. After `?` options of
this address alone may follow: `:8443?ssl_certfile=a.pem&idle_timeout=5s`. Their values are
percent-encoded where need be. `str` of an address is a text that `parse_bind` reads back.
"""

from __future__ import annotations

import os
import re

from ..errors import SettingError
from ..late import expression
from ..typed import Any, NamedTuple

_BRACKETED = expression(r'\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\]:([^:]*)')
_IPV6 = expression(r'[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?')
_FD = expression(r'(?:([0-9]{1,9})(?::(?=.)|$))?([^:]*)')
_MODE = expression('0?o?([0-7]{3})')
# What is no literal in a value. (`,` is none, because it divides the addresses of a list.)
_ENCODED = expression(rb'[^\w./:@*+-]')
_ESCAPE = expression(rb'%([0-9A-Fa-f]{2})?')

UMASK = -1    # A mode: the file's mode is what the umask says.


class Address(NamedTuple):
    """A host (empty for all interfaces) and a port, or the path of a UNIX socket, or open already.

    `mode` is the mode of the file of the socket; None: what the option `socket_mode` says. `fd` and
    `name` tell of a socket that is open already: its number, its name with systemd, or both.
    `options` are those of this address alone, names and values as they were written.
    """

    host: str | None
    port: int = 0
    path: str | None = None
    mode: int | None = None
    fd: int | None = None
    name: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if self.path is not None:
            text = f'unix:{_escaped(self.path)}'
        elif self.inherited:
            text = ':'.join(['fd', *(_escaped(str(each)) for each in (self.fd, self.name)
                                     if each is not None)])
        else:
            host = self.host or ''
            text = f'[{host}]:{self.port}' if ':' in host else f'{host}:{self.port}'
        query = [f'{name}={_encoded(value)}' for name, value in self.options]
        if self.mode is not None:
            query.insert(0, f'socket_mode={"off" if self.mode == UMASK else f"{self.mode:03o}"}')
        return f'{text}?{"&".join(query)}' if query else text

    def __repr__(self) -> str:
        return f'<Address {self.without_password}>'

    @property
    def without_password(self) -> Address:
        """The address as it is shown: `***` in place of a password."""
        return self._replace(options=tuple(
            (name, '***' if 'password' in name else value) for name, value in self.options))

    @property
    def place(self) -> Address:
        """The address without what is said of it: by this a socket is known again."""
        return self._replace(mode=None, options=())

    @property
    def without_options(self) -> Address:
        """The address, with the mode of its file, and without its options."""
        return self._replace(options=())

    @property
    def inherited(self) -> bool:
        """Whether another program has opened the socket."""
        return self.fd is not None or self.name is not None

    def means(self, place: Address) -> bool:
        """Return whether this is another way to name a place: `fd:web` means `fd:3:web`."""
        if not (self.inherited and place.inherited):
            return self.place == place.place
        return self.fd in (None, place.fd) and self.name in (None, place.name)

    def with_options(self, query: str) -> Address:
        """Return it with the options that stand after its `?`. Raises `SettingError`."""
        options: dict[str, str] = {}
        for pair in query.split('&'):
            name, equals, value = pair.partition('=')
            if not name or not equals:
                raise SettingError('after `?` options stand, written NAME=VALUE&NAME=VALUE')
            if name in options:
                raise SettingError(f'{name}: given twice')
            options[name] = _decoded(name, value)
        mode = options.pop('socket_mode', None)
        address = self._replace(options=tuple(options.items()))
        return address if mode is None else address.with_mode(mode)

    def mode_or(self, default: int | None) -> int | None:
        """Return the mode for the file of a UNIX socket; None: as the umask says."""
        mode = default if self.mode is None else self.mode
        return None if mode == UMASK else mode

    def with_mode(self, value: Any) -> Address:
        """Return it with a mode of its own, as a user writes it. Raises `SettingError`."""
        if self.path is None:
            raise SettingError('socket_mode: is for UNIX sockets')
        if self.mode is not None:
            raise SettingError('socket_mode: given twice')
        if value is None or str(value).lower() in ('off', 'none'):
            return self._replace(mode=UMASK)
        try:
            return self._replace(mode=parse_mode(value))
        except ValueError:
            raise SettingError(f"socket_mode: {value!r} is not a file's mode in octal digits, such "
                               'as 660') from None


def parse_mode(value: Any) -> int:
    """Read a file's mode: `660`, `0660`, `0o660`, or Python's 0o660. Raises `ValueError`."""
    if isinstance(value, str) and (match := _MODE.fullmatch(value)):
        return int(match[1], 8)
    # (A number is what Python's `0o660` is. The decimal 660 has no meaning as a mode.)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0o777:
        return value
    raise ValueError


def bare_host(host: str) -> str:
    """Return a host without the brackets of IPv6; '' for `*`, which is every IPv4 address."""
    if host.startswith('[') and host.endswith(']'):
        return host[1:-1]
    return '' if host == '*' else host


def parse_bind(text: str) -> Address:
    """Read an address, as it is written above.

    Raises `SettingError`, whose message starts with `bind:` and says what to write instead. The
    names and values of its options are not looked at (but that of `socket_mode`).
    """
    place, mark, query = text.partition('?')
    address = _parse_place(place)
    try:
        return address.with_options(query) if mark else address
    except SettingError as error:
        # (Without the query: a password may be in it.)
        raise SettingError(f'bind: {place!r}: {error}') from None


def _parse_place(text: str) -> Address:
    if text.startswith('unix:'):
        path = _unescaped(text[5:])
        if not path or '\0' in path:
            raise SettingError(f'bind: {text!r} has no path, write unix:/path/to/socket')
        return Address(None, 0, path)
    if text.startswith('fd:'):
        match = _FD.fullmatch(text[3:].removeprefix('//'))
        if match is None or not match[0] or not match[0].isprintable():
            raise SettingError(f'bind: {text!r} is no open socket, write fd:3 or fd:NAME')
        number, name = match.groups()
        if not number and name.isdecimal():
            raise SettingError(f'bind: {text!r} is too large a number of a descriptor')
        return Address(None, fd=int(number) if number else None, name=_unescaped(name) or None)
    if text.startswith('['):
        match = _BRACKETED.fullmatch(text)
        if match is None:
            raise SettingError(f'bind: {text!r} is not [IPV6]:PORT, such as [::1]:8000')
        host, port = match.groups()
    else:
        host, colon, port = text.rpartition(':')
        if not colon or ':' in host or '/' in text:
            raise SettingError(f'bind: {text!r} {_hint(text, host, port)}')
    if not re.fullmatch('[0-9]{1,5}', port) or int(port) > 65535:
        raise SettingError(f'bind: {text!r} has a bad port, it goes from 0 (any free one) to 65535')
    return Address(bare_host(host), int(port), None)


def _escaped(text: str) -> str:
    # (`%` stays as it is, unless it would be read as an escape.)
    return re.sub('%(?=25|3F)', '%25', text, flags=re.I).replace('?', '%3F')


def _unescaped(text: str) -> str:
    return re.sub('%(25|3F)', lambda match: '%' if match[1] == '25' else '?', text, flags=re.I)


def _encoded(value: str) -> str:
    return _ENCODED.sub(lambda match: b'%%%02X' % ord(match[0]), os.fsencode(value)).decode()


def _decoded(name: str, value: str) -> str:
    def character(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            raise SettingError(f'{name}: after % two hex digits stand; % itself is written %25')
        return bytes.fromhex(match[1].decode())

    return os.fsdecode(_ESCAPE.sub(character, os.fsencode(value)))


def _hint(text: str, host: str, port: str) -> str:
    """Say what is wrong with an address, and what to write instead."""
    scheme, _, rest = text.partition('://')
    if ',' in text:
        return 'is several addresses, give each of them to a bind of its own'
    if rest and scheme.isalpha():
        return f'is a URL, write {rest.partition("/")[0]}'
    if '/' in text:
        return f'is not an address, write HOST:PORT or unix:{text if ":" not in text else "/path"}'
    if text.isdecimal():
        return f'has no port, write :{text} or HOST:{text}'
    if not host:
        return f'has no port, write {text}:8000, :8000 or unix:/path'
    if _IPV6.fullmatch(text) and (host.endswith(':') or not 2 <= len(port) <= 5
                                  or not port.isdecimal()):
        return f'is IPv6 without a port, write [{text}]:8000'
    return f'is ambiguous, write IPv6 as [{host}]:{port}'

"""Settings: the value of each option, checked and converted, for one server.

    settings = Settings(idle_timeout='5m', head_size='32KiB')
    settings.idle_timeout               # 300.0
    settings.keep_alive                 # 300.0: a synonym works wherever the name works
    settings.replace(port=0).port       # 0

`Settings(...)` takes keywords alone. `Settings.load` also reads the environment. The first of these
that sets an option wins:

    keywords and command line > TREMOLO_<NAME> > TREMOLO_<SYNONYM> > PORT, WEB_CONCURRENCY > default

An empty variable counts as not set. What is wrong raises `SettingError` with one line, which starts
with the name, the flag or the variable that the user wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..errors import SettingError
from ..typed import TYPE_CHECKING, Any
from .address import Address
from .option import SHARED
from .options import (
    BY_NAME,
    LIMITS,
    OPTIONS,
    PROXIES,
    THROTTLING,
    TIMEOUTS,
    TLS,
    WEBSOCKET,
    Options,
)

# The groups of options that one address may have for itself.
_OF_AN_ADDRESS = (LIMITS, TIMEOUTS, THROTTLING, WEBSOCKET, TLS, PROXIES)
# Options of a server that one of its addresses cannot have for itself, though it can have others
# of the same group.
_OF_THE_WHOLE = ('limit_concurrency', 'shutdown_timeout', 'websocket', 'trusted_proxies',
                 'forwarded')
# What an `ssl_context` has in itself, and what is nothing without a certificate.
_OF_A_CERTIFICATE = ('ssl_keyfile', 'ssl_keyfile_password', 'ssl_ca_certs', 'ssl_cert_reqs',
                     'ssl_ciphers')


class Settings(Options):
    """The value of each option as an attribute; by a synonym too, but only for reading."""

    # The slots hide the Option objects of `Options`, so reading an option is reading a slot.
    __slots__ = tuple(option.name for option in OPTIONS)

    def __init__(self, **options: Any) -> None:
        given = _converted(options)
        for option in OPTIONS:
            setattr(self, option.name, given.get(option.name, option.default))

    @classmethod
    def load(cls, options: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
        """Join what was given with the environment. `host` and `port` of None are not given."""
        given = _converted({name: value for name, value in options.items()
                            if value is not None or name not in ('host', 'port')})
        found: dict[str, Any] = {}
        for name, variable in variables_of(given, environ).items():
            found[name] = BY_NAME[name].convert(environ[variable], variable)
            if name == 'bind':
                _check_options(found['bind'], variable)
        settings = _overlaid(cls(), {**found, **given})
        settings.check()
        return settings

    def replace(self, **options: Any) -> Settings:
        """Return a copy in which these options differ."""
        return _overlaid(self, _converted(options))

    def for_address(self, options: Mapping[str, Any]) -> Settings:
        """Return the settings of an address with such options. Raises `SettingError`."""
        settings = self.replace(**options) if options else self
        settings.check()
        return settings

    def check(self) -> None:
        """Raise `SettingError` for an option that makes no sense without another."""
        if self.proxy_protocol != 'off' and not self.trusted_proxies:
            raise SettingError(f'proxy_protocol: {self.proxy_protocol} needs trusted_proxies: the '
                               'addresses of the proxies, which alone are believed')
        for name in ('workers', 'preload'):
            if self.reload and getattr(self, name):
                raise SettingError(f'reload: one process is watched, leave out {name}')
        if self.ssl_context is not None:
            self._refuse(('ssl_certfile', *_OF_A_CERTIFICATE),
                         'ssl_context has that in itself, give one of them')
        elif not self.ssl_certfile:
            self._refuse(_OF_A_CERTIFICATE, 'has no effect without ssl_certfile')
        else:
            self._check_certificates()

    def _refuse(self, names: tuple[str, ...], why: str) -> None:
        for name in names:
            if getattr(self, name) != BY_NAME[name].default:
                raise SettingError(f'{name}: {why}')

    def _check_certificates(self) -> None:
        keys, certificates = len(self.ssl_keyfile), len(self.ssl_certfile)
        if keys > certificates:
            raise SettingError(f'ssl_keyfile: {keys} keys and {certificates} certificates '
                               '(ssl_certfile): each key belongs to one of them')
        if self.ssl_ca_certs and self.ssl_cert_reqs == 'none':
            raise SettingError('ssl_ca_certs: needs ssl_cert_reqs, optional or required')
        if self.ssl_cert_reqs != 'none' and not self.ssl_ca_certs:
            raise SettingError(f'ssl_cert_reqs: {self.ssl_cert_reqs} needs ssl_ca_certs')

    @property
    def secure(self) -> bool:
        """Whether connections are encrypted (TLS)."""
        return bool(self.ssl_certfile) or self.ssl_context is not None

    def items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over the name and the value of each option, in the order of the table."""
        return ((option.name, getattr(self, option.name)) for option in OPTIONS)

    def by_all_names(self) -> dict[str, Any]:
        """Return the value of each option under its name and under each of its synonyms.

        A password is `***`: applications show all options in pages and logs.
        """
        return under_all_names({
            name: BY_NAME[name].show(value) if BY_NAME[name].kind == 'secret' else value
            for name, value in self.items()})

    # (Not for mypy, which would then accept any misspelled option.)
    if not TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any:
            """Return the value of an option by a synonym. Called for what is no slot."""
            option = BY_NAME.get(name)
            # The own name comes here only when its slot is empty yet: `copy` and `pickle` make an
            # object without `__init__`.
            if option is None or option.name == name:
                raise AttributeError(f'there is no option {name}')
            return getattr(self, option.name)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where to listen: `bind` and `fd`, or `host` and `port` when both are empty."""
        return self.bound or (Address(self.host, self.port),)

    @property
    def bound(self) -> tuple[Address, ...]:
        """The addresses of `bind` and `fd`: where to listen beside sockets that are given."""
        return self.bind if self.fd is None else (*self.bind, Address(None, fd=self.fd))

    def listens(self, given: bool = False) -> list[tuple[Address, dict[str, Any]]]:
        """Return where to listen, with the options of each address. Raises `SettingError`.

        With `given`, others have opened sockets that stand in place of host and port.
        """
        own = self.bound if given else self.addresses
        return [address_with(address, {}) for address in own]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        default = Settings()
        changed = (f"{n}={'***' if BY_NAME[n].kind == 'secret' else repr(v)}"
                   for n, v in self.items() if v != getattr(default, n))
        return f'Settings({", ".join(changed)})'


def variables_of(given: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that sets each option, if one does; `given` are other options."""
    found: dict[str, str] = {}
    # (Most environments have none of them: a start is 0.5 % shorter by this.)
    if not any(name.startswith('TREMOLO_') or name in SHARED for name in environ):
        return found
    given = set(given)
    for option in OPTIONS:
        # TREMOLO_BIND must not win over a host or a port that was given.
        if option.name in ('bind', 'fd') and not given.isdisjoint(('host', 'port')):
            continue
        for variable in option.variables:
            value = environ.get(variable)
            # (By the second Kubernetes tells of a service with our name: it is no port of ours.)
            if value and not (variable == 'TREMOLO_PORT' and value.startswith('tcp://')):
                found[option.name] = variable
                break
    return found


def part_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert the options of one address alone. Raises `SettingError`."""
    given = _converted(options)
    for name in options:
        option = BY_NAME[name]
        if option.group not in _OF_AN_ADDRESS or option.name in _OF_THE_WHOLE:
            raise SettingError(f'{name}: is an option of the whole server, not of one address')
    if not given.keys().isdisjoint(('ssl_certfile', 'ssl_context')):
        # The key and the rest of the whole server's certificate do not belong to another one.
        mixed: tuple[str, ...] = ('ssl_keyfile', 'ssl_keyfile_password', 'ssl_context')
        if not given.get('ssl_certfile'):
            mixed = ('ssl_certfile', *_OF_A_CERTIFICATE, 'ssl_context')
        given = {**{name: BY_NAME[name].default for name in mixed}, **given}
    return given


def address_with(address: Address, options: Mapping[str, Any]) -> tuple[Address, dict[str, Any]]:
    """Return an address, and all options of it: its own, and others. Raises `SettingError`."""
    given = dict(options)
    if 'socket_mode' in given:
        address = address.with_mode(given.pop('socket_mode'))
    for name, value in address.options:
        if name in given:
            raise SettingError(f'{name}: given twice, in the address too')
        given[name] = value
    return address.without_options, part_options(given)


def _check_options(addresses: tuple[Address, ...], label: str) -> None:
    """Raise `SettingError` if an address has an option that there is not, or not so."""
    for address in addresses:
        try:
            part_options(dict(address.options))
        except SettingError as error:
            raise SettingError(f'{label}: {str(address.place)!r}: {error}') from None


def under_all_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, each also under the other names of its option.

    A value that was given under a name keeps it; a name that is no option's stays as it is.
    """
    spread = {name: value for given, value in values.items() if given in BY_NAME
              for name in BY_NAME[given].names}
    return {**spread, **values}


def _converted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert what was given, and return it under the own name of each option."""
    given: dict[str, Any] = {}
    written: dict[str, str] = {}    # The own name to the name that was given.
    for name, value in options.items():
        option = BY_NAME.get(name)
        if option is None:
            raise SettingError(_unknown(name))
        if option.name in given:
            raise SettingError(f'{written[option.name]}: given twice, also as {name}')
        written[option.name] = name
        given[option.name] = option.convert(value, name)
    if not given.keys().isdisjoint(('host', 'port')):
        if given.get('bind'):
            raise SettingError('bind: names host and port already, give either it or them')
        if given.get('fd') is not None:
            raise SettingError('fd: is a socket that has its address, give either it or host and '
                               'port')
    _check_options(given.get('bind', ()), 'bind')
    return given


def _unknown(name: str) -> str:
    # (Imported here: it takes milliseconds, and most programs never misspell an option.)
    import difflib

    from .habits import told

    if here := told(name):
        return f'{name}: {here}'
    near = difflib.get_close_matches(name, BY_NAME, 2)
    hint = f', did you mean {" or ".join(near)}?' if near else ''
    return f'{name}: no such option{hint}'


def _overlaid(settings: Settings, converted: Mapping[str, Any]) -> Settings:
    """Return a copy of the settings in which the converted values, by own name, differ."""
    copy = Settings()
    for name, value in settings.items():
        setattr(copy, name, converted.get(name, value))
    return copy

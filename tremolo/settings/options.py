"""Every option once: its name, kind, default, limits, synonyms and line of help.

The class `Options` is the table. The command line, `app.run()`, the environment and the README's
table are all made from it, so a new option is one line here and nothing anywhere else.

    settings = Settings(idle_timeout='5m', head_size='32KiB')
    settings.idle_timeout               # 300.0
    settings.replace(port=0).port       # 0

How sizes, times, addresses and the like are written is told in kinds.py.

No limit: `off`, `none` and None turn an option off where its line says so (`off=`), and nowhere
else. 0 is a number like any other: a size of 0 allows nothing, a time of 0 is over at once. Only
where that would be senseless (no connections at all, at least 0 bytes/second) is 0 itself what
`off` is stored as; where it would merely be useless (`head_timeout`), it is refused.

Precedence: keywords and command line, then `TREMOLO_<NAME>` (and `PORT`, which hosts set), then
the default. An empty variable counts as not set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import SettingError
from .kinds import KINDS, LIFESPANS, LOG_LEVELS, LOOPS, Address, parse_bind

__all__ = [
    'OPTIONS', 'Address', 'Option', 'Settings', 'option_table', 'parse_bind', 'part_options']

LISTENING = 'listening'
LIMITS = 'HTTP limits'
TIMEOUTS = 'timeouts'
THROTTLING = 'throttling'
ANSWERS = 'answers'
ASGI = 'asyncio and ASGI'
WORKERS = 'workers'
DEVELOPMENT = 'development'

# What an option without an off value has in its place; None is one of the off values.
_NEVER: Any = object()


class Option:
    """One line of the table; its `name` is the attribute that it is assigned to."""

    __slots__ = ('default', 'group', 'help', 'kind', 'least', 'name', 'off', 'synonyms')

    def __init__(
        self, group: str, kind: str, default: Any, help: str,
        synonyms: tuple[str, ...] = (), off: Any = _NEVER, least: float = 0,
    ) -> None:
        self.name = ''
        self.group = group
        self.kind = kind
        self.default = default
        self.help = help
        self.synonyms = synonyms
        self.off = off
        self.least = least

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def unit(self) -> str:
        """What a bare number counts: bytes, seconds, bytes/second, or nothing."""
        return KINDS[self.kind].unit

    @property
    def metavar(self) -> str:
        """What stands for the value on the command line; empty for a flag."""
        return KINDS[self.kind].metavar

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set this option; the first one that is set wins."""
        names = (self.name, *self.synonyms)
        return (*(f'TREMOLO_{name.upper()}' for name in names),
                *_SHARED_VARIABLES.get(self.name, ()))

    def convert(self, value: Any, label: str = '') -> Any:
        """Return the value as Settings keeps it; a SettingError starts with `label`."""
        label = label or self.name
        may_be_off = self.off is not _NEVER
        if may_be_off and (value is None or str(value).lower() in ('off', 'none')):
            return self.off
        kind = KINDS[self.kind]
        try:
            result = kind.convert(value)
        except SettingError as error:
            raise SettingError(str(error).replace('bind', label, 1)) from None
        except (TypeError, ValueError):
            off = ', or off' if may_be_off else ''
            raise SettingError(f'{label}: {_shorten(value)} is not {kind.accepts}{off}') from None
        if isinstance(result, (int, float)) and result < self.least:
            unit = f' {kind.unit}' if kind.unit else ''
            raise SettingError(
                f'{label}: {_shorten(value)} is too small, at least {self.least:g}{unit}')
        return result

    def show(self, value: Any) -> str:
        """Write a value the way a user would: `16KiB`, `30s`, `off`."""
        if self.off is not _NEVER and value == self.off:
            return 'off'
        return KINDS[self.kind].show(value)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 64 else text[:61] + '...'


# What no address has for itself, though others of its group are.
_OF_THE_WHOLE = ('limit_concurrency', 'shutdown_timeout')
# What hosts set for any server.
_SHARED_VARIABLES = {'port': ('PORT',), 'workers': ('WEB_CONCURRENCY',)}


def _option(*args: Any, **kwargs: Any) -> Any:
    # Any, so that the table below can give each option the type its value will have.
    return Option(*args, **kwargs)


class Options:
    """The table itself: a group, a kind, the default, and what `--help` says."""

    __slots__ = ()

    host: str = _option(LISTENING, 'text', '127.0.0.1', 'host name or address to listen on')
    port: int = _option(LISTENING, 'port', 8000, 'TCP port to listen on, 0 for any free one')
    bind: tuple[Address, ...] = _option(
        LISTENING, 'binds', (),
        'listen on HOST:PORT, :PORT, [IPV6]:PORT or unix:/path instead; may be repeated')
    backlog: int = _option(
        LISTENING, 'count', 1024, 'most connections that wait to be accepted', least=1)
    connections: int = _option(
        LISTENING, 'count', 0,
        'most open connections, more wait in the backlog; off: as many as descriptors allow', off=0)

    head_size: int = _option(
        LIMITS, 'size', 16384, 'largest request head',
        synonyms=('client_max_header_size',), least=64)
    field_count: int = _option(LIMITS, 'count', 100, 'most header fields of a request', least=1)
    body_size: int | None = _option(
        LIMITS, 'size', None, 'largest request body',
        synonyms=('client_max_body_size',), off=None)
    body_buffer_size: int = _option(
        LIMITS, 'size', 2 << 20, 'most bytes that body() and json() collect in memory',
        synonyms=('buffered_size',))
    chunk_overhead: int = _option(
        LIMITS, 'size', 65536, 'most bytes of chunk sizes and extensions in a request body')
    trailer_size: int = _option(LIMITS, 'size', 8192, 'largest trailer section of a request')
    pipeline_size: int = _option(
        LIMITS, 'size', 65536,
        'most bytes of further requests read ahead while one is being answered')
    discard_size: int = _option(
        LIMITS, 'size', 262144,
        'most bytes of an unread request body thrown away to keep the connection',
        synonyms=('drain_size',))
    limit_concurrency: int = _option(
        LIMITS, 'count', 0, 'most requests answered at a time, a further one gets 503', off=0)

    first_byte_timeout: float = _option(
        TIMEOUTS, 'time', 30.0, 'from the accepted connection to the first byte', least=0.001)
    head_timeout: float = _option(
        TIMEOUTS, 'time', 10.0, 'from the first byte of a request head to its end',
        synonyms=('request_timeout',), least=0.001)
    idle_timeout: float = _option(
        TIMEOUTS, 'time', 30.0, 'from an answer to the next request of the connection',
        synonyms=('keepalive_timeout', 'timeout_keep_alive', 'keep_alive'))
    half_close_timeout: float = _option(
        TIMEOUTS, 'time', 1.0,
        'how long a client that sent its end may receive nothing before its handler is cancelled')
    linger_timeout: float = _option(
        TIMEOUTS, 'time', 2.0, 'how long a refused client may go on sending before the close')
    shutdown_timeout: float = _option(
        TIMEOUTS, 'time', 30.0, 'how long a graceful stop waits for what is in flight',
        synonyms=('graceful_timeout', 'timeout_graceful_shutdown'))
    handler_timeout: float = _option(
        TIMEOUTS, 'time', 0.0, 'how long a handler may take',
        synonyms=('app_handler_timeout',), off=0.0)
    rate_grace: float = _option(
        TIMEOUTS, 'time', 5.0,
        'how long a client may be slower than min_upload_rate and min_download_rate')
    min_upload_rate: int = _option(
        TIMEOUTS, 'rate', 240, 'slowest upload of a request body, after rate_grace',
        synonyms=('body_rate',), off=0)
    min_download_rate: int = _option(
        TIMEOUTS, 'rate', 240, 'slowest download of an answer, after rate_grace',
        synonyms=('answer_rate',), off=0)

    download_rate: int = _option(
        THROTTLING, 'rate', 0, 'most that one connection receives', off=0)
    upload_rate: int = _option(
        THROTTLING, 'rate', 0, 'most that one connection may send', off=0)
    worker_download_rate: int = _option(
        THROTTLING, 'rate', 0, 'most that all connections of a worker receive together', off=0)
    worker_upload_rate: int = _option(
        THROTTLING, 'rate', 0, 'most that all connections of a worker may send together', off=0)

    loop: str = _option(
        ASGI, 'loop', 'reactor',
        'whose loop drives everything: our own, or one that we are a guest of: ' + ', '.join(LOOPS))
    root_path: str = _option(
        ASGI, 'text', '', 'the path under which an ASGI application is mounted')
    lifespan: str = _option(
        ASGI, 'lifespan', 'auto',
        'whether its startup and shutdown are run: ' + ', '.join(LIFESPANS))
    startup_timeout: float = _option(
        ASGI, 'time', 60.0, 'how long its startup, and its shutdown, may take', off=0.0)

    buffer_size: int = _option(
        ANSWERS, 'size', 16384, 'bytes of an answer collected before they are sent', least=1)
    server_name: str = _option(
        ANSWERS, 'text', 'tremolo', 'the Server header; off or empty: no such header', off='')

    workers: int | None = _option(
        WORKERS, 'count', None, 'how many processes serve; off: this one alone',
        synonyms=('worker_num',), off=None, least=1)
    worker_timeout: float = _option(
        WORKERS, 'time', 30.0, 'a worker whose loop stands still so long is replaced', off=0.0)
    max_requests: int = _option(
        WORKERS, 'count', 0, 'requests, and up to a tenth more, until a worker is renewed', off=0)
    limit_memory: int = _option(
        WORKERS, 'size', 0, 'resident memory above which a worker is renewed, on Linux', off=0)
    shared_socket: bool = _option(
        WORKERS, 'flag', False,
        'one socket for all: nobody waits for a busy worker, but connections spread unevenly')
    preload: bool = _option(
        WORKERS, 'flag', False,
        'import the application once and then fork the workers; SIGHUP brings no new code then')

    debug: bool = _option(
        DEVELOPMENT, 'flag', False,
        'tracebacks in error pages, a log of everything, and warnings of code that blocks the loop')
    log_level: str = _option(
        DEVELOPMENT, 'level', 'info', 'least important messages shown: ' + ', '.join(LOG_LEVELS))


OPTIONS: tuple[Option, ...] = tuple(
    value for value in vars(Options).values() if isinstance(value, Option))
_BY_NAME = {name: option for option in OPTIONS for name in (option.name, *option.synonyms)}


def _converted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert what was given, under each option's own name."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        option = _BY_NAME.get(name)
        if option is None:
            raise SettingError(_unknown(name))
        if option.name in given:
            raise SettingError(f'{option.name}: given twice, also as {name}')
        given[option.name] = option.convert(value)
    if given.get('bind') and not given.keys().isdisjoint(('host', 'port')):
        raise SettingError('bind: names host and port already, give either it or them')
    return given


def part_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert the options of one address alone. Raises `SettingError`."""
    given = _converted(options)
    for name in given:
        if _BY_NAME[name].group not in (LIMITS, TIMEOUTS, THROTTLING) or name in _OF_THE_WHOLE:
            raise SettingError(f'{name}: is an option of the whole server, not of one address')
    return given


def _unknown(name: str) -> str:
    # Imported when needed: it costs milliseconds, and most programs never misspell an option.
    import difflib

    near = difflib.get_close_matches(name, _BY_NAME, 2)
    hint = f', did you mean {" or ".join(near)}?' if near else ''
    return f'{name}: no such option{hint}'


class Settings(Options):
    """The value of every option, one attribute each, checked and converted."""

    # The slots hide the Option objects of the table above; reading one is a plain attribute access.
    __slots__ = tuple(option.name for option in OPTIONS)

    def __init__(self, **options: Any) -> None:
        given = _converted(options)
        for option in OPTIONS:
            setattr(self, option.name, given.get(option.name, option.default))

    @classmethod
    def load(cls, options: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
        """Join what was given with the environment's variables; what was given wins."""
        given = _converted({name: value for name, value in options.items()
                            if value is not None or name not in ('host', 'port')})
        found: dict[str, Any] = {}
        for option in OPTIONS:
            # An address on the command line must not lose to TREMOLO_BIND.
            if option.name == 'bind' and not given.keys().isdisjoint(('host', 'port')):
                continue
            for variable in option.variables:
                if environ.get(variable):
                    found[option.name] = option.convert(environ[variable], variable)
                    break
        return _overlaid(cls(), {**found, **given})

    def replace(self, **options: Any) -> Settings:
        """Return a copy in which these options differ."""
        return _overlaid(self, _converted(options))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Every option's name and value, in the order of the table."""
        return ((option.name, getattr(self, option.name)) for option in OPTIONS)

    def __getattr__(self, name: str) -> Any:
        """Return the value of an option by a synonym: an old name, or another server's."""
        option = _BY_NAME.get(name)
        if option is None:
            raise AttributeError(f'there is no option {name}')
        return getattr(self, option.name)

    def by_all_names(self) -> dict[str, Any]:
        """Return the value of each option under its name and under each of its synonyms."""
        return {name: getattr(self, option.name) for name, option in _BY_NAME.items()}

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where to listen: `bind`, or `host` and `port` when it is empty."""
        return self.bind or (Address(self.host, self.port),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        default = Settings()
        changed = (f'{n}={v!r}' for n, v in self.items() if v != getattr(default, n))
        return f'Settings({", ".join(changed)})'


def _overlaid(settings: Settings, converted: Mapping[str, Any]) -> Settings:
    copy = Settings()
    for name, value in settings.items():
        setattr(copy, name, converted.get(name, value))
    return copy


def option_table() -> str:
    """Write the options as the Markdown table of the README."""
    lines = ['| option | default | unit | meaning |', '| --- | --- | --- | --- |']
    group = ''
    for option in OPTIONS:
        if option.group != group:
            group = option.group
            lines.append(f'| **{group}** | | | |')
        meaning = option.help
        if option.synonyms:
            meaning += ' (also ' + ', '.join(f'`{name}`' for name in option.synonyms) + ')'
        default = option.show(option.default)
        default = f'`{default}`' if default else ''
        lines.append(f'| `{option.name}` | {default} | {option.unit} | {meaning} |')
    return '\n'.join(lines) + '\n'

"""Options: each option once, with its name, kind, default, limits, synonyms and line of help.

The class `Options` is the table. The command line, the keywords of `app.run()`, the environment and
the table in the README are all made from it, so a new option is one line here and nothing anywhere
else. How a size, a time, an address or another value is written is told in kinds.py.

`off`, `none` and None turn an option off if its line has an `off=`, and are refused otherwise. 0 is
a number like any other: a size of 0 allows no byte, a time of 0 is over at once. Where 0 makes no
sense (no connections at all, at least 0 bytes/second), 0 is the value that `off` is stored as.
Where 0 makes sense but no use (`head_timeout`), it is refused.

A synonym is an old name of an option, or the name that another server has for it. Each synonym
works wherever the name works.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import SettingError
from ..typed import Any
from .address import Address
from .kinds import CERT_REQS, FORWARDED, KINDS, LIFESPANS, LOG_LEVELS, LOOPS, PROXY_PROTOCOLS

LISTENING = 'listening'
LIMITS = 'HTTP limits'
TIMEOUTS = 'timeouts'
THROTTLING = 'throttling'
ANSWERS = 'answers'
WEBSOCKET = 'WebSocket'
ASGI = 'asyncio and ASGI'
TLS = 'TLS'
PROXIES = 'proxies'
WORKERS = 'workers'
DEVELOPMENT = 'development'

# Variables without our prefix, which hosts of applications set for any server.
_SHARED_VARIABLES = {'port': ('PORT',), 'workers': ('WEB_CONCURRENCY',),
                     'trusted_proxies': ('FORWARDED_ALLOW_IPS',)}

# The `off` of an option that cannot be off. (None cannot stand for that: it is the `off` of some.)
_NEVER: Any = object()


class Option:
    """One line of the table. Its `name` is that of the attribute in `Options`."""

    __slots__ = ('default', 'group', 'help', 'kind', 'least', 'most', 'name', 'off', 'synonyms')

    def __init__(
        self, group: str, kind: str, default: Any, help: str,
        synonyms: tuple[str, ...] = (), off: Any = _NEVER, least: float = 0,
        most: float | None = None,
    ) -> None:
        self.name = ''
        self.group = group
        self.kind = kind
        self.default = default
        self.help = help
        self.synonyms = synonyms
        self.off = off
        self.least = least
        self.most = KINDS[kind].most if most is None else most

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def unit(self) -> str:
        """The unit of a bare number: bytes, seconds, bytes/second, or '' for a plain count."""
        return KINDS[self.kind].unit

    @property
    def metavar(self) -> str:
        """The word for the value in the help of the command line; '' for a flag."""
        return KINDS[self.kind].metavar

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the synonyms."""
        return (self.name, *self.synonyms)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set this option; the first one that is set wins."""
        synonyms = (f'TREMOLO_{name.upper()}' for name in self.synonyms)
        main = self.main_variables
        return (*main[:1], *synonyms, *main[1:]) if main else ()

    @property
    def main_variables(self) -> tuple[str, ...]:
        """The environment variables to tell users about: without those of the synonyms."""
        if self.kind == 'context':
            return ()    # An object of Python, which no text can name.
        return (f'TREMOLO_{self.name.upper()}', *_SHARED_VARIABLES.get(self.name, ()))

    def convert(self, value: Any, label: str = '') -> Any:
        """Return the value as `Settings` keeps it.

        Raises `SettingError` with one line that starts with `label`: the name, the flag or the
        variable that the user wrote. Without a label it starts with the name of the option.
        """
        label = label or self.name
        may_be_off = self.off is not _NEVER
        if may_be_off and (value is None or str(value).lower() in ('off', 'none')):
            return self.off
        kind = KINDS[self.kind]
        try:
            result = kind.convert(value)
        except SettingError as error:
            raise SettingError(f'{label}: {str(error).removeprefix("bind: ")}') from None
        except (TypeError, ValueError):
            off = ', or off' if may_be_off else ''
            text = '***' if self.kind == 'secret' else _shorten(value)
            raise SettingError(f'{label}: {text} is not {kind.accepts}{off}') from None
        # (0 is the `off` of some, and is given as 0, too.)
        if isinstance(result, (int, float)) and result != self.off and not (
                self.least <= result <= self.most):
            what, limit = ('small, at least', self.least) if result < self.least else (
                'large, at most', self.most)
            number = f'{limit:.3f}'.rstrip('0').rstrip('.')
            unit = f' {kind.unit}' if kind.unit else ''
            raise SettingError(f'{label}: {_shorten(value)} is too {what} {number}{unit}')
        return result

    def show(self, value: Any) -> str:
        """Write a value as a user would: `16KiB`, `30s`, `off`."""
        if self.off is not _NEVER and value == self.off:
            return 'off'
        return KINDS[self.kind].show(value)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 64 else text[:61] + '...'


def _option(*args: Any, **kwargs: Any) -> Any:
    # (It returns Any, so that each line of the table can declare the type of the option's value.)
    return Option(*args, **kwargs)


class Options:
    """The table. Each line: the group, the kind, the default, the help, and what is special."""

    __slots__ = ()

    host: str = _option(
        LISTENING, 'host', '127.0.0.1',
        'host name or address to listen on; *: every IPv4 address, ::: every IPv6 and IPv4 one')
    port: int = _option(LISTENING, 'port', 8000, 'TCP port to listen on, 0 for any free one')
    bind: tuple[Address, ...] = _option(
        LISTENING, 'binds', (),
        'listen on HOST:PORT, :PORT, [IPV6]:PORT, unix:/path or fd:NAME instead; may be repeated, '
        'and `?name=value&...` gives an address options of its own')
    fd: int | None = _option(
        LISTENING, 'count', None,
        'listen on this open descriptor, a listening socket; the same as a bind to fd:N', off=None)
    socket_mode: int | None = _option(
        LISTENING, 'mode', 0o666,
        'who may connect to a UNIX socket, as the mode of its file; off: as the umask says',
        off=None)
    backlog: int = _option(
        LISTENING, 'count', 1024, 'most connections that wait to be accepted', least=1, most=65535)
    connections: int = _option(
        LISTENING, 'count', 0,
        'most open connections, more wait in the backlog; off: as many as descriptors allow', off=0)

    head_size: int = _option(
        LIMITS, 'size', 32768, 'largest request head',
        synonyms=('client_max_header_size',), least=64)
    field_count: int = _option(LIMITS, 'count', 128, 'most header fields of a request', least=1)
    body_size: int | None = _option(
        LIMITS, 'size', None, 'largest request body',
        synonyms=('client_max_body_size',), off=None)
    body_buffer_size: int = _option(
        LIMITS, 'size', 2 << 20, 'most bytes that body() and json() collect in memory',
        synonyms=('buffered_size',))
    form_size: int = _option(
        LIMITS, 'size', 2 << 20, 'most bytes of the fields of a form, which are kept in memory')
    form_fields: int = _option(LIMITS, 'count', 1000, 'most fields of a form')
    part_count: int = _option(LIMITS, 'count', 1000, 'most parts of an upload: files and fields')
    part_head_size: int = _option(
        LIMITS, 'size', 8192, 'largest head of a part of an upload', least=64)
    part_fields: int = _option(
        LIMITS, 'count', 16, 'most header fields of a part of an upload', least=1)
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
        TIMEOUTS, 'time', 75.0, 'from an answer to the next request of the connection',
        synonyms=('keepalive_timeout', 'timeout_keep_alive', 'keep_alive'))
    half_close_timeout: float = _option(
        TIMEOUTS, 'time', 30.0,
        'how long a half-closed client may take nothing before its handler is cancelled; at most '
        '1s while connections are scarce')
    linger_timeout: float = _option(
        TIMEOUTS, 'time', 2.0,
        'how long a refused client may be silent before the close; 30s in all while it sends')
    shutdown_timeout: float = _option(
        TIMEOUTS, 'time', 30.0, 'how long a graceful stop waits for what is in flight',
        synonyms=('graceful_timeout', 'timeout_graceful_shutdown'))
    handler_timeout: float = _option(
        TIMEOUTS, 'time', 0.0, 'how long a handler may take',
        synonyms=('app_handler_timeout',), off=0.0)
    stall_timeout: float = _option(
        TIMEOUTS, 'time', 60.0,
        'how long a client may take nothing of an answer, or send nothing of a body', off=0.0)
    rate_grace: float = _option(
        TIMEOUTS, 'time', 5.0,
        'how long a client may be slower than the two rates below, while connections are scarce')
    min_upload_rate: int = _option(
        TIMEOUTS, 'rate', 240, 'slowest upload of a request body while connections are scarce',
        synonyms=('body_rate',), off=0)
    min_download_rate: int = _option(
        TIMEOUTS, 'rate', 240, 'slowest download of an answer while connections are scarce',
        synonyms=('answer_rate',), off=0)

    ssl_certfile: tuple[str, ...] = _option(
        TLS, 'paths', (),
        'certificates in PEM, one file for each name; a client gets that of the name it asks for, '
        'or else the first', synonyms=('certfile', 'ssl_cert'), off=())
    ssl_keyfile: tuple[str, ...] = _option(
        TLS, 'paths', (),
        'the private key of each certificate, in the same order; without one it is in the '
        'same file',
        synonyms=('keyfile', 'ssl_key'), off=())
    ssl_keyfile_password: str = _option(
        TLS, 'secret', '', 'password of the private keys', synonyms=('keyfile_password',))
    ssl_ca_certs: str = _option(
        TLS, 'path', '', 'certificates in PEM of the authorities that clients are verified by',
        synonyms=('ca_certs',), off='')
    ssl_cert_reqs: str = _option(
        TLS, 'cert_reqs', 'none', 'whether a client has to show a certificate: '
        + ', '.join(CERT_REQS), synonyms=('cert_reqs',))
    ssl_ciphers: str = _option(
        TLS, 'ciphers', '', 'ciphers of TLS 1.2, as OpenSSL writes them',
        synonyms=('ciphers',), off='')
    ssl_context: Any = _option(
        TLS, 'context', None, 'an `ssl.SSLContext` of your own, in place of all of these', off=None)
    ssl_handshake_timeout: float = _option(
        TLS, 'time', 10.0, 'how long a handshake may take', least=0.001)
    ssl_handshakes: int = _option(
        TLS, 'count', 1024, 'most handshakes at a time; further clients wait', least=1)

    trusted_proxies: tuple[str, ...] = _option(
        PROXIES, 'networks', (),
        'addresses and networks (CIDR) of proxies that are believed, `unix`, or `*` for all',
        synonyms=('forwarded_allow_ips',), off=())
    forwarded: str = _option(
        PROXIES, 'forwarded', 'x-forwarded',
        'which header fields of a trusted proxy say who its client is: ' + ', '.join(FORWARDED))
    proxy_protocol: str = _option(
        PROXIES, 'proxy_protocol', 'off',
        'whether trusted proxies begin each connection with a PROXY header: '
        + ', '.join(PROXY_PROTOCOLS))

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
        'the loop that drives everything: our own, or the named one with us as its guest: '
        + ', '.join(LOOPS))
    root_path: str = _option(
        ASGI, 'text', '', 'the path under which the application is mounted, for ASGI, WSGI and '
        'url_for')
    lifespan: str = _option(
        ASGI, 'lifespan', 'auto',
        'whether startup and shutdown of an ASGI application are run: ' + ', '.join(LIFESPANS))
    startup_timeout: float = _option(
        ASGI, 'time', 60.0, 'how long its startup may take, and its shutdown', off=0.0)

    buffer_size: int = _option(
        ANSWERS, 'size', 16384, 'bytes of an answer collected before they are sent', least=1)
    sse_heartbeat: float = _option(
        ANSWERS, 'time', 15.0, 'how long an event stream sends nothing, then it sends a comment',
        off=0.0)
    server_name: str = _option(
        ANSWERS, 'text', 'tremolo', 'the Server header; off or empty: no such header', off='')

    websocket: bool = _option(
        WEBSOCKET, 'websocket', True, 'whether WebSocket handshakes are answered',
        synonyms=('ws',), off=False)
    ws_message_size: int = _option(
        WEBSOCKET, 'size', 1 << 20, 'largest message, inflated; a longer one is 1009',
        synonyms=('ws_max_size', 'ws_max_payload_size', 'websocket_max_message_size'), least=1)
    ws_queue: int = _option(
        WEBSOCKET, 'count', 64, 'most messages of a client that wait for their handler',
        synonyms=('ws_max_queue',), least=1)
    ws_ping_interval: float = _option(
        WEBSOCKET, 'time', 20.0, 'how long a client is silent before it gets a ping',
        synonyms=('websocket_ping_interval',), off=0.0)
    ws_ping_timeout: float = _option(
        WEBSOCKET, 'time', 20.0, 'how long a client may take to answer a ping, then it is 1011',
        off=0.0)
    ws_close_timeout: float = _option(
        WEBSOCKET, 'time', 10.0, 'how long a close waits for the close of the client')
    ws_compression: bool = _option(
        WEBSOCKET, 'switch', True, 'whether messages are compressed for clients that offer it',
        synonyms=('ws_per_message_deflate',), off=False)

    workers: int | None = _option(
        WORKERS, 'count', None, 'how many processes serve; off: this process alone',
        synonyms=('worker_num',), off=None, least=1)
    threads: int = _option(
        WORKERS, 'count', 32,
        'most threads of `run_in_thread` and `thread=True`, and as many of WSGI applications',
        synonyms=('thread_pool_size',), least=1)
    worker_timeout: float = _option(
        WORKERS, 'time', 30.0, 'a worker whose loop stands still for so long is replaced', off=0.0)
    max_requests: int = _option(
        WORKERS, 'count', 0, 'requests, and up to a tenth more, until a worker is renewed',
        synonyms=('limit_max_requests',), off=0)
    limit_memory: int = _option(
        WORKERS, 'size', 0, 'resident memory above which a worker is renewed, on Linux', off=0,
        least=1 << 20)
    shared_socket: bool = _option(
        WORKERS, 'flag', False,
        'one socket for all workers: no client waits for a busy one, but the load is uneven')
    preload: bool = _option(
        WORKERS, 'flag', False,
        'import the application once, before the workers are forked; SIGHUP brings no new code')

    debug: bool = _option(
        DEVELOPMENT, 'flag', False,
        'tracebacks in error pages, a log of everything, and warnings of code that blocks the loop')
    log_level: str = _option(
        DEVELOPMENT, 'level', 'info', 'least important messages shown: ' + ', '.join(LOG_LEVELS))


OPTIONS: tuple[Option, ...] = tuple(
    value for value in vars(Options).values() if isinstance(value, Option))
# The same by each of their names: the synonyms too.
BY_NAME: Mapping[str, Option] = {name: option for option in OPTIONS for name in option.names}


def option_table() -> str:
    """Return the options as the Markdown table of the README at the top."""
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

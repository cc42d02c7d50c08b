"""Options: each option once, with its name, kind, default, limits, synonyms and line of help.

The class `Options` is the table. The command line, the keywords of `app.run()`, the environment and
the table in the README are all made from it, so a new option is one line here and nothing anywhere
else. How a size, a time, an address or another value is written is told in kinds.py.

A synonym is an old name of an option, or the name that another server has for it. Each synonym
works wherever the name works.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..typed import Any
from .address import Address
from .kinds import (
    CERT_REQS,
    FORWARDED,
    LIFESPANS,
    LOG_FORMATS,
    LOG_LEVELS,
    LOOPS,
    PROXY_PROTOCOLS,
)
from .option import Option, option

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
LOG = 'logs'
OPERATIONS = 'operations'
DEVELOPMENT = 'development'


class Options:
    """The table. Each line: the group, the kind, the default, the help, and what is special."""

    __slots__ = ()

    host: str = option(
        LISTENING, 'host', '127.0.0.1',
        'host name or address to listen on; *: every IPv4 address, ::: every IPv6 and IPv4 one')
    port: int = option(LISTENING, 'port', 8000, 'TCP port to listen on, 0 for any free one')
    bind: tuple[Address, ...] = option(
        LISTENING, 'binds', (),
        'listen on HOST:PORT, :PORT, [IPV6]:PORT, unix:/path or fd:NAME instead; may be repeated, '
        'and `?name=value&...` gives an address options of its own')
    fd: int | None = option(
        LISTENING, 'count', None,
        'listen on this open descriptor, a listening socket; the same as a bind to fd:N', off=None)
    socket_mode: int | None = option(
        LISTENING, 'mode', 0o666,
        'who may connect to a UNIX socket, as the mode of its file; off: as the umask says',
        off=None)
    backlog: int = option(
        LISTENING, 'count', 1024, 'most connections that wait to be accepted', least=1, most=65535)
    connections: int = option(
        LISTENING, 'count', 0,
        'most open connections, more wait in the backlog; off: as many as descriptors allow', off=0)
    connections_per_client: int = option(
        LISTENING, 'count', 0, 'most open connections of one client address, and most of its '
        'requests at a time; a further connection is closed, a further request gets 429', off=0)

    head_size: int = option(
        LIMITS, 'size', 32768, 'largest request head',
        synonyms=('client_max_header_size',), least=64)
    field_count: int = option(LIMITS, 'count', 128, 'most header fields of a request', least=1)
    body_size: int | None = option(
        LIMITS, 'size', None, 'largest request body',
        synonyms=('client_max_body_size',), off=None)
    body_buffer_size: int = option(
        LIMITS, 'size', 2 << 20, 'most bytes that body() collects in memory',
        synonyms=('buffered_size',))
    json_size: int = option(
        LIMITS, 'size', 262144, 'most bytes that json() reads: all wait while it is parsed, 5 ms '
        'for 256KiB of records, 30 ms of nested lists')
    form_size: int = option(
        LIMITS, 'size', 524288, 'most bytes of the fields of a form, which are kept in memory: 12 '
        'ms for 256KiB of escapes, in turns')
    form_fields: int = option(LIMITS, 'count', 1000, 'most fields of a form')
    part_count: int = option(LIMITS, 'count', 1000, 'most parts of an upload: files and fields')
    part_head_size: int = option(
        LIMITS, 'size', 8192, 'largest head of a part of an upload', least=64)
    part_fields: int = option(
        LIMITS, 'count', 16, 'most header fields of a part of an upload', least=1)
    chunk_overhead: int = option(
        LIMITS, 'size', 65536, 'most bytes of chunk sizes, extensions and trailers beyond those of '
        'the body; a quarter as many chunks beside one for each 16 bytes')
    trailer_size: int = option(LIMITS, 'size', 8192, 'largest trailer section of a request')
    pipeline_size: int = option(
        LIMITS, 'size', 65536,
        'most bytes of further requests read ahead while one is being answered')
    discard_size: int = option(
        LIMITS, 'size', 262144,
        'most bytes of an unread request body thrown away to keep the connection',
        synonyms=('drain_size',))
    limit_concurrency: int = option(
        LIMITS, 'count', 0, 'most requests answered at a time, a further one gets 503', off=0)

    first_byte_timeout: float = option(
        TIMEOUTS, 'time', 30.0, 'from the accepted connection to the first byte', least=0.001)
    head_timeout: float = option(
        TIMEOUTS, 'time', 10.0, 'from the first byte of a request head to its end',
        synonyms=('request_timeout',), least=0.001)
    idle_timeout: float = option(
        TIMEOUTS, 'time', 75.0, 'from an answer to the next request of the connection',
        synonyms=('keepalive_timeout', 'timeout_keep_alive', 'keep_alive'))
    half_close_timeout: float = option(
        TIMEOUTS, 'time', 30.0,
        'how long a half-closed client may take nothing before its handler is cancelled; at most '
        '1s while connections are scarce')
    linger_timeout: float = option(
        TIMEOUTS, 'time', 2.0,
        'how long a refused client may be silent before the close; 30s in all while it sends')
    shutdown_timeout: float = option(
        TIMEOUTS, 'time', 30.0, 'how long a graceful stop waits for what is in flight',
        synonyms=('graceful_timeout', 'timeout_graceful_shutdown'))
    handler_timeout: float = option(
        TIMEOUTS, 'time', 0.0, 'how long a handler may take',
        synonyms=('app_handler_timeout',), off=0.0)
    stall_timeout: float = option(
        TIMEOUTS, 'time', 60.0,
        'how long a client may take nothing of an answer, or send nothing of a body', off=0.0)
    rate_grace: float = option(
        TIMEOUTS, 'time', 5.0,
        'how long a client may be slower than the two rates below, while connections are scarce')
    min_upload_rate: int = option(
        TIMEOUTS, 'rate', 240, 'slowest upload of a request body while connections are scarce',
        synonyms=('body_rate',), off=0)
    min_download_rate: int = option(
        TIMEOUTS, 'rate', 240, 'slowest download of an answer while connections are scarce',
        synonyms=('answer_rate',), off=0)

    ssl_certfile: tuple[str, ...] = option(
        TLS, 'paths', (),
        'certificates in PEM, one file for each name; a client gets that of the name it asks for, '
        'or else the first', synonyms=('certfile', 'ssl_cert'), off=())
    ssl_keyfile: tuple[str, ...] = option(
        TLS, 'paths', (),
        'the private key of each certificate, in the same order; without one it is in the '
        'same file',
        synonyms=('keyfile', 'ssl_key'), off=())
    ssl_keyfile_password: str = option(
        TLS, 'secret', '', 'password of the private keys', synonyms=('keyfile_password',))
    ssl_ca_certs: str = option(
        TLS, 'path', '', 'certificates in PEM of the authorities that clients are verified by',
        synonyms=('ca_certs',), off='')
    ssl_cert_reqs: str = option(
        TLS, 'cert_reqs', 'none', 'whether a client has to show a certificate: '
        + ', '.join(CERT_REQS), synonyms=('cert_reqs',))
    ssl_ciphers: str = option(
        TLS, 'ciphers', '', 'ciphers of TLS 1.2, as OpenSSL writes them',
        synonyms=('ciphers',), off='')
    ssl_context: Any = option(
        TLS, 'context', None, 'an `ssl.SSLContext` of your own, in place of all of these', off=None)
    ssl_handshake_timeout: float = option(
        TLS, 'time', 10.0, 'how long a handshake may take', least=0.001)
    ssl_handshakes: int = option(
        TLS, 'count', 1024, 'most handshakes at a time; further clients wait', least=1)

    trusted_proxies: tuple[str, ...] = option(
        PROXIES, 'networks', (),
        'addresses and networks (CIDR) of proxies that are believed, `unix`, or `*` for all',
        synonyms=('forwarded_allow_ips',), off=())
    forwarded: str = option(
        PROXIES, 'forwarded', 'x-forwarded',
        'which header fields of a trusted proxy say who its client is: ' + ', '.join(FORWARDED))
    proxy_protocol: str = option(
        PROXIES, 'proxy_protocol', 'off',
        'whether trusted proxies begin each connection with a PROXY header: '
        + ', '.join(PROXY_PROTOCOLS))

    download_rate: int = option(
        THROTTLING, 'rate', 0, 'most that one connection receives', off=0)
    upload_rate: int = option(
        THROTTLING, 'rate', 0, 'most that one connection may send', off=0)
    worker_download_rate: int = option(
        THROTTLING, 'rate', 0, 'most that all connections of a worker receive together', off=0)
    worker_upload_rate: int = option(
        THROTTLING, 'rate', 0, 'most that all connections of a worker may send together', off=0)

    loop: str = option(
        ASGI, 'loop', 'reactor',
        'the loop that drives everything: our own, or the named one with us as its guest: '
        + ', '.join(LOOPS))
    root_path: str = option(
        ASGI, 'text', '', 'the path under which the application is mounted, for ASGI, WSGI and '
        'url_for')
    lifespan: str = option(
        ASGI, 'lifespan', 'auto',
        'whether startup and shutdown of an ASGI application are run: ' + ', '.join(LIFESPANS))
    startup_timeout: float = option(
        ASGI, 'time', 60.0, 'how long its startup may take, and its shutdown', off=0.0)

    buffer_size: int = option(
        ANSWERS, 'size', 16384, 'bytes of an answer collected before they are sent', least=1)
    sse_heartbeat: float = option(
        ANSWERS, 'time', 15.0, 'how long an event stream sends nothing, then it sends a comment',
        off=0.0)
    server_name: str = option(
        ANSWERS, 'text', 'tremolo', 'the Server header; off or empty: no such header', off='')

    websocket: bool = option(
        WEBSOCKET, 'websocket', True, 'whether WebSocket handshakes are answered',
        synonyms=('ws',), off=False)
    ws_message_size: int = option(
        WEBSOCKET, 'size', 1 << 20, 'largest message, inflated; a longer one is 1009',
        synonyms=('ws_max_size', 'ws_max_payload_size', 'websocket_max_message_size'), least=1)
    ws_queue: int = option(
        WEBSOCKET, 'count', 64, 'most messages of a client that wait for their handler',
        synonyms=('ws_max_queue',), least=1)
    ws_ping_interval: float = option(
        WEBSOCKET, 'time', 20.0, 'how long a client is silent before it gets a ping',
        synonyms=('websocket_ping_interval',), off=0.0)
    ws_ping_timeout: float = option(
        WEBSOCKET, 'time', 20.0, 'how long a client may take to answer a ping, then it is 1011',
        off=0.0)
    ws_close_timeout: float = option(
        WEBSOCKET, 'time', 10.0, 'how long a close waits for the close of the client')
    ws_compression: bool = option(
        WEBSOCKET, 'switch', True, 'whether messages are compressed for clients that offer it',
        synonyms=('ws_per_message_deflate',), off=False)

    workers: int | None = option(
        WORKERS, 'count', None, 'how many processes serve; off: this process alone',
        synonyms=('worker_num',), off=None, least=1)
    threads: int = option(
        WORKERS, 'count', 32,
        'most threads of `run_in_thread` and `thread=True`, and as many of WSGI applications',
        synonyms=('thread_pool_size',), least=1)
    worker_timeout: float = option(
        WORKERS, 'time', 30.0, 'a worker whose loop stands still for so long is replaced', off=0.0)
    max_requests: int = option(
        WORKERS, 'count', 0, 'requests, and up to a tenth more, until a worker is renewed',
        synonyms=('limit_max_requests',), off=0)
    limit_memory: int = option(
        WORKERS, 'size', 0, 'resident memory above which a worker is renewed, on Linux', off=0,
        least=1 << 20)
    shared_socket: bool = option(
        WORKERS, 'flag', False,
        'one socket for all workers: no client waits for a busy one, but the load is uneven')
    preload: bool = option(
        WORKERS, 'flag', False,
        'import the application once, before the workers are forked; SIGHUP brings no new code')

    access_log: bool = option(
        LOG, 'flag', False, 'whether each answer has a line on stdout')
    access_logfile: str = option(
        LOG, 'file', '', 'the file that has a line for each answer; -: stdout', off='')
    access_logformat: str = option(
        LOG, 'access_format', 'combined',
        'how such a line is written: combined, json, or a template with names in braces, such as '
        "'{client} {status}'")
    request_id: bool = option(
        LOG, 'flag', False,
        'whether each request has an id, from its field X-Request-ID or made, which the answer and '
        'the logs show')
    log_format: str = option(
        LOG, 'log_format', 'text', 'how other messages are written: ' + ', '.join(LOG_FORMATS))
    log_config: str = option(
        LOG, 'path', '', 'a file that sets up all logging: JSON for `logging.config.dictConfig`',
        off='')
    log_level: str = option(
        LOG, 'level', 'info', 'least important messages shown: ' + ', '.join(LOG_LEVELS))

    health: str = option(
        OPERATIONS, 'target', '', 'the path that answers whether new requests are welcome: 200, or '
        '503 once the server stops', off='')
    drain_delay: float = option(
        OPERATIONS, 'time', 0.0, 'how long everything is served on after SIGTERM, while `health` '
        'says 503')
    metrics: Address | None = option(
        OPERATIONS, 'place', None, 'where metrics are served for Prometheus: HOST:PORT, or '
        'unix:/path', off=None)
    control: str = option(
        OPERATIONS, 'path', '', 'a UNIX socket that tells `python -m tremolo.top` of all '
        'connections', off='')

    debug: bool = option(
        DEVELOPMENT, 'flag', False,
        'tracebacks in error pages, a log of everything, and warnings of code that blocks the loop')
    reload: bool = option(
        DEVELOPMENT, 'flag', False,
        'whether files of the application are watched, and new code is served as soon as one is '
        'saved', synonyms=('use_reloader',))
    reload_dir: tuple[str, ...] = option(
        DEVELOPMENT, 'paths', (), 'further folders to watch', synonyms=('reload_dirs',), off=())


OPTIONS: tuple[Option, ...] = tuple(
    value for value in vars(Options).values() if isinstance(value, Option))
# The same by each of their names: the synonyms too.
BY_NAME: Mapping[str, Option] = {name: option for option in OPTIONS for name in option.names}


def option_table() -> str:
    """Return the options as the Markdown table of the README at the top."""
    lines = ['| option | default | unit | meaning |', '| --- | --- | --- | --- |']
    group = ''
    for each in OPTIONS:
        if each.group != group:
            group = each.group
            lines.append(f'| **{group}** | | | |')
        meaning = each.help
        if each.synonyms:
            meaning += ' (also ' + ', '.join(f'`{name}`' for name in each.synonyms) + ')'
        default = each.show(each.default)
        default = f'`{default}`' if default else ''
        lines.append(f'| `{each.name}` | {default} | {each.unit} | {meaning} |')
    return '\n'.join(lines) + '\n'

"""Limits: the attack that each limit answers, and the worst-case memory that follows from them.

    for line in limit_lines(settings): print(line)
    for line in memory_lines([settings], 'native', True): print(line)

`python -m tremolo APP --check` prints both. The bounds of memory are those of the code: tests of
the rooms server, uploads and websocket hold it to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..typed import NamedTuple
from .options import BY_NAME
from .settings import Settings

# Each option of the groups LIMITS and TIMEOUTS, and those of others that bound what clients can do.
ATTACKS = {
    'backlog': 'a flood of connections: more than these wait at their clients',
    'connections': 'connections that are only held: further ones wait in the backlog',
    'connections_per_client': 'one client that takes all connections: its further ones are closed',
    'head_size': 'a head without an end: 431, or 414 if its first line is as long',
    'field_count': 'a head of very many fields: 431',
    'body_size': 'a body that fills the disk or the memory: 413',
    'body_buffer_size': 'a body that is collected in memory: 413',
    'json_size': 'JSON that holds up the loop while it is parsed: 413',
    'form_size': 'fields of a form that fill the memory: 413',
    'form_fields': 'a form of very many small fields: 413',
    'part_count': 'an upload of very many empty parts: 413',
    'part_head_size': 'a part of an upload with a head without an end: 400',
    'part_fields': 'a part of an upload with very many header fields: 400',
    'chunk_overhead': 'chunks of one byte, or with long extensions: 400',
    'trailer_size': 'trailers without an end: 431',
    'pipeline_size': 'requests without an end while one is answered: no more is read',
    'discard_size': 'a long body that nobody wants: the connection ends',
    'limit_concurrency': 'more requests than can be answered: 503 before any work',
    'first_byte_timeout': 'connections that say nothing: closed',
    'head_timeout': 'heads that come slowly (Slowloris): 408',
    'idle_timeout': 'kept connections that are only held: closed',
    'half_close_timeout': 'requests whose client has gone: their handler is cancelled',
    'linger_timeout': 'a refused client that sends on: closed',
    'shutdown_timeout': 'a client that holds up a stop: cut',
    'handler_timeout': 'requests that keep a handler busy for ever: 503',
    'stall_timeout': 'bodies sent, or answers taken, not at all (R.U.D.Y., slow read): 408, or cut',
    'rate_grace': 'the same a byte at a time: so long below the rates, then cut',
    'min_upload_rate': 'very many slow bodies while connections are scarce: 408',
    'min_download_rate': 'very many slow readers while connections are scarce: cut',
    'ssl_handshake_timeout': 'handshakes that never end: closed',
    'ssl_handshakes': 'a flood of handshakes: further clients wait',
    'download_rate': 'one client that takes the whole line',
    'upload_rate': 'one client that sends as much as the line has',
    'ws_message_size': 'a message without an end, or one that inflates to it: 1009',
    'ws_queue': 'messages sent faster than they are handled: no more is read',
    'ws_ping_interval': 'WebSockets whose client has vanished: they are pinged',
    'ws_ping_timeout': 'and when no answer comes: 1011',
    'ws_close_timeout': 'a client that does not answer a close: closed',
    'threads': 'blocking work, and clients that are slow in it: they wait, then 503',
    'worker_timeout': 'a request that lets a handler compute for ever: the worker is replaced',
    'limit_memory': 'whatever lets the memory grow: the worker is renewed',
}
# Those without which something has no bound of ours.
_UNBOUNDED = {
    'connections': 'as many as descriptors allow',
    'body_size': 'what handlers read in pieces and save is unbounded',
    'limit_concurrency': 'as many as connections',
    'handler_timeout': 'their time is unbounded',
    'stall_timeout': 'their time is unbounded',
}

_KIB = 1 << 10
# Bytes of one connection (README.md, "Slow clients"): a piece that was read and the objects of a
# connection; what an answer keeps that its client does not take.
_READ, _KEPT = 72 * _KIB, 64 * _KIB
# A body that a handler takes in pieces; one that it saves or reads as an upload. Fields of a form
# are kept as bytes until they are text, of which Python keeps 4 bytes for each character if one of
# them is rare. (Measured with 2 MiB: 10.7 MiB.)
_BODY, _UPLOAD, _FORM = 136 * _KIB, 4096 * _KIB, 4 + 1
# What JSON becomes, for each of its bytes: lists and dictionaries of one element, nested 900 deep,
# or of none (CPython 3.9 to 3.13: 44 to 47; flat ones 23 to 40), the bytes and their text.
_JSON = 48 + 2
# What OpenSSL and its transport keep of a connection that has been busy (tls/transport.py).
_TLS = 192 * _KIB
# What waits for its handler of a WebSocket, in messages: two (websocket/backlog.py), and one that
# comes, in pieces and joined. Python keeps a text with one rare character as 4 bytes for each.
# (Measured with 1 MiB each: 2.4 MiB as bytes, 8.5 MiB as such text.)
_TEXT = 2 * 4 + 2
# What a group keeps for a socket that is slow (websocket/group.py).
_GROUP = 1024 * _KIB
# Descriptors of the process that are no connections (server/scarcity.py).
_OWN_DESCRIPTORS = 64


def limit_lines(settings: Settings) -> list[str]:
    """Return a line for each limit: its name, its value, and the attack that it answers."""
    lines = []
    for name, attack in ATTACKS.items():
        option = BY_NAME[name]
        shown = option.show(getattr(settings, name))
        if shown == 'off' and name in _UNBOUNDED:
            attack += f'; off: {_UNBOUNDED[name]}'
        elif shown != 'off' and option.kind == 'rate':
            shown += '/s'
        lines.append(f'{name:<22} {shown:<8} {attack}')
    return lines


class Memory(NamedTuple):
    """The most bytes of one connection, of a request beside it, and of a WebSocket beside it."""

    connection: int
    request: int
    websocket: int    # 0: there is none.

    def total(self, connections: int, requests: int) -> int:
        """Return the most that so many connections and requests hold, without the answers.

        A request is of no connection any more whose handler runs on without a client, and an open
        WebSocket is no request: so all of them may be there at once.
        """
        return connections * (self.connection + self.websocket) + requests * self.request


def memory_of(parts: Iterable[Settings], kind: str, websockets: bool) -> Memory:
    """Return what a connection can make the server hold, on that of its addresses that allows most.

    Of an application for ASGI the server passes on each piece of a body, and keeps none.
    """
    connection, request, websocket = [], [_BODY], [0]
    for part in parts:
        connection.append(max(part.head_size, part.pipeline_size) + _READ + _KEPT
                          + (_TLS if part.secure else 0))
        if kind in ('native', 'WSGI'):    # (A body comes before a thread of WSGI is taken, too.)
            request.append(part.body_buffer_size + _READ)
        if kind == 'native':
            request += [_JSON * part.json_size, _FORM * part.form_size + _UPLOAD]
        if websockets:
            websocket.append(_TEXT * part.ws_message_size + _GROUP)
    return Memory(max(connection), max(request), max(websocket))


def descriptors() -> int:
    """Return how many files this process may open; 0: as many as it likes, or it is not known."""
    try:
        import resource
    except ImportError:    # Windows has no such limit.
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft


def memory_lines(parts: Sequence[Settings], kind: str, websockets: bool,
                 files: int | None = None) -> list[str]:
    """Return lines that tell the worst case: formulas over the options, and their numbers.

    `files` is what `descriptors` returns.
    """
    settings = parts[0]
    memory = memory_of(parts, kind, websockets)
    most = descriptors() if files is None else files
    connections = settings.connections or max(0, most - _OWN_DESCRIPTORS)
    requests = settings.limit_concurrency or connections
    secure = any(part.secure for part in parts)
    lines = [_line('a connection', memory.connection, 'max(head_size, pipeline_size) + 136KiB'
                   + (' + 192KiB (TLS)' if secure else ''))]
    body = 'max(body_buffer_size + 72KiB, 50 x json_size, 5 x form_size + 4MiB, 136KiB)'
    lines.append(_line('and its request', memory.request, {
        'native': body, 'WSGI': 'max(body_buffer_size + 72KiB, 136KiB)'}.get(kind, '136KiB')))
    if websockets:
        lines.append(_line('or its WebSocket', memory.websocket, '10 x ws_message_size + 1MiB'))
    if not connections:
        return [*lines, 'one process            unbounded: set connections']
    lines += [_count('connections', connections, settings.connections, (
        f'connections is off: this process may open {most} files (ulimit -n)')),
        _count('requests at a time', requests, settings.limit_concurrency,
               'limit_concurrency is off: as many as connections, and handlers that run on '
               'without a client')]
    total = memory.total(connections, requests)
    lines.append(_line('one process', total, 'connections x (a connection + its WebSocket) + '
                       'requests x a request' if websockets else
                       'connections x a connection + requests x a request'))
    if settings.workers:
        lines.append(_line(f'{settings.workers} workers', settings.workers * total,
                           'workers x one process'))
    return [*lines, f'{"and the answers":<31} requests x what a handler gives at once: the '
            'application knows; 64KiB are counted above']


def _line(what: str, size: int, formula: str) -> str:
    return f'{what:<22} {shown_size(size):<8} {formula}'


def _count(what: str, number: int, option: int, without: str) -> str:
    return f'{what:<22} {number:<8} ' + ('an option says so' if option else without)


def shown_size(size: int) -> str:
    """Write a size with three digits at most: `6.1MiB`."""
    number, unit = float(size), 'B'
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB'):
        if number < 1000 or unit == 'TiB':
            break
        number /= 1024
    return f'{number:.3g}{unit}' if number < 1000 else f'{number:.0f}{unit}'

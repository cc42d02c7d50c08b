"""Rows: what a process tells of itself and of each of its connections, as JSON objects.

README.md has a table of their names. All text is printable ASCII: what a client has sent is escaped
and cut, as in the log.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator

from ..escaped import plain
from ..frames import Place, standing
from ..loop.listener import host_port
from ..machine import resident_memory
from ..server import Server
from ..server.connection import Connection
from ..server.notices import shown_request
from ..server.phases import CLOSED, UPGRADED
from ..typed import Any
from .tally import Seen, Tally
from .waits import waits_for

Row = dict[str, Any]

END = b'{"row": "end"}\n'    # The last line of an answer: without it something is missing.
_LONGEST = 300    # Characters of a path of a file, or of an address.


def line(row: Row) -> bytes:
    """Write a row as a line of ASCII."""
    return json.dumps(row).encode() + b'\n'


def rows(server: Server, tally: Tally, worker: int) -> Iterator[Row]:
    """Give the row of this process, and those of its connections. `worker` is its slot, or 0."""
    yield _process(server, tally, worker)
    for connection in list(server.connections):
        # (The rows are given in several turns.)
        try:
            if connection.phase is not CLOSED:
                yield _connection(connection, tally, worker)
        except Exception:
            tally.failed()
    for arriving in list(server.arriving):
        if arriving in server.arriving:
            yield _arriving(arriving, worker)


def _process(server: Server, tally: Tally, worker: int) -> Row:
    state = ('drains' if server.draining else
             'hands over' if server.stopping.done() else 'serves')
    return {
        'row': 'worker', 'worker': worker, 'pid': os.getpid(), 'state': state,
        'connections': dict(Counter(each.phase for each in server.connections)),
        'arriving': len(server.arriving), 'requests': tally.requests,
        'memory': resident_memory() or None, 'lag': round(tally.lag, 4),
        'time': server.reactor.time()}


def _connection(connection: Connection, tally: Tally, worker: int) -> Row:
    seen, stream = tally.seen(connection), connection.stream
    now = stream.reactor.time()
    acked = stream.acknowledged()
    unread = 0 if acked is None else max(0, stream.sent - acked)
    place = standing(connection.task) if connection.task is not None else ''
    kind, what, status, since = _what(connection, seen, bool(stream.buffered or unread))
    return {
        'row': 'connection', 'worker': worker, 'pid': os.getpid(), 'id': seen.number,
        **_ends(connection, seen), 'phase': connection.phase,
        'open': round(now - seen.begun, 3), 'since': round(max(0.0, now - since), 3),
        'kind': kind, 'what': what, 'status': status,
        'handler': _shown(place.function) if isinstance(place, Place) else '',
        'place': _shown(str(place)) if isinstance(place, Place) else '',
        'waits': _shown(waits_for(connection, unread, place)),
        'in': stream.received(), 'out': stream.sent if acked is None else acked,
        'kept': stream.buffered + stream.unsent, 'unread': unread}


def _what(connection: Connection, seen: Seen, under_way: bool
          ) -> tuple[str, str, int | None, float]:
    """Return what is in hand: its kind, method and target, the status once that is sent, its begin.

    While bytes are `under_way` after the end of an answer, it is that answer.
    """
    response, since = connection.response, connection.since
    if connection.phase is UPGRADED:
        request = getattr(response or connection.stream.receiver, 'request', None)
        # (A WebSocket is the receiver of its stream; another protocol has taken the stream.)
        kind = 'websocket' if hasattr(connection.stream.receiver, 'waits_for') else 'upgraded'
        return kind, shown_request(request) if request is not None else '', 101, since
    if response is not None:
        events = response.head_sent and response.content_type.startswith('text/event-stream')
        return ('events' if events else 'request', shown_request(response.request),
                response.status if response.head_sent else None, since)
    if under_way and seen.last[1]:
        return 'request', *seen.last
    return '', '', None, since


def _ends(connection: Connection, seen: Seen) -> Row:
    """Return the client, as a proxy names it, the proxy, and the address that it came in on."""
    response = connection.response
    request = getattr(response or connection.stream.receiver, 'request', None)
    far, (client, ours, scheme) = seen.ends(connection)
    if request is not None and request.forwarded is not None:
        client, _, scheme = request.forwarded
    peer, named = _address(far), _address(client)
    return {'client': named or peer, 'proxy': peer if named and named != peer else '',
            'address': _address(ours), 'scheme': scheme}


def _arriving(arriving: Any, worker: int) -> Row:
    """Return the row of what was accepted and is no connection yet."""
    awaits_proxy = (arriving.known is None
                    and arriving.server.settings.proxy_protocol != 'off')
    return {
        'row': 'connection', 'worker': worker, 'pid': os.getpid(), 'id': None,
        'client': _address(arriving.known[0] if arriving.known else arriving.address), 'proxy': '',
        'address': '', 'scheme': '', 'phase': 'arriving', 'open': None, 'since': None,
        'kind': 'arriving', 'what': '', 'status': None, 'handler': '', 'place': '',
        'waits': 'waits for the PROXY header' if awaits_proxy else 'waits for the TLS handshake',
        'in': None, 'out': 0, 'kept': 0, 'unread': 0}


def _address(address: Any) -> str:
    """Write an address of a socket; '' for one that has none."""
    if isinstance(address, tuple) and address[0] is not None:
        host, port = address[:2]
        if port is None:
            return _shown(f'unix:{host}')
        return _shown(host_port(str(host), port) if port else str(host))
    return ''


def _shown(text: str) -> str:
    return plain(text[:_LONGEST])

"""Notices: what the log and a handler are told when a connection is cut or a request is refused.

A cut ends what was not finished: an answer, a request's head or its body. Each cut is one line:

    203.0.113.7:51234: cut: half_closed: the client had ended its side and nothing could be sent
    (half_close_timeout): GET '/events'

A refusal is a request that the server answers by itself, with an error's status:

    203.0.113.7:51234: refused: 431: the head has more than 128 fields (field_count)

The table `CUTS` names the reasons that have a line, and the options that rule each of them. All
other ends (`idle_timeout`, a client that has left) are in good order, and have a line at debug.

Whoever sends bad requests writes into this log, so the log is bounded: each reason has at most ten
lines a second, each with at most a few hundred characters, all of them printable. What is beyond
that is counted, and the counts are written every ten seconds and at the server's end (pace.py). The
state is one record for each reason, however many clients there are.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from ..escaped import plain, quoted
from ..loop import Future, Reactor
from ..pace import FREE, Paces
from ..typed import TYPE_CHECKING, Any
from .phases import IDLE, NEW, REASONS

if TYPE_CHECKING:
    from .connection import Running
    from .lifetime import Lifetime
    from .request import Request

_log = logging.getLogger('tremolo.server')

_LINE = '%s: %s: %s%s'
FREE.add(_LINE)    # (These lines have a pace by their reason, before they are made.)
_LONGEST_METHOD = 32    # Characters of a method that are shown.
_LONGEST_TARGET = 200    # Characters of a target that are shown, before they are escaped.


class Cut:
    """A reason that has a line: the options that rule it, and the line's verb and level.

    (A NamedTuple would slow down the start.)
    """

    def __init__(self, options: tuple[str, ...] = (), verb: str = 'cut',
                 level: int = logging.INFO) -> None:
        self.options = options
        self.verb = verb
        self.level = level


# The reasons that have a line. Their sentences are in `REASONS`.
CUTS: dict[str, Cut] = {
    'refused': Cut(verb='refused'),    # (The error says which option, if one is broken.)
    'limit_concurrency': Cut(('limit_concurrency',), 'refused'),
    'connections_per_client': Cut(('connections_per_client',), 'refused'),
    'head_timeout': Cut(('head_timeout',)),
    'stall_timeout': Cut(('stall_timeout',)),
    'min_upload_rate': Cut(('min_upload_rate', 'rate_grace')),
    'unread': Cut(('discard_size', 'stall_timeout', 'min_upload_rate')),
    'min_download_rate': Cut(('min_download_rate', 'rate_grace')),
    'vanished': Cut(),
    'half_closed': Cut(('half_close_timeout',)),
    # (That is no client's fault.)
    'handler_timeout': Cut(('handler_timeout',), level=logging.ERROR),
    'failed': Cut(),
    'websocket': Cut(),    # (The error says what.)
    'ws_slow': Cut(('min_upload_rate', 'rate_grace')),
    'ws_ping_timeout': Cut(('ws_ping_timeout',)),
    'ws_close_timeout': Cut(('ws_close_timeout',)),
    'tls_handshake': Cut(verb='refused'),    # (The error says why.)
    'tls_timeout': Cut(('ssl_handshake_timeout',)),
    'tls_plain': Cut(verb='refused'),
    'proxy_header': Cut(('proxy_protocol',), 'refused'),
    'stranger': Cut(('trusted_proxies',), 'refused'),
    'shutdown': Cut(('shutdown_timeout',)),
}


def why(reason: str) -> str:
    """Return a reason with its sentence and its options: `half_closed: the … (…)`."""
    sentence = REASONS.get(reason, '')
    options = ', '.join(CUTS[reason].options) if reason in CUTS else ''
    if options and sentence.endswith(')'):
        sentence = f'{sentence[:-1]}, {options})'
    elif options:
        sentence = f'{sentence} ({options})'
    return f'{reason}: {sentence}' if sentence else reason


def gone(connection: Lifetime) -> BaseException | None:
    """Return the error that says why nothing more can be sent to a client; None if it is open."""
    if connection.stream.cause is not None or not connection.reason:
        return connection.stream.cause
    return ConnectionAbortedError(why(connection.reason))


def told_to_handler(connection: Lifetime, cause: BaseException | None) -> str:
    """Return what a handler is told that is ended because its connection has ended."""
    if connection.reason in ('upgraded', 'failed') and cause is not None:
        return str(cause)
    return why(connection.reason)


def cancel(task: Running, message: str) -> None:
    """Stop a handler and tell it why; one that is no Future can look at its connection."""
    if isinstance(task, Future):
        task.cancel(message)
    else:
        task.cancel()


def record(connection: Lifetime, reason: str, fault: object = '') -> None:
    """Record why a connection ends, unless a reason is recorded already, and write its line."""
    if not connection.reason:
        connection.ends_because(reason, fault)


def shown_request(request: Request) -> str:
    """Return method, target and id for the log: escaped and bounded."""
    target = quoted(request.target[:_LONGEST_TARGET].decode('latin-1'), _LONGEST_TARGET)
    shown = f'{request.method[:_LONGEST_METHOD]} {target}'
    return f'{shown} ({request.id})' if request.mark else shown


def about(request: Request | None) -> dict[str, str] | None:
    """Return what a record of the log has beside its text: the id of its request (`extra`)."""
    return {'request_id': request.id} if request is not None and request.mark else None


class Notices:
    """The lines about cuts and refusals of one server, and of its parts."""

    def __init__(self, reactor: Reactor) -> None:
        self._paces = Paces(reactor).watch()    # By reason; and, by what they say, of all errors.

    def tell(self, connection: Lifetime, fault: object = '') -> None:
        """Write the line of a connection that ends for its `reason`, before its socket closes.

        `fault` is the error of a request that is refused. Raises nothing: an error of the log must
        not keep a connection open.
        """
        if not _is_known(connection):
            self._tell(connection, connection.reason, fault)

    def refused(self, connection: Lifetime, fault: object) -> None:
        """Write the line of a request that is refused, and whose connection goes on."""
        self._tell(connection, 'refused', fault)

    def tell_of_arrival(self, client: Any, reason: str, said: str, is_noise: bool) -> None:
        """Write the line of a client that has left, or was sent away, before its connection began.

        `said` goes behind the reason's sentence; what `is_noise` has a line at debug alone.
        """
        cut = CUTS.get(reason)
        if cut is None or is_noise or not _log.isEnabledFor(cut.level):
            _log.debug('an arrival ended: %s%s', reason, f': {said}' if said else '')
        elif self._may_write(reason):
            with suppress(Exception):
                server = None if isinstance(client, tuple) else (client, None)
                _log.log(cut.level, _LINE, _shown(client, server), cut.verb, why(reason),
                         f': {said}' if said else '')

    def _tell(self, connection: Lifetime, reason: str, fault: object) -> None:
        cut = CUTS.get(reason)
        if cut is None or not _log.isEnabledFor(cut.level):
            return
        with suppress(Exception):
            if self._may_write(reason):
                # (Only now the socket is asked for the address.)
                said = fault if fault and reason in ('refused', 'websocket') else why(reason)
                request = _in_hand(connection)
                _log.log(cut.level, _LINE, _client(connection, request), cut.verb, said,
                         f': {shown_request(request)}' if request is not None else '',
                         extra=about(request))

    def _may_write(self, reason: str) -> bool:
        """Return whether this second has room for a line; if not, count it."""
        return self._paces.may_write(
            reason, lambda: (_log.name, CUTS[reason].level, reason, 'connection'))

    def close(self) -> None:
        """Write the last counts: the server ends."""
        self._paces.close()


def _is_known(connection: Lifetime) -> bool:
    """Return whether a server that stops needs no line about this connection.

    It cuts nothing between two requests, and after `shutdown_timeout` it has warned already.
    """
    return connection.reason == 'shutdown' and (
        connection.server.stopped.done()
        or (connection.phase in (NEW, IDLE) and not connection.stream.buffered))


def _client(connection: Lifetime, request: Request | None) -> str:
    """Return the client's address as `host:port`; on a UNIX socket it has none: our path.

    If a proxy has named the client of this request, so: `203.0.113.7 via 10.0.0.1:51234`.
    """
    peer, server, _ = connection.addresses
    client = peer if request is None else request.client
    if client != peer:
        return f'{_shown(client, None)} via {_shown(peer, server).removeprefix("a client of ")}'
    return _shown(client, server)


def _shown(client: Any, server: Any) -> str:
    if isinstance(client, tuple):
        host, port = client[:2]
        if not port:
            return str(host)    # (A proxy has not named it.)
        return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    if server is not None and server[0] is not None and server[1] is None:
        return f'a client of unix:{plain(str(server[0]))}'
    return 'a client'    # (The socket has lost its address: the client is gone.)


def _in_hand(connection: Any) -> Any:
    """Return the request that is in hand, or that whose body still comes; None if there is none."""
    if connection.response is not None:
        return connection.response.request
    if connection.request_body is not None:
        return connection.request_body.request
    return getattr(connection.stream.receiver, 'request', None)

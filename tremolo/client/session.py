"""Session: what a client keeps between its requests: cookies, and a connection that is open.

Whatever waits is a generator for a `Task`; the faces (client.py) run it. So there is one way, for
tests that are plain functions and for those that are coroutines.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Generator, Iterable, Mapping
from os import urandom

from ..http import Headers
from ..loop import InvalidState
from ..server import Server
from ..server.phases import IDLE, NEW
from ..typed import Any, Optional
from ..ws.handshake import accept_value
from .answer import Answer, StreamedAnswer
from .cookies import Cookies
from .each import Run
from .errors import AnswerError, WebSocketRefused
from .exchange import Exchange, Waited
from .request import GivenHeaders, Request, Url, headers_of, request_of
from .socket import ClientSocket
from .wire import Wire

_MOST_REDIRECTS = 20
_REDIRECTS = (301, 302, 303, 307, 308)
# What describes a body goes with it.
_OF_BODY = ('content-type', 'content-length', 'content-encoding', 'transfer-encoding', 'expect')

Followed = Generator[Waited, Any, 'tuple[Exchange, list[Answer]]']


class Session:
    """The state of one client, and what it does on a server."""

    def __init__(self, base_url: str, headers: GivenHeaders, cookies: Mapping[str, str] | None,
                 follow_redirects: bool, timeout: float | None, raise_errors: bool) -> None:
        self.base = Url(base_url)
        self.headers: Headers = headers_of(headers)[0]
        self.cookies = Cookies(self.base.host, self._now)
        self.cookies.update(cookies or {})
        self.follow_redirects = follow_redirects
        self.timeout = timeout
        self.raise_errors = raise_errors
        self.server: Server | None = None    # As long as there is one.
        self._idle: Wire | None = None
        self._open: set[Wire] = set()

    def _now(self) -> float:
        return time.time() if self.server is None else self.server.reactor.wall_clock()

    # -- wires ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close all that is open."""
        while self._open:
            self._open.pop().close()
        self._idle = None

    def _wire_to(self, url: Url) -> Wire:
        """Return a connection for an address: the idle one, or another."""
        if self.server is None or self.server.draining:
            raise InvalidState('client: the application has stopped (app.stop())')
        wire, self._idle = self._idle, None
        if wire is not None:
            if wire.connection.phase in (IDLE, NEW) and not wire.closed and (
                    wire.scheme, wire.address) == (url.scheme, (url.host, url.port)):
                return wire
            self._drop(wire)
        wire = Wire(self.server, (url.host, url.port), url.scheme)
        self._open.add(wire)
        return wire

    def _drop(self, wire: Wire) -> None:
        self._open.discard(wire)
        wire.close()

    def release(self, exchange: Exchange) -> None:
        """Keep the connection for the next request, if that can be."""
        if exchange.reusable and self._idle is None:
            self._idle = exchange.wire
        else:
            exchange.close()
            self._drop(exchange.wire)

    # -- requests ---------------------------------------------------------------------------------

    def request(self, method: str, url: str, params: Any = None, **body: Any) -> Request:
        """Return the request that the arguments of a call describe."""
        return request_of(method, Url(url, self.base, params), self.headers, **body)

    def fetch(self, request: Request, follow: Optional[bool],
              timeout: Optional[float]) -> Generator[Waited, Any, Answer]:
        """Return the whole answer to a request."""
        exchange, history = yield from self._follow(request, follow, timeout)
        return (yield from self._whole(exchange, history))

    def stream(self, request: Request, follow: Optional[bool], timeout: Optional[float],
               run: Run) -> Generator[Waited, Any, StreamedAnswer]:
        """Return the answer to a request once its head has come."""
        exchange, history = yield from self._follow(request, follow, timeout)
        return StreamedAnswer(exchange, history, run)

    def _whole(self, exchange: Exchange,
               history: list[Answer]) -> Generator[Waited, Any, Answer]:
        answer = Answer(exchange, history)
        try:
            answer.body = yield from exchange.read_all()
        finally:
            self.release(exchange)
        answer.trailers = Headers.from_wire(exchange.trailers)
        return answer

    def _begin(self, request: Request, timeout: Optional[float],
               until: Optional[float] = None) -> Generator[Waited, Any, Exchange]:
        """Send a request; return the exchange once the head of its answer has come."""
        wire = self._wire_to(request.url)
        exchange = Exchange(wire, request, timeout, self.raise_errors, until)
        try:
            yield from exchange.begin(self.cookies)
        except BaseException:
            self.release(exchange)
            raise
        for name, value in exchange.head.fields:
            if name == b'set-cookie':
                text = value.decode('utf-8', 'replace')
                self.cookies.keep(text, request.url.host, request.url.path)
        return exchange

    def _follow(self, request: Request, follow: Optional[bool],
                timeout: Optional[float]) -> Followed:
        """Go where redirects lead to; each answer on the way is read whole."""
        follow = self.follow_redirects if follow is None else follow
        history: list[Answer] = []
        until = None
        while True:
            exchange = yield from self._begin(request, timeout, until)
            until = exchange.until
            headers = Headers.from_wire(exchange.head.fields)
            location = headers.get('location')
            if not follow or exchange.head.status not in _REDIRECTS or location is None:
                return exchange, history
            answer = yield from self._whole(exchange, list(history))
            history.append(answer)
            if len(history) > _MOST_REDIRECTS:
                way = ' -> '.join(each.url for each in history[-3:])
                raise AnswerError(f'more than {_MOST_REDIRECTS} redirects: {way}')
            request = _redirected(request, answer.status, request.url.joined(location))

    # -- WebSockets -------------------------------------------------------------------------------

    def connect(self, url: str, protocols: Iterable[str], headers: GivenHeaders,
                cookies: Mapping[str, str] | None, timeout: Optional[float],
                run: Run) -> Generator[Waited, Any, ClientSocket]:
        """Open a WebSocket (RFC 6455 section 4.1). Raises `WebSocketRefused`."""
        names = [protocols] if isinstance(protocols, str) else list(protocols)
        key = b64encode(urandom(16))
        own = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'),
               ('Sec-WebSocket-Version', '13'), ('Sec-WebSocket-Key', key.decode('ascii'))]
        if names:
            own.append(('Sec-WebSocket-Protocol', ', '.join(names)))
        target = Url(f'http{url[2:]}' if url.startswith(('ws://', 'wss://')) else url, self.base)
        request = request_of('GET', target, self.headers, headers=headers, cookies=cookies)
        for name, value in own:
            request.headers.setdefault(name, value)
        exchange = yield from self._begin(request, timeout)
        if exchange.head.status != 101:
            raise WebSocketRefused((yield from self._whole(exchange, [])))
        answer = Answer(exchange, [])
        fault = _fault_of(answer, accept_value(key).decode('ascii'), names)
        if fault and 'sec-websocket-key' not in headers_of(headers)[0]:
            self._drop(exchange.wire)
            raise AnswerError(f'the answer opens no WebSocket: {fault}')
        return ClientSocket(exchange, answer, run)


def _redirected(request: Request, status: int, url: Url) -> Request:
    """Return the request that follows a redirect (RFC 9110 section 15.4)."""
    if url.host != request.url.host:
        raise AnswerError(f'a redirect leads to {url}: there is only this application, and '
                          f'{request.url.host} is its host. Look at '
                          "answer.headers['Location'] with follow_redirects=False")
    method, body, headers = request.method, request.body, Headers(request.headers.items())
    if status in (301, 302, 303):
        method, body = 'HEAD' if method == 'HEAD' else 'GET', None
        for name in _OF_BODY:
            headers.pop(name)
    elif body is not None and not isinstance(body.pieces, list):
        raise AnswerError(f'a redirect of {status} wants the body once more, and an iterable or '
                          'a file can be read once: send bytes')
    return Request(method, url, headers, body, request.cookies, request.without)


def _fault_of(answer: Answer, accept: str, protocols: list[str]) -> str:
    """Say what is wrong with the 101 that opens a WebSocket; '' if it is good."""
    headers = answer.headers
    if (headers.get('upgrade') or '').lower() != 'websocket':
        return 'its Upgrade is not websocket'
    if 'upgrade' not in (headers.get('connection') or '').lower():
        return 'its Connection is not upgrade'
    if headers.get('sec-websocket-accept') != accept:
        return 'its Sec-WebSocket-Accept is wrong'
    if headers.get('sec-websocket-extensions'):
        return 'it has an extension that was not offered'
    chosen = headers.get('sec-websocket-protocol')
    if chosen is not None and chosen not in protocols:
        return f'its subprotocol {chosen!r:.64} was not offered'
    return ''

"""X-Forwarded-* and Forwarded end to end: each case, for each kind of application."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import Any

import pytest
from each_case import for_each
from forwarded_cases import FORWARDED, HOST, SERVER, TRUSTED, UNIX, X_FORWARDED, Case
from server_support import Client, serving

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.wsgi_app import WsgiApplication

# The fields that are no matter of proxies, and that each request has.
PLAIN = {'host', 'accept', 'connection'}


def native() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def told(request):
        lines = [(name.decode(), value.decode('latin-1')) for name, value in request.fields]
        assert lines == request.headers.items()
        return tell(request.client, request.scheme, request.host, lines)

    return app


def asgi() -> AsgiApplication:
    async def told(scope: Any, receive: Any, send: Any) -> None:
        lines = [(name.decode(), value.decode('latin-1')) for name, value in scope['headers']]
        host = dict(lines)['host'].lower()
        body = tell(scope['client'], scope['scheme'], host, lines).encode()
        await send({'type': 'http.response.start', 'status': 200,
                    'headers': [(b'content-length', b'%d' % len(body))]})
        await send({'type': 'http.response.body', 'body': body})

    return AsgiApplication(told)


def wsgi() -> WsgiApplication:
    def told(environ: Any, start_response: Any) -> Any:
        lines = [(key[5:].lower().replace('_', '-'), value)
                 for key, value in environ.items() if key.startswith('HTTP_')]
        client = None
        if environ['REMOTE_ADDR']:
            client = environ['REMOTE_ADDR'], int(environ['REMOTE_PORT'])
        host = environ['HTTP_HOST'].lower()
        body = tell(client, environ['wsgi.url_scheme'], host, lines).encode()
        start_response('200 OK', [('Content-Length', str(len(body)))])
        return [body]

    return WsgiApplication(told)


KINDS = {'native': native, 'asgi': asgi, 'wsgi': wsgi}


def tell(client: Any, scheme: str, host: str, lines: list[tuple[str, str]]) -> str:
    return json.dumps([client, scheme, host, [line for line in lines if line[0] not in PLAIN]])


class Site:
    """A server, and a connection to it from each peer."""

    def __init__(self, host: Any) -> None:
        self.host = host
        # (Those of all cases at once: a test that opens a socket has to close it.)
        self._clients = {peer: self.connect(peer)
                         for peer in {case.peer for case in (*X_FORWARDED, *FORWARDED)}}

    def connect(self, peer: Any, scheme: str = 'http') -> Client:
        """A connection of somebody; a peer of None is one on a UNIX socket."""
        ours, theirs = socket.socketpair()
        ours.settimeout(30)
        server = ('/run/app.sock', None) if peer is UNIX else SERVER
        self.host.on_loop(lambda: self.host.server.take(theirs, (peer, server, scheme)))
        client = Client.__new__(Client)
        client.sock, client.received = ours, b''
        self.host.clients.append(client)
        return client

    def ask(self, case: Case) -> list[Any]:
        """Ask on the connection of the case's peer; all its cases have the same one."""
        client = self._clients[case.peer]
        head = '\r\n'.join(['GET / HTTP/1.1', f'Host: {HOST}', *case.lines, '', ''])
        client.send(head.encode('latin-1'))
        answer = client.take()
        assert answer.status == 200, answer
        return list(json.loads(answer.body))


@contextmanager
def site(kind: str, **options: Any) -> Any:
    with serving(KINDS[kind](), **options) as host:
        yield Site(host)


@pytest.fixture(scope='module', params=list(KINDS))
def x_site(request):
    with site(request.param, trusted_proxies=TRUSTED) as made:
        yield made


@pytest.fixture(scope='module', params=list(KINDS))
def w_site(request):
    with site(request.param, trusted_proxies=TRUSTED, forwarded='forwarded') as made:
        yield made


def joined(lines: Any) -> dict[str, str]:
    """Lines by their names; those of one name are one list (in WSGI there is nothing else)."""
    found: dict[str, str] = {}
    for name, value in lines:
        found[name] = f'{found[name]}, {value}' if name in found else value
    return {name: value for name, value in found.items() if name not in PLAIN}


def expected(case: Case) -> list[Any]:
    left = case.lines if case.left is None else case.left
    lines = [(name.lower(), value.strip(' \t')) for name, _, value in
             (line.partition(':') for line in left)]
    return [list(case.client) if case.client else None, case.scheme, case.host.lower(),
            joined(lines)]


def check(asked: Site, case: Case) -> None:
    client, scheme, host, lines = asked.ask(case)
    assert [client, scheme, host, joined(lines)] == expected(case)


def test_there_are_at_least_150_cases_of_each():
    assert len(set(X_FORWARDED)) == len(X_FORWARDED) >= 150
    assert len(set(FORWARDED)) == len(FORWARDED) >= 150


@for_each('case', X_FORWARDED, ids=str)
def test_x_forwarded(x_site, case):
    check(x_site, case)


@for_each('case', FORWARDED, ids=str)
def test_forwarded(w_site, case):
    check(w_site, case)

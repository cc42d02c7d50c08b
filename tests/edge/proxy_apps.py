"""Applications of each kind that tell who their client is, for the tests of PROXY."""

from __future__ import annotations

import json
from typing import Any

from proxy_cases import A4, A6, B4, B6, LOCAL, PROXY, block, line, paths, summed, v1, v2

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.wsgi_app import WsgiApplication

HTTP = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
LAST = b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'

# (header, the client and the server that it names; None: the socket's)
HEADERS: list[tuple[bytes, Any]] = [
    (v1(), (A4, B4)),
    (v1(A6, B6), (A6, B6)),
    (v2(), (A4, B4)),
    (v2(family=0x21, rest=block(A6, B6)), (A6, B6)),
    (summed(v2()), (A4, B4)),
    (line('UNKNOWN'), None),
    (v2(LOCAL, 0, b''), None),
    (v2(PROXY, 0, b''), None),
]
UNIX_HEADER = v2(family=0x31, rest=paths())


def _told(request: Any) -> str:
    return json.dumps([request.client, request.addresses[1], request.scheme])


def generator() -> Any:
    app = Tremolo()

    @app.route('/')
    def index(request):
        yield _told(request)

    return app


def plain() -> Any:
    app = Tremolo()

    @app.route('/')
    def index(request):
        return _told(request)

    return app


def thread() -> Any:
    app = Tremolo()

    @app.route('/')
    def index(request, thread=True):
        return _told(request)

    return app


def coroutine() -> Any:
    app = Tremolo()

    @app.route('/')
    async def index(request):
        return _told(request)

    return app


def asgi() -> Any:
    async def app(scope, receive, send):
        if scope['type'] == 'lifespan':
            return
        told = json.dumps([scope['client'], scope['server'], scope['scheme']])
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': told.encode()})

    return AsgiApplication(app)


def wsgi() -> Any:
    def app(environ, start_response):
        client = environ.get('REMOTE_ADDR'), int(environ.get('REMOTE_PORT') or 0)
        server = environ['SERVER_NAME'], int(environ['SERVER_PORT'])
        start_response('200 OK', [])
        return [json.dumps([client, server, environ['wsgi.url_scheme']]).encode()]

    return WsgiApplication(app)


KINDS = {made.__name__: made for made in (generator, plain, thread, coroutine, asgi, wsgi)}

"""Applications for the tests of the client: the same paths in each of the four kinds of handler."""

from __future__ import annotations

import asyncio
import json
import threading

from tremolo import HTTPError, Tremolo, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication


def generators() -> Tremolo:
    app = Tremolo()

    @app.route('/hello')
    def hello():
        yield b'Hello '
        yield sleep(0.001)
        yield b'world!'

    @app.route('/echo', methods=['POST', 'PUT', 'PATCH', 'DELETE'])
    def echo(request, response):
        response.headers['X-Type'] = request.headers.get('content-type', 'none')
        response.headers['X-Method'] = request.method
        body = yield request.body()
        yield body

    @app.route('/fail')
    def fail():
        yield sleep(0)
        raise KeyError('mine')

    @app.route('/late')
    def late():
        yield b'begun'
        yield sleep(0.001)
        raise KeyError('late')

    @app.route('/meant')
    def meant():
        yield sleep(0)
        raise HTTPError(500, 'meant')

    @app.route('/hang')
    def hang():
        yield sleep(1000)    # It hangs here.

    return app


def plain(**options: bool) -> Tremolo:
    app = Tremolo()
    in_thread = bool(options)

    @app.route('/hello')
    def hello(thread=in_thread):
        return b'Hello world!'

    @app.route('/echo', methods=['POST', 'PUT', 'PATCH', 'DELETE'])
    def echo(request, response, thread=True):
        response.headers['X-Type'] = request.headers.get('content-type', 'none')
        response.headers['X-Method'] = request.method
        return request.body().result()

    @app.route('/fail')
    def fail(thread=in_thread):
        raise KeyError('mine')

    @app.route('/late')
    def late(response, thread=in_thread):
        response.write(b'begun')
        raise KeyError('late')

    @app.route('/meant')
    def meant(thread=in_thread):
        raise HTTPError(500, 'meant')

    @app.route('/hang')
    def hang(app, thread=True):
        app.stopping.result()    # It hangs here.

    return app


def threads() -> Tremolo:
    return plain(thread=True)


def coroutines() -> Tremolo:
    app = Tremolo()

    @app.route('/hello')
    async def hello():
        yield 'Hello '
        await asyncio.sleep(0.001)
        yield await run_in_thread(lambda: 'world!')

    @app.route('/echo', methods=['POST', 'PUT', 'PATCH', 'DELETE'])
    async def echo(request, response):
        response.headers['X-Type'] = request.headers.get('content-type', 'none')
        response.headers['X-Method'] = request.method
        return await request.body()

    @app.route('/fail')
    async def fail():
        await asyncio.sleep(0)
        raise KeyError('mine')

    @app.route('/late')
    async def late():
        yield b'begun'
        await asyncio.sleep(0.001)
        raise KeyError('late')

    @app.route('/meant')
    async def meant():
        raise HTTPError(500, 'meant')

    @app.route('/hang')
    async def hang():
        await asyncio.sleep(1000)    # It hangs here.

    return app


async def asgi_app(scope, receive, send):
    """Answer as the handlers above do."""
    if scope['type'] == 'lifespan':
        while True:
            message = await receive()
            await send({'type': f'{message["type"]}.complete'})
            if message['type'] == 'lifespan.shutdown':
                return
    path, status, body = scope['path'], 200, b''
    headers = dict(scope['headers'])
    more = True
    while more:
        message = await receive()
        body, more = body + message.get('body', b''), message.get('more_body', False)
    if path == '/hang':
        await asyncio.sleep(1000)    # It hangs here.
    if path == '/fail':
        raise KeyError('mine')
    if path == '/hello':
        body = b'Hello world!'
    if path == '/meant':
        status, body = 500, b'meant'
    await send({'type': 'http.response.start', 'status': status, 'headers': [
        (b'x-type', headers.get(b'content-type', b'none')),
        (b'x-method', scope['method'].encode())]})
    if path == '/late':
        await send({'type': 'http.response.body', 'body': b'begun', 'more_body': True})
        await asyncio.sleep(0.001)
        raise KeyError('late')
    await send({'type': 'http.response.body', 'body': body})


def asgi() -> AsgiApplication:
    return AsgiApplication(asgi_app)


KINDS = [generators, plain, threads, coroutines, asgi]


def shown(request) -> str:
    """Return a request as JSON, for handlers that show what has come."""
    return json.dumps({
        'method': request.method, 'target': request.target.decode(),
        'headers': [list(each) for each in request.headers.items()], 'query': request.query,
        'cookies': request.cookies, 'client': request.client, 'scheme': request.connection.scheme})


def alive() -> set[threading.Thread]:
    return set(threading.enumerate())

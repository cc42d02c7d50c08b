"""Starlette's sockets: text and JSON, subprotocols, classes, middleware, refusals, closes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    SimpleUser,
    requires,
)
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

# What happened, in order; each entry releases one who waits for the next.
events: asyncio.Queue[object] = asyncio.Queue()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    yield {'greeting': 'hello'}


async def event(request: Request) -> Response:
    return JSONResponse(await asyncio.wait_for(events.get(), 20))


async def echo(websocket: WebSocket) -> None:
    """Echo; when it is over, tell how it ended."""
    await websocket.accept(
        subprotocol='second' if 'second' in websocket.scope['subprotocols'] else None,
        headers=[(b'x-greeting', websocket.state.greeting.encode())])
    try:
        while True:
            message = await websocket.receive()
            if message['type'] == 'websocket.disconnect':
                raise WebSocketDisconnect(message['code'], message.get('reason'))
            if message.get('text') is None:
                await websocket.send_bytes(message['bytes'])
            else:
                await websocket.send_text(message['text'])
    except WebSocketDisconnect as error:
        await events.put([error.code, error.reason])


class Sums(WebSocketEndpoint):
    """JSON by way of a class."""

    encoding = 'json'

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: list[int]) -> None:
        await websocket.send_json({'sum': sum(data)})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        await events.put(close_code)


async def about(websocket: WebSocket) -> None:
    """Tell what is known of a socket."""
    await websocket.accept()
    await websocket.send_json({
        'path': websocket.url.path, 'scheme': websocket.url.scheme,
        'query': dict(websocket.query_params), 'name': websocket.path_params['name'],
        'agent': websocket.headers.get('user-agent'), 'cookies': websocket.cookies,
        'host': websocket.client.host, 'link': str(websocket.url_for('about', name='other')),
        'offered': websocket.scope['subprotocols'], 'root': websocket.scope['root_path']})
    await websocket.close()


async def close(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(4000, 'closed by Starlette')


async def returns(websocket: WebSocket) -> None:
    """Return without a close."""
    await websocket.accept()


async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


async def refuse_late(websocket: WebSocket) -> None:
    """An exception for sockets, before anything was accepted."""
    raise WebSocketException(1008, 'not here')


async def deny(websocket: WebSocket) -> None:
    """Answer the handshake as a request."""
    await websocket.send_denial_response(JSONResponse(
        {'detail': 'pay first'}, 402, headers={'x-denied': 'yes'}))


async def deny_at_length(websocket: WebSocket) -> None:
    async def lines() -> AsyncIterator[str]:
        for number in range(20000):
            yield f'{number}\n'

    await websocket.send_denial_response(StreamingResponse(lines(), 403))


async def deny_by_exception(websocket: WebSocket) -> None:
    raise HTTPException(401, 'who are you?', {'x-denied': 'yes'})


async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise ValueError('failed on purpose')


async def fail_early(websocket: WebSocket) -> None:
    raise ValueError('failed early on purpose')


async def break_off(websocket: WebSocket) -> None:
    """An exception for sockets, after accept."""
    await websocket.accept()
    raise WebSocketException(1008, 'enough of this')


async def send_on(websocket: WebSocket) -> None:
    """Send to a client until it has left; receive nothing."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text('more')
            await asyncio.sleep(0.001)
    except WebSocketDisconnect as error:
        await events.put(['send', error.code])


async def both(websocket: WebSocket) -> None:
    """Send and receive in two tasks."""
    await websocket.accept()

    async def send() -> None:
        for number in range(100):
            await websocket.send_text(str(number))
            await asyncio.sleep(0)

    async def receive() -> int:
        total = 0
        async for text in websocket.iter_text():
            total += int(text)
            if total == 4950:
                break
        return total

    _, total = await asyncio.gather(send(), receive())
    await websocket.send_text(f'total {total}')
    await websocket.close()


class Tokens(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        if conn.query_params.get('token') == 'secret':
            return AuthCredentials(['known']), SimpleUser('ada')
        return None


@requires('known')
async def private(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f'hello {websocket.user.display_name}')
    await websocket.close()


async def count(connection: WebSocket) -> None:
    """The session of a browser is in its cookie; a socket reads what a page has set."""
    await connection.accept()
    await connection.send_text(str(connection.session.get('count', 0)))
    await connection.close()


async def visit(request: Request) -> Response:
    request.session['count'] = request.session.get('count', 0) + 1
    return Response()


app = Starlette(lifespan=lifespan, middleware=[
    Middleware(SessionMiddleware, secret_key='not a secret'),
    Middleware(AuthenticationMiddleware, backend=Tokens())], routes=[
    Route('/event', event), Route('/visit', visit), WebSocketRoute('/count', count),
    WebSocketRoute('/echo', echo), WebSocketRoute('/sums', Sums), WebSocketRoute('/close', close),
    WebSocketRoute('/about/{name}', about, name='about'), WebSocketRoute('/returns', returns),
    WebSocketRoute('/refuse', refuse), WebSocketRoute('/refuse-late', refuse_late),
    WebSocketRoute('/deny', deny), WebSocketRoute('/deny-at-length', deny_at_length),
    WebSocketRoute('/deny-by-exception', deny_by_exception), WebSocketRoute('/fail', fail),
    WebSocketRoute('/fail-early', fail_early), WebSocketRoute('/break-off', break_off),
    WebSocketRoute('/send-on', send_on), WebSocketRoute('/both', both),
    WebSocketRoute('/private', private),
    Mount('/mounted', Starlette(routes=[WebSocketRoute('/echo', echo)])),
])

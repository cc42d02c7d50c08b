"""Litestar's sockets: handlers, listeners, streams, guards, dependencies, channels."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from litestar import Litestar, WebSocket, get, websocket, websocket_listener, websocket_stream
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.connection import ASGIConnection
from litestar.dto import DataclassDTO
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect, WebSocketException
from litestar.handlers import BaseRouteHandler

events: asyncio.Queue[object] = asyncio.Queue()


@dataclass
class Item:
    name: str
    price: float


@websocket('/echo')
async def echo(socket: WebSocket) -> None:
    """Echo; when it is over, tell how it ended."""
    offered = socket.scope['subprotocols']
    await socket.accept(subprotocols='second' if 'second' in offered else None,
                        headers={'x-greeting': 'hello'})
    try:
        while True:
            message = await socket.receive_data(mode='text')
            await socket.send_text(message)
    except WebSocketDisconnect as error:
        events.put_nowait([error.code, error.detail])


@websocket('/bytes')
async def some_bytes(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_bytes((await socket.receive_bytes())[::-1])
    await socket.close(4000, 'closed by Litestar')


@websocket_listener('/items', dto=DataclassDTO[Item])
async def items(data: Item) -> Item:
    """Typed JSON, both ways."""
    return Item(data.name, data.price * 2)


@websocket_stream('/ticks')
async def ticks() -> AsyncGenerator[str, None]:
    try:
        while True:
            yield 'tick'
            await asyncio.sleep(0.001)
    finally:
        events.put_nowait(['stream ended'])


def only_known(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    if connection.query_params.get('token') != 'secret':
        raise NotAuthorizedException('who are you?')


@websocket('/private', guards=[only_known])
async def private(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({'hello': 'ada'})
    await socket.close()


@websocket('/refuse')
async def refuse(socket: WebSocket) -> None:
    raise WebSocketException(code=4003, detail='not here')


@websocket('/fail')
async def fail(socket: WebSocket) -> None:
    await socket.accept()
    raise ValueError('failed on purpose')


@get('/say/{text:str}')
async def say(text: str, channels: ChannelsPlugin) -> str:
    await channels.wait_published(text, ['news'])
    return 'said'


@get('/event')
async def event() -> object:
    return await asyncio.wait_for(events.get(), 20)


app = Litestar(
    [echo, some_bytes, items, ticks, private, refuse, fail, say, event],
    plugins=[ChannelsPlugin(MemoryChannelsBackend(), channels=['news'],
                            create_ws_route_handlers=True)])

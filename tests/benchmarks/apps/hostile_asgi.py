"""The ASGI application of hostile.py, the same for every server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, MutableMapping
from typing import Any, Callable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LONG = bytes(8 << 20)
PIECE = bytes(16 << 10)
JSON_SIZE = 256 << 10


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    await send({'type': 'http.response.start', 'status': status, 'headers': [
        (b'content-type', b'text/plain'), (b'content-length', b'%d' % len(body))]})
    await send({'type': 'http.response.body', 'body': body})


async def read(receive: Receive) -> bytes:
    pieces, more = [], True
    while more:
        message = await receive()
        if message['type'] == 'http.disconnect':
            raise ConnectionError('the client has gone')
        pieces.append(message.get('body', b''))
        more = message.get('more_body', False)
    return b''.join(pieces)


async def hello(receive: Receive, send: Send) -> None:
    await answer(send, b'Hello world!')


async def quick(receive: Receive, send: Send) -> None:
    await answer(send, await asyncio.to_thread(bytes, b'Hello world!'))


async def upload(receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get('body', b''))
        more = message.get('more_body', False)
    await answer(send, b'%d' % size)


async def read_json(receive: Receive, send: Send) -> None:
    """Parse a body of 256 KiB at most, as ours does by default: an application has to see to it."""
    data, more = b'', True
    while more:
        message = await receive()
        data += message.get('body', b'')
        more = message.get('more_body', False)
        if len(data) > JSON_SIZE:
            await answer(send, b'', 413)
            return
    await answer(send, b'%d' % len(json.loads(data)))


async def in_thread(receive: Receive, send: Send) -> None:
    data = await read(receive)
    await answer(send, b'%d' % await asyncio.to_thread(len, data))


async def long(receive: Receive, send: Send) -> None:
    await answer(send, LONG)


async def endless(receive: Receive, send: Send) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    while True:
        await send({'type': 'http.response.body', 'body': PIECE, 'more_body': True})


async def compute(receive: Receive, send: Send) -> None:
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass
    await answer(send, b'Hello world!')


async def missing(receive: Receive, send: Send) -> None:
    await answer(send, b'', 404)


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({'type': 'websocket.accept'})
    while (message := await receive())['type'] == 'websocket.receive':
        await send({'type': 'websocket.send', 'bytes': message.get('bytes'),
                    'text': message.get('text')})


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())['type']
        await send({'type': f'{kind}.complete'})
        if kind == 'lifespan.shutdown':
            return


PAGES = {'/': hello, '/quick': quick, '/upload': upload, '/json': read_json, '/thread': in_thread,
         '/long': long, '/endless': endless, '/compute': compute}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope['type'] == 'lifespan':
        await lifespan(receive, send)
    elif scope['type'] == 'websocket':
        await echo(receive, send)
    else:
        await PAGES.get(scope['path'], missing)(receive, send)

"""The ASGI application of the race, the same for every server that speaks ASGI.

GET / is 12 bytes; POST /upload reads a body to its end and says how long it was; GET /stream sends
1,000 chunks of 1 KiB without a length; GET /download sends 1 GiB with one, in pieces of 64 KiB, as
the usual file responses of ASGI frameworks do. For openloop.py, GET /sleep waits for 0.2 s, and
GET /compute holds up the loop for 20 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, MutableMapping
from typing import Any, Callable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHUNKS = 1000
CHUNK = b'x' * 1023 + b'\n'
DOWNLOAD = 1 << 30
PIECE = bytes(64 << 10)


async def hello(receive: Receive, send: Send) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-type', b'text/plain'), (b'content-length', b'12')]})
    await send({'type': 'http.response.body', 'body': b'Hello world!'})


async def upload(receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get('body', b''))
        more = message.get('more_body', False)
    answer = b'%d' % size
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-type', b'text/plain'), (b'content-length', b'%d' % len(answer))]})
    await send({'type': 'http.response.body', 'body': answer})


async def stream(receive: Receive, send: Send) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-type', b'text/plain')]})
    for _ in range(CHUNKS):
        await send({'type': 'http.response.body', 'body': CHUNK, 'more_body': True})
    await send({'type': 'http.response.body'})


async def download(receive: Receive, send: Send) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-type', b'application/octet-stream'),
        (b'content-length', b'%d' % DOWNLOAD)]})
    for _ in range(DOWNLOAD // len(PIECE)):
        await send({'type': 'http.response.body', 'body': PIECE, 'more_body': True})
    await send({'type': 'http.response.body'})


async def sleep(receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.2)
    await hello(receive, send)


async def compute(receive: Receive, send: Send) -> None:
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
    await hello(receive, send)


async def missing(receive: Receive, send: Send) -> None:
    await send({'type': 'http.response.start', 'status': 404, 'headers': [
        (b'content-length', b'0')]})
    await send({'type': 'http.response.body'})


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())['type']
        await send({'type': f'{kind}.complete'})
        if kind == 'lifespan.shutdown':
            return


PAGES = {'/': hello, '/upload': upload, '/stream': stream, '/download': download, '/sleep': sleep,
         '/compute': compute}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope['type'] == 'lifespan':
        await lifespan(receive, send)
    else:
        await PAGES.get(scope['path'], missing)(receive, send)

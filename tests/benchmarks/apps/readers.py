"""The applications of readers.py: a long answer, and an upload of lines; native and ASGI.

GET /answer/6 is 6 MiB, with its length, in pieces of 64 KiB. POST /lines reads a body to its end
and says how many lines came. GET / is 12 bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, MutableMapping
from typing import Any, Callable

from block import BLOCK, MIB

from tremolo import Tremolo

Message = MutableMapping[str, Any]

PIECE = 64 << 10

native = Tremolo()


@native.route('/')
def hello(**server: Any) -> Generator[bytes, None, None]:
    yield b'Hello world!'


@native.route('/answer/<int:mib>')
def answer(mib: int, response: Any, content_type: str = 'application/octet-stream',
           **server: Any) -> Generator[bytes, None, None]:
    response.headers['Content-Length'] = str(mib * MIB)
    for _ in range(mib):
        for start in range(0, MIB, PIECE):
            yield BLOCK[start:start + PIECE]


@native.route('/lines', methods=['POST'])
def lines(request: Any, **server: Any) -> Generator[Any, bytes, None]:
    count = 0
    while data := (yield request.read(65536)):
        count += data.count(b'\n')
    yield b'%d lines' % count


async def asgi(scope: Message, receive: Callable[[], Awaitable[Message]],
               send: Callable[[Message], Awaitable[None]]) -> None:
    async def start(size: int) -> None:
        await send({'type': 'http.response.start', 'status': 200, 'headers': [
            (b'content-type', b'application/octet-stream'), (b'content-length', b'%d' % size)]})

    if scope['type'] == 'lifespan':
        while True:
            kind = (await receive())['type']
            await send({'type': f'{kind}.complete'})
            if kind == 'lifespan.shutdown':
                return
    _, page, *rest = scope['path'].split('/')
    if page == 'answer':
        mib = int(rest[0])
        await start(mib * MIB)
        for _ in range(mib):
            for first in range(0, MIB, PIECE):
                await send({'type': 'http.response.body', 'more_body': True,
                            'body': BLOCK[first:first + PIECE]})
        await send({'type': 'http.response.body'})
        return
    text = b'Hello world!'
    if page == 'lines':
        count, more = 0, True
        while more:
            message = await receive()
            count += message.get('body', b'').count(b'\n')
            more = message.get('more_body', False)
        text = b'%d lines' % count
    await start(len(text))
    await send({'type': 'http.response.body', 'body': text})

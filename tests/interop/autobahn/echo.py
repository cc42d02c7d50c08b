"""What Autobahn speaks with: two echoes, in tremolo's own words and for ASGI."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from tremolo import Tremolo

native = Tremolo()


@native.route('/')
def echo(websocket: Any) -> Generator[Any, Any, None]:
    yield websocket.accept()
    while True:
        message = yield websocket.receive()
        yield websocket.send(message)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope['type'] == 'lifespan':
        for _ in range(2):
            await send({'type': (await receive())['type'] + '.complete'})
        return
    await receive()
    await send({'type': 'websocket.accept'})
    while (message := await receive())['type'] == 'websocket.receive':
        await send({**message, 'type': 'websocket.send'})

"""The echo of the race for every server that speaks ASGI: each message goes back as it came."""

from __future__ import annotations

from asgi_app import Message, Receive, Send, lifespan


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope['type'] == 'lifespan':
        await lifespan(receive, send)
        return
    await receive()
    await send({'type': 'websocket.accept'})
    while (message := await receive())['type'] == 'websocket.receive':
        text = message.get('text')
        if text is not None:
            await send({'type': 'websocket.send', 'text': text})
        else:
            await send({'type': 'websocket.send', 'bytes': message['bytes']})

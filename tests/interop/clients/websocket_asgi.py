"""What the WebSocket clients of this folder talk to, in ASGI; websocket_native.py has the same."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

# How the sockets have ended, by their folder: each run of a client is in a folder of its own.
events: dict[str, asyncio.Queue[list[Any]]] = defaultdict(asyncio.Queue)


async def app(scope, receive, send) -> None:
    if scope['type'] == 'lifespan':
        raise ValueError('none here')
    _, run, *last = scope['path'].split('/')
    if scope['type'] == 'http':
        await answer(run, last, send)
        return
    if (await receive())['type'] != 'websocket.connect':
        raise ValueError('the first message is no websocket.connect')
    if last == ['refuse']:
        await send({'type': 'websocket.close'})
        return
    offered = scope['subprotocols']
    await send({'type': 'websocket.accept',
                'subprotocol': 'tremolo' if 'tremolo' in offered else None})
    if last == ['done']:
        await send({'type': 'websocket.send', 'text': 'done'})
        await send({'type': 'websocket.close'})
    else:
        await echo(run if last == ['echo'] else None, receive, send)


async def echo(run, receive, send) -> None:
    """Send back what comes, until either side closes."""
    while True:
        message = await receive()
        if message['type'] == 'websocket.disconnect':
            if run:
                events[run].put_nowait([message['code'], message.get('reason') or ''])
            return
        text = message.get('text')
        if text and text.startswith('close '):
            _, code, reason = text.split(' ', 2)
            await send({'type': 'websocket.close', 'code': int(code), 'reason': reason})
            return
        if text is None:
            await send({'type': 'websocket.send', 'bytes': message['bytes']})
        else:
            await send({'type': 'websocket.send', 'text': text})


async def answer(run, last, send) -> None:
    """`/event`: wait for how the next socket ends. Else a page for a browser to stand on."""
    kind, body = b'text/html; charset=utf-8', b'<!doctype html><title>a page</title>'
    if last == ['event']:
        kind, body = b'application/json', json.dumps(
            await asyncio.wait_for(events[run].get(), 20)).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': [
        (b'content-type', kind), (b'content-length', b'%d' % len(body))]})
    await send({'type': 'http.response.body', 'body': body})

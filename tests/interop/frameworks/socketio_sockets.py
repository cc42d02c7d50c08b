"""python-socketio: events, acknowledgements, rooms, binary data, refusals, a namespace."""

from __future__ import annotations

import asyncio
from typing import Any

import socketio

# A client that polls is told its end with the next ping.
sio = socketio.AsyncServer(async_mode='asgi', ping_interval=1, ping_timeout=20)
ended: asyncio.Queue[str] = asyncio.Queue()


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str] | None) -> None:
    if auth and auth.get('token') == 'wrong':
        raise socketio.exceptions.ConnectionRefusedError('who are you?')
    await sio.save_session(sid, {'name': (auth or {}).get('name', 'somebody')})


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    await ended.put(reason)


@sio.event
async def transport(sid: str) -> str:
    """How this client is connected at present."""
    return sio.transport(sid)


@sio.event
async def echo(sid: str, data: Any) -> Any:
    """Send it back, as an event and as the acknowledgement."""
    await sio.emit('echo', data, to=sid)
    return data


@sio.event
async def join(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)


@sio.event
async def say(sid: str, room: str, text: str) -> None:
    session = await sio.get_session(sid)
    await sio.emit('said', {'name': session['name'], 'text': text}, room=room)


@sio.event
async def leave(sid: str) -> None:
    await sio.disconnect(sid)


@sio.on('*', namespace='/other')
async def anything(event: str, sid: str, data: Any) -> str:
    return f'{event} in /other: {data}'


@sio.on('connect', namespace='/other')
async def connect_other(sid: str, environ: dict[str, Any], auth: Any) -> None:
    pass


async def pages(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/ended`: wait for how the next client ends."""
    if scope['type'] == 'lifespan':
        raise ValueError('none here')
    body = (await asyncio.wait_for(ended.get(), 20)).encode()
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-length', b'%d' % len(body))]})
    await send({'type': 'http.response.body', 'body': body})


app = socketio.ASGIApp(sio, other_asgi_app=pages)

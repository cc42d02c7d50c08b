"""Floods: who sends 200 MB to a client that does not read, and who does not receive them.

No framework: what is held in memory here is the server's.
"""

from __future__ import annotations

import asyncio
import zlib

MIB = 1 << 20
BLOCK = bytes(range(256)) * 256
# Seconds that a send must take to be called stalled.
STALLED = 0.3


class Flood:
    """What the requests know of one another."""

    ended: asyncio.Queue[str] = asyncio.Queue()
    stalled = asyncio.Event()
    go_on = asyncio.Event()
    sent = 0


async def app(scope, receive, send) -> None:
    if scope['type'] == 'lifespan':
        raise ValueError('none here')
    page = PAGES[scope['path']]
    body = await page(scope, receive, send)
    if body is not None:
        await answer(send, body)


async def answer(send, body: bytes) -> None:
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': body})


async def send_all(scope, receive, send) -> None:
    """Send 200 MiB in pieces, as fast as `send` allows."""
    Flood.sent = 0
    Flood.stalled.clear()
    await send({'type': 'http.response.start', 'status': 200})
    for _ in range(200 * MIB // len(BLOCK)):
        sending = asyncio.ensure_future(send(
            {'type': 'http.response.body', 'body': BLOCK, 'more_body': True}))
        _, waiting = await asyncio.wait([sending], timeout=STALLED)
        if waiting:
            Flood.stalled.set()
        try:
            await sending
        except OSError:
            Flood.ended.put_nowait('OSError')
            raise
        Flood.sent += len(BLOCK)
    await send({'type': 'http.response.body'})
    Flood.ended.put_nowait('sent')


async def stalled(scope, receive, send) -> bytes:
    """Wait until a send stalls; tell how much was sent."""
    await asyncio.wait_for(Flood.stalled.wait(), 20)
    return b'%d' % Flood.sent


async def ended(scope, receive, send) -> bytes:
    """Wait until `send_all` ends; tell how."""
    return (await asyncio.wait_for(Flood.ended.get(), 20)).encode()


async def give_up(scope, receive, send) -> None:
    """Send less and less patiently: four sends are given up when they have been begun."""
    await send({'type': 'http.response.start', 'status': 200})
    sends = given_up = 0
    while given_up < 4:
        sends += 1
        try:
            await asyncio.wait_for(
                send({'type': 'http.response.body', 'body': BLOCK, 'more_body': True}), 0.05)
        except asyncio.TimeoutError:
            given_up += 1
    Flood.ended.put_nowait(str(sends))
    await send({'type': 'http.response.body'})


async def receive_late(scope, receive, send) -> bytes:
    """Take nothing until told so; then all."""
    await asyncio.wait_for(Flood.go_on.wait(), 30)
    size = checksum = 0
    more = True
    while more:
        message = await receive()
        size += len(message['body'])
        checksum = zlib.crc32(message['body'], checksum)
        more = message['more_body']
    return f'{size} {checksum:08x}'.encode()


async def go_on(scope, receive, send) -> bytes:
    Flood.go_on.set()
    return b'going on'


async def stop(scope, receive, send) -> bytes:
    Flood.go_on.clear()
    return b'waiting'


async def ignore(scope, receive, send) -> bytes:
    """Answer without a look at the body."""
    return b'ignored'


PAGES = {
    '/send': send_all, '/stalled': stalled, '/ended': ended, '/receive': receive_late,
    '/go': go_on, '/stop': stop, '/give-up': give_up, '/ignore': ignore,
}

"""Starlette: files, middleware, sessions, uploads, and streams that their client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).resolve().parent
# What happened, in order; each entry releases one who waits for the next.
events: asyncio.Queue[str] = asyncio.Queue()


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    """Keep something for all requests."""
    yield {'greeting': 'hello', 'visits': []}


async def index(request: Request) -> Response:
    request.state.visits.append(request.method)
    return JSONResponse({'greeting': request.state.greeting, 'visits': len(request.state.visits)})


async def where(request: Request) -> Response:
    return JSONResponse({
        'path': request.url.path, 'root': request.scope['root_path'],
        'link': str(request.url_for('where')), 'client': request.client.host})


async def count(request: Request) -> Response:
    """Count the visits of one browser, in its session."""
    request.session['count'] = request.session.get('count', 0) + 1
    return PlainTextResponse(str(request.session['count']))


async def text(request: Request) -> Response:
    """Something that compresses."""
    return PlainTextResponse('tremolo ' * 10000)


async def stream(request: Request) -> Response:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f'{number}\n'
            if number % 100 == 0:
                await asyncio.sleep(0)

    return StreamingResponse(numbers(), media_type='text/plain')


async def file(request: Request) -> Response:
    path = request.query_params.get('path', __file__)
    return FileResponse(path, filename='app.py', background=BackgroundTask(
        events.put, 'file sent'))


async def echo(request: Request) -> Response:
    """Sum up a body as it comes."""
    size = checksum = 0
    async for data in request.stream():
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    return PlainTextResponse(f'{size} {checksum:08x}')


async def upload(request: Request) -> Response:
    async with request.form() as form:
        held = form['file']
        checksum = 0
        while data := await held.read(1 << 20):
            checksum = zlib.crc32(data, checksum)
        return PlainTextResponse(f'{held.size} {checksum:08x}')


async def endless(request: Request) -> Response:
    """Stream until the client has left."""
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b'tick\n'
                await asyncio.sleep(0.001)
        finally:
            await events.put('stream ended')

    return StreamingResponse(ticks())


# The queues of those who listen to `subscribe`; nobody puts anything into them.
subscribers: set[asyncio.Queue[bytes]] = set()


async def subscribe(request: Request) -> Response:
    """Stream what comes into a queue: a stream that is silent."""
    async def messages() -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        subscribers.add(queue)
        try:
            yield b'subscribed\n'
            while True:
                yield await queue.get()
        finally:
            subscribers.discard(queue)
            await events.put(f'{len(subscribers)} left')

    return StreamingResponse(messages())


async def patient(request: Request) -> Response:
    """Answer a head, then wait to be told that the client has left."""
    async def until_gone() -> AsyncIterator[bytes]:
        yield b'waiting\n'
        while (message := await request.receive())['type'] == 'http.request':
            pass
        await events.put(message['type'])

    return StreamingResponse(until_gone())


async def reader(request: Request) -> Response:
    """Read a body that its client does not finish."""
    await events.put('reading')
    try:
        await request.body()
    except ClientDisconnect:
        await events.put('ClientDisconnect')
        raise
    return Response()


async def polled(request: Request) -> Response:
    """Ask again and again whether the client is there."""
    await events.put('polling')
    while not await request.is_disconnected():
        await asyncio.sleep(0.001)
    await events.put('is_disconnected')
    return Response()


async def impatient(request: Request) -> Response:
    """Give up waiting for a body that has not come, then read it after all."""
    await request.is_disconnected()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(request.receive(), 0.001)
    await events.put('gave up')
    return PlainTextResponse(await request.body())


async def event(request: Request) -> Response:
    # (The errors that end a stream are in a group, and so in a cycle of frames: the `finally` of
    # the generator runs when the collector has found it, and an idle process does not look.)
    getting = asyncio.ensure_future(events.get())
    for _ in range(200):
        gc.collect()
        if (await asyncio.wait({getting}, timeout=0.1))[0]:
            break
    return PlainTextResponse(await asyncio.wait_for(getting, 0.1))


async def fail(request: Request) -> Response:
    raise ValueError('failed on purpose')


async def fail_late(request: Request) -> Response:
    async def half() -> AsyncIterator[bytes]:
        yield b'half'
        raise ValueError('failed late on purpose')

    return StreamingResponse(half())


async def cancelled(request: Request) -> Response:
    """Wait for what somebody has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(1000))
    task.cancel()
    await task
    return Response()


async def teapot(request: Request) -> Response:
    raise HTTPException(418, 'short and stout')


class Signed(BaseHTTPMiddleware):
    """Adds a field; its way to call the next makes a task and a stream of each request."""

    async def dispatch(self, request: Request, call_next) -> Response:
        response = await call_next(request)
        response.headers['x-signed'] = request.url.path
        return response


routes = [
    Route('/', index), Route('/where', where, name='where'), Route('/count', count),
    Route('/text', text), Route('/stream', stream), Route('/file', file),
    Route('/echo', echo, methods=['POST', 'PUT']), Route('/upload', upload, methods=['POST']),
    Route('/endless', endless), Route('/patient', patient), Route('/polled', polled),
    Route('/reader', reader, methods=['POST']), Route('/impatient', impatient, methods=['POST']),
    Route('/event', event), Route('/subscribe', subscribe), Route('/fail', fail),
    Route('/fail-late', fail_late),
    Route('/teapot', teapot), Route('/cancelled', cancelled),
    Mount('/static', StaticFiles(directory=HERE)),
    Mount('/signed', Starlette(
        routes=[Route('/text', text), Route('/stream', stream), Route('/fail', fail),
                Route('/where', where, name='where'), Route('/endless', endless),
                Route('/upload', upload, methods=['POST']), Route('/subscribe', subscribe)],
        middleware=[Middleware(Signed)])),
]

app = Starlette(routes=routes, lifespan=lifespan, middleware=[
    Middleware(SessionMiddleware, secret_key='not a secret'),
    Middleware(GZipMiddleware, minimum_size=1000)])

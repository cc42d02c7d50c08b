"""All at once: a thread, a subprocess, a call to ourselves, a background task; who counts them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

name: contextvars.ContextVar[str] = contextvars.ContextVar('name', default='')


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        yield {'client': client, 'done': set(), 'changed': asyncio.Condition(), 'tasks': {}}


async def note(state: State, what: object) -> None:
    """Remember that something is done, for who waits for it."""
    async with state.changed:
        state.done.add(what)
        state.changed.notify_all()


async def everything(request: Request) -> Response:
    number = request.path_params['number']
    state = request.state

    async def later() -> None:
        await asyncio.sleep(0)
        await note(state, number)

    square = await anyio.to_thread.run_sync(pow, number, 2)
    process = await asyncio.create_subprocess_exec(
        '/bin/echo', str(square), stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    async with anyio.create_task_group() as group:
        group.start_soon(asyncio.sleep, 0)
        answer = await state.client.post(
            str(request.url_for('inner', number=number)), content=b'x' * number)
    return JSONResponse(
        {'square': int(said), 'inner': int(answer.text), 'status': process.returncode},
        background=BackgroundTask(later))


async def inner(request: Request) -> Response:
    """What `everything` asks; the same thread answers it."""
    return PlainTextResponse(str(len(await request.body()) + request.path_params['number']))


async def done(request: Request) -> Response:
    """Wait until that many things are done; forget them."""
    state = request.state
    async with state.changed:
        await asyncio.wait_for(state.changed.wait_for(
            lambda: len(state.done) == request.path_params['number']), 20)
    state.done.clear()
    return PlainTextResponse('done')


async def census(request: Request) -> Response:
    """Count what is there."""
    gc.collect()
    return JSONResponse({
        'tasks': len(asyncio.all_tasks()), 'objects': len(gc.get_objects()),
        'descriptors': len(os.listdir('/proc/self/fd')), 'threads': threading.active_count()})


async def hold(request: Request) -> Response:
    """Start a task that sees what this request has set, and outlives it."""
    seen = name.get()
    name.set(request.path_params['name'])
    release = asyncio.Event()

    async def look() -> str:
        await release.wait()
        return name.get()

    request.state.tasks[name.get()] = release, asyncio.create_task(look())
    return PlainTextResponse(seen)


async def release(request: Request) -> Response:
    """Tell what this request sees, and what the task of the other one saw."""
    wake, task = request.state.tasks.pop(request.path_params['name'])
    wake.set()
    return JSONResponse([name.get(), await task])


async def left(request: Request) -> Response:
    """Wait until the client leaves."""
    number = request.path_params['number']
    await note(request.state, number)
    while (await request.receive())['type'] == 'http.request':
        pass
    await note(request.state, number)
    return Response()


async def hello(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


app = Starlette(lifespan=lifespan, routes=[
    Route('/everything/{number:int}', everything),
    Route('/inner/{number:int}', inner, methods=['POST'], name='inner'),
    Route('/done/{number:int}', done), Route('/census', census),
    Route('/hold/{name}', hold), Route('/release/{name}', release),
    Route('/left/{number:int}', left, methods=['GET', 'POST']),
    Route('/hello', hello, methods=['GET', 'POST'])])

"""The site of native_site.py on Starlette."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route


async def index(request: Request) -> Response:
    return PlainTextResponse('Hello world!')


async def upload(request: Request) -> Response:
    size = 0
    async for data in request.stream():
        size += len(data)
    return PlainTextResponse(str(size))


async def refuse(request: Request) -> Response:
    raise HTTPException(request.path_params['status'])


async def slow(request: Request) -> Response:
    async def ticks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b'tick '
            await asyncio.sleep(0.2)
        await asyncio.sleep(1.5)
        yield b'ended'

    await asyncio.sleep(2)
    return StreamingResponse(ticks())


app = Starlette(routes=[
    Route('/', index),
    Route('/upload', upload, methods=['POST']),
    Route('/refuse/{status:int}', refuse, methods=['POST']),
    Route('/slow', slow),
])

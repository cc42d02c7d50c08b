"""Litestar: dependencies, typed bodies, uploads, streams, background tasks, static files."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from litestar import Litestar, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.config.compression import CompressionConfig
from litestar.datastructures import State, UploadFile
from litestar.di import Provide
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body
from litestar.response import Stream
from litestar.static_files import create_static_files_router


@dataclass
class Item:
    name: str
    price: float


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.events = asyncio.Queue()
    yield


async def number(page: int = 1) -> int:
    return page * 10


@get('/', dependencies={'number': Provide(number)})
async def index(number: int) -> dict[str, int]:
    return {'number': number}


@post('/items')
async def items(data: Item) -> Item:
    return data


@post('/upload')
async def upload(
    data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> str:
    size = checksum = 0
    while piece := await data.read(1 << 20):
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
    return f'{data.filename} {size} {checksum:08x}'


@get('/stream')
async def stream() -> Stream:
    async def lines() -> AsyncIterator[str]:
        for each in range(1000):
            yield f'{each}\n'

    return Stream(lines())


@get('/endless')
async def endless(state: State) -> Stream:
    """Stream until the client has left."""
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b'tick\n'
                await asyncio.sleep(0.001)
        finally:
            state.events.put_nowait('stream ended')

    return Stream(ticks())


@get('/text')
async def text() -> str:
    return 'tremolo ' * 10000


@post('/later')
async def later(state: State) -> Response[str]:
    return Response('soon', background=BackgroundTask(state.events.put, 'later'))


@get('/event')
async def event(state: State) -> str:
    return await asyncio.wait_for(state.events.get(), 20)


@get('/thread', sync_to_thread=True)
def on_a_thread() -> str:
    return 'from a worker thread'


@get('/missing')
async def missing() -> None:
    raise NotFoundException('nothing here')


@get('/fail')
async def fail() -> None:
    raise ValueError('failed on purpose')


app = Litestar(
    [index, items, upload, stream, endless, text, later, event, on_a_thread, missing, fail,
     create_static_files_router('/static', [Path(__file__).resolve().parent])],
    lifespan=[lifespan], compression_config=CompressionConfig('gzip', minimum_size=1000))

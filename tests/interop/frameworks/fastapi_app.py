"""FastAPI: a dependency, a background task, an upload, a streaming answer."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Item(BaseModel):
    name: str
    price: float


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    yield {'items': {}, 'done': asyncio.Queue()}


app = FastAPI(lifespan=lifespan)


async def session(request: Request) -> AsyncIterator[list[str]]:
    """Open something for one request, and close it after the answer."""
    log = ['opened']
    yield log
    request.state.done.put_nowait('closed')


def page(number: int = 1) -> int:
    """Run on a worker thread, as all that is not async."""
    return number * 10


Session = Annotated[list[str], Depends(session)]


@app.get('/')
async def index(log: Session, number: Annotated[int, Depends(page)]) -> dict[str, object]:
    return {'log': log, 'number': number}


@app.get('/thread')
def on_a_thread() -> dict[str, str]:
    import threading
    return {'thread': threading.current_thread().name}


@app.put('/items/{number}', status_code=201)
async def put_item(number: int, item: Item, request: Request) -> Item:
    request.state.items[number] = item
    return item


@app.get('/items/{number}')
async def get_item(number: int, request: Request) -> Item:
    try:
        return request.state.items[number]
    except KeyError:
        raise HTTPException(404, 'no such item') from None


@app.post('/later')
async def later(tasks: BackgroundTasks, request: Request) -> str:
    def on_a_worker() -> None:
        request.state.done.put_nowait('later')

    tasks.add_task(on_a_worker)
    return 'soon'


@app.get('/done')
async def done(request: Request) -> str:
    """Wait for what others have done after their answers."""
    return await asyncio.wait_for(request.state.done.get(), 20)


@app.post('/upload')
async def upload(file: UploadFile, note: Annotated[str, Form()] = '') -> dict[str, object]:
    size = checksum = 0
    while data := await file.read(1 << 20):
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    return {'name': file.filename, 'note': note, 'sum': f'{size} {checksum:08x}'}


@app.get('/stream')
async def stream(count: int = 10) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(count):
            yield f'line {number}\n'
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type='text/plain')


@app.get('/stream/thread')
def stream_of_a_thread(count: int = 10) -> StreamingResponse:
    return StreamingResponse(f'line {number}\n' for number in range(count))


@app.get('/fail')
async def fail() -> None:
    raise ValueError('failed on purpose')

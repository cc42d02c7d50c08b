"""FastAPI's sockets: dependencies, validation, exceptions, and the manager of its documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import (
    Cookie,
    Depends,
    FastAPI,
    HTTPException,
    Query,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
    status,
)

app = FastAPI()
events: asyncio.Queue[object] = asyncio.Queue()


class ConnectionManager:
    """As in FastAPI's documentation, about."""

    def __init__(self) -> None:
        self.active: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.active.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        self.active.remove(websocket)

    async def broadcast(self, message: str) -> None:
        for connection in self.active:
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket('/chat/{client}')
async def chat(websocket: WebSocket, client: int) -> None:
    await manager.connect(websocket)
    try:
        while True:
            data = await websocket.receive_text()
            await websocket.send_text(f'you wrote: {data}')
            await manager.broadcast(f'{client} says: {data}')
    except WebSocketDisconnect:
        manager.disconnect(websocket)
        await manager.broadcast(f'{client} left the chat')


async def opened() -> AsyncIterator[str]:
    """Open something for one socket, and close it when the socket is over."""
    yield 'opened'
    events.put_nowait('closed')


async def token_of(
    session: Annotated[str | None, Cookie()] = None, token: Annotated[str | None, Query()] = None,
) -> str:
    if not (session or token):
        raise WebSocketException(status.WS_1008_POLICY_VIOLATION)
    return session or token


def on_a_thread(number: int = 1) -> int:
    return number * 10


@app.websocket('/items/{item}')
async def items(
    websocket: WebSocket, item: int, token: Annotated[str, Depends(token_of)],
    tenfold: Annotated[int, Depends(on_a_thread)], log: Annotated[str, Depends(opened)],
) -> None:
    await websocket.accept()
    async for data in websocket.iter_json():
        await websocket.send_json(
            {'item': item, 'token': token, 'tenfold': tenfold, 'log': log, 'data': data})


@app.websocket('/unpaid')
async def unpaid(websocket: WebSocket) -> None:
    raise HTTPException(402, 'pay first')


@app.websocket('/fail')
async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError('failed on purpose')


@app.get('/event')
async def event() -> object:
    return await asyncio.wait_for(events.get(), 20)

"""Quart's sockets: accept, subprotocols, refusals with a body, the broker of its documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, abort, jsonify, session, websocket

app = Quart(__name__)
app.secret_key = 'not a secret'


class Broker:
    """Pass on to all who listen, as in Quart's documentation."""

    def __init__(self) -> None:
        self.connections: set[asyncio.Queue[str]] = set()

    async def publish(self, message: str) -> None:
        for connection in self.connections:
            await connection.put(message)

    async def subscribe(self) -> AsyncIterator[str]:
        connection: asyncio.Queue[str] = asyncio.Queue()
        self.connections.add(connection)
        try:
            while True:
                yield await connection.get()
        finally:
            self.connections.remove(connection)
            app.events.put_nowait(f'{len(self.connections)} left')


broker = Broker()


@app.before_serving
async def start() -> None:
    app.events = asyncio.Queue()


@app.websocket('/echo')
async def echo() -> None:
    """Echo; when it is over, Quart cancels this."""
    offered = websocket.requested_subprotocols
    await websocket.accept(headers={'x-greeting': 'hello'},
                           subprotocol='second' if 'second' in offered else None)
    try:
        while True:
            await websocket.send(await websocket.receive())
    except asyncio.CancelledError:
        app.events.put_nowait('cancelled')
        raise


@app.websocket('/sums')
async def sums() -> None:
    while True:
        await websocket.send_json({'sum': sum(await websocket.receive_json())})


@app.websocket('/chat')
async def chat() -> None:
    async def receive() -> None:
        while True:
            await broker.publish(await websocket.receive())

    task = asyncio.ensure_future(receive())
    try:
        await websocket.send('welcome')
        async for message in broker.subscribe():
            await websocket.send(message)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@app.websocket('/close')
async def close() -> None:
    await websocket.accept()
    await websocket.close(4000, 'closed by Quart')


@app.websocket('/returns')
async def returns() -> None:
    await websocket.send('that is all')


@app.websocket('/unknown')
async def unknown() -> None:
    abort(401)


@app.websocket('/unpaid')
async def unpaid():
    return jsonify(detail='pay first'), 402, {'x-denied': 'yes'}


@app.websocket('/visits')
async def visits() -> None:
    """The session of a browser is in its cookie."""
    await websocket.send(str(session.get('count', 0)))


@app.route('/visit')
async def visit():
    session['count'] = session.get('count', 0) + 1
    return 'visited'


@app.websocket('/fail')
async def fail() -> None:
    await websocket.accept()
    raise ValueError('failed on purpose')


@app.route('/event')
async def event():
    return jsonify(await asyncio.wait_for(app.events.get(), 20))

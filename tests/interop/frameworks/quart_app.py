"""Quart: forms, sessions, streams both ways, background tasks."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from quart import Quart, abort, jsonify, request, session

app = Quart(__name__)
app.secret_key = 'not a secret'
app.config['MAX_CONTENT_LENGTH'] = 1 << 30


@app.before_serving
async def start() -> None:
    app.events = asyncio.Queue()


@app.route('/')
async def index():
    return jsonify(method=request.method, query=request.args.get('q'), host=request.host)


@app.route('/count')
async def count():
    session['count'] = session.get('count', 0) + 1
    return str(session['count'])


@app.route('/form', methods=['POST'])
async def form():
    fields = await request.form
    held = (await request.files)['file']
    return f'{fields["note"]} {held.filename} {len(held.read())}'


@app.route('/echo', methods=['POST'])
async def echo():
    """Sum up a body as it comes."""
    size = checksum = 0
    async for data in request.body:
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    return f'{size} {checksum:08x}'


@app.route('/stream')
async def stream():
    async def lines() -> AsyncIterator[str]:
        for number in range(1000):
            yield f'{number}\n'

    return lines(), 200, {'content-type': 'text/plain'}


@app.route('/later', methods=['POST'])
async def later():
    async def work() -> None:
        await app.events.put('later')

    app.add_background_task(work)
    return 'soon', 202


@app.route('/endless')
async def endless():
    """Stream until the client has left."""
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b'tick\n'
                await asyncio.sleep(0.001)
        finally:
            app.events.put_nowait('stream ended')

    return ticks()


@app.route('/event')
async def event():
    return await asyncio.wait_for(app.events.get(), 20)


@app.route('/thread')
def on_a_thread():
    return 'from a worker thread'


@app.route('/teapot')
async def teapot():
    abort(418)


@app.route('/fail')
async def fail():
    raise ValueError('failed on purpose')

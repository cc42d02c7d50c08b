"""What the WebSocket clients of this folder talk to; websocket_asgi.py has the same in ASGI."""

from __future__ import annotations

import json
from collections import defaultdict

from tremolo import Forbidden, Queue, Tremolo, WebSocketClosed, timeout

app = Tremolo()
# How the sockets have ended, by their folder: each run of a client is in a folder of its own.
events = defaultdict(Queue)


@app.route('/<run>/echo')
def echo_and_tell(run, websocket):
    """Echo, and tell how the client has closed."""
    try:
        yield from echo(websocket)
    except WebSocketClosed as closed:
        events[run].put_nowait([closed.code, closed.reason])
        raise


@app.route('/<run>/large')
def large(run, websocket):
    yield from echo(websocket)


def echo(websocket):
    """Send back what comes, until either side closes."""
    chosen = 'tremolo' if 'tremolo' in websocket.subprotocols else None
    yield websocket.accept(subprotocol=chosen)
    while True:
        message = yield websocket.receive()
        if message == 'ping':
            seconds = yield websocket.ping()
            message = 'pong' if 0 <= seconds < 30 else f'a pong after {seconds} s'
        elif isinstance(message, str) and message.startswith('close '):
            _, code, reason = message.split(' ', 2)
            yield websocket.close(int(code), reason)
            return
        yield websocket.send(message)


@app.route('/<run>/done')
def done(run, websocket):
    yield websocket.accept()
    yield websocket.send('done')


@app.route('/<run>/refuse')
async def refuse(run, websocket):
    raise Forbidden


@app.route('/<run>/event')
def event(run):
    """Wait for how the next socket ends."""
    found = yield timeout(20, events[run].get())
    yield json.dumps(found)


@app.route('/<run>')
def page(run):
    """A page for a browser to stand on."""
    return '<!doctype html><title>a page</title>'

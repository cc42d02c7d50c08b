"""What the tests of the control socket look at: one connection of each kind, each in its state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from server_support import PATIENCE, Client, request

from tremolo.control.look import look

APPLICATION = '''
import asyncio
import time
import tremolo

app = tremolo.Tremolo()

@app.route('/report')
def report():
    yield b'begun'
    yield tremolo.sleep(3600)                    # REPORT

async def fetch():
    await asyncio.sleep(3600)                    # ORDERS

@app.route('/orders')
async def orders():
    await fetch()

@app.route('/compute')
def compute(response, thread=True):
    while response.live:
        sum(range(1000))

@app.route('/export')
def export(rate=8192):
    while True:
        yield bytes(65536)

@app.route('/video')
def video():
    while True:
        yield bytes(65536)                       # VIDEO

@app.route('/whole')
def whole():
    return bytes(20_000_000)

@app.route('/chat')
def chat(websocket):
    yield websocket.accept()
    while True:
        yield websocket.receive()                # CHAT

@app.route('/upload', methods=['POST'])
def upload(request):
    body = yield request.body()                  # UPLOAD
    return str(len(body))

@app.route('/events')
async def events(sse):
    while True:
        await sse.send('tick')
        await asyncio.sleep(3600)                # EVENTS

@app.route('/spin')
def spin():
    time.sleep(1000)

@app.route('/')
def index():
    return 'hello'
'''

_SOCKET = ('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')


def at(mark: str) -> str:
    """Where the marked line of the application is, as a row shows it."""
    number = next(number for number, line in enumerate(APPLICATION.splitlines(), 1)
                  if line.endswith(f'# {mark}'))
    return f'example.py:{number}'


# What each of them shows: its kind, status, handler, where that stands, and what it waits for.
EXPECTED: dict[str, tuple[str, int | None, str, str, str]] = {
    "GET '/report'": (
        'request', 200, 'report', at('REPORT'), f'handler waits at {at("REPORT")}'),
    "GET '/orders'": (
        'request', None, 'fetch', at('ORDERS'), f'handler waits at {at("ORDERS")}'),
    "GET '/compute'": ('request', None, 'compute', '', 'its thread is at example.py'),
    "GET '/export'": ('request', 200, 'export', '', 'throttled (rate)'),
    "GET '/video'": ('request', 200, 'video', at('VIDEO'), 'waits for the client to read'),
    "GET '/whole'": ('request', 200, '', '', 'waits for the client to read'),
    "GET '/chat'": ('websocket', 101, 'chat', at('CHAT'), 'its handler waits for a message'),
    "POST '/upload'": ('request', None, 'upload', at('UPLOAD'), 'waits for the body'),
    "GET '/events'": (
        'events', 200, 'events', at('EVENTS'), f'handler waits at {at("EVENTS")}'),
    '': ('', None, '', '', 'idle'),
}


@contextmanager
def staged(address: Any) -> Iterator[list[Client]]:
    """Connect one client for each row of `EXPECTED`."""
    clients: list[Client] = []

    def connect(data: bytes, receive_buffer: int = 0) -> Client:
        clients.append(Client(address, receive_buffer))
        clients[-1].send(data)
        return clients[-1]

    try:
        for path in ('/report', '/orders', '/compute', '/export', '/events'):
            connect(request(path))
        for path in ('/video', '/whole'):
            connect(request(path), 4096)
        connect(request('/chat', 'GET', *_SOCKET))
        connect(request('/upload', 'POST', 'Content-Length: 1000') + b'x' * 100)
        connect(request('/')).take()
        yield clients
    finally:
        for each in clients:
            each.reset()    # (A handler whose client only ends its side goes on.)


def differs(rows: list[dict[str, Any]]) -> list[str]:
    """Return how the connections of an answer differ from what is expected."""
    found = {row['what']: row for row in rows if row['row'] == 'connection'}
    wrong = [f'not {what!r}' for what in {*found} ^ {*EXPECTED}]
    for what, row in found.items():
        kind, status, handler, place, waits = EXPECTED.get(what, ('', None, '', '', ''))
        if not ((row['kind'], row['status'], row['handler']) == (kind, status, handler)
                and row['place'].endswith(place) and row['waits'].startswith(waits)):
            wrong.append(f'{what}: {row}')
    return wrong


def seen(path: str, condition: Callable[[list[dict[str, Any]]], Any]) -> list[dict[str, Any]]:
    """Look again and again until the rows are as they should be; return them."""
    end = time.monotonic() + PATIENCE
    while True:
        rows = look(path)
        if condition(rows):
            return rows
        assert time.monotonic() < end, rows

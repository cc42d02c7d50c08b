"""The native application of hostile.py: a page for each kind of client."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from tremolo import Tremolo

LONG = bytes(8 << 20)
PIECE = bytes(16 << 10)

app = Tremolo()


@app.route('/')
def hello(**server: Any) -> Generator[bytes, None, None]:
    yield b'Hello '
    yield b'world!'


@app.route('/quick')
def quick(thread: bool = True) -> bytes:
    return b'Hello world!'


@app.route('/upload', methods=['POST'])
def upload(request: Any) -> Generator[Any, bytes, None]:
    size = 0
    while data := (yield request.read(65536)):
        size += len(data)
    yield b'%d' % size


@app.route('/json', methods=['POST'])
def read_json(request: Any) -> Generator[Any, Any, None]:
    data = yield request.json()
    yield b'%d' % len(data)


@app.route('/between/<a>/<path:rest>/end')
def pattern(a: str, rest: str) -> str:
    return f'{len(a)} {len(rest)}'


@app.route('/thread', methods=['POST'])
def in_thread(request: Any, thread: bool = True) -> bytes:
    return b'%d' % len(request.body().result())


@app.route('/long')
def long() -> bytes:
    return LONG


@app.route('/endless')
def endless() -> Generator[bytes, None, None]:
    while True:
        yield PIECE


@app.route('/compute')
def compute() -> bytes:
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass
    return b'Hello world!'


@app.route('/echo')
def echo(websocket: Any) -> Generator[Any, Any, None]:
    yield websocket.accept()
    while (message := (yield websocket.receive())) is not None:
        yield websocket.send(message)

"""The native application of the race: generators that never wait unless they must.

The same pages as those of asgi_app.py, in tremolo's own words.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import tremolo
from tremolo import Tremolo

CHUNKS = 1000
CHUNK = b'x' * 1023 + b'\n'
DOWNLOAD = 1 << 30
PIECE = bytes(64 << 10)

app = Tremolo()


@app.route('/')
def hello(**server: Any) -> Generator[bytes, None, None]:
    yield b'Hello '
    yield b'world!'


@app.route('/upload', methods=['POST'])
def upload(request: Any) -> Generator[Any, bytes, None]:
    size = 0
    while True:
        data = yield request.read(65536)
        if not data:
            break
        size += len(data)
    yield b'%d' % size


@app.route('/stream')
def stream(stream: bool = True) -> Generator[bytes, None, None]:
    for _ in range(CHUNKS):
        yield CHUNK


@app.route('/download')
def download(response: Any) -> Generator[bytes, None, None]:
    response.headers['Content-Length'] = str(DOWNLOAD)
    for _ in range(DOWNLOAD // len(PIECE)):
        yield PIECE


@app.route('/sleep')
def sleep() -> Generator[Any, None, None]:
    yield tremolo.sleep(0.2)
    yield b'Hello world!'


@app.route('/compute')
def compute() -> Generator[bytes, None, None]:
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
    yield b'Hello world!'

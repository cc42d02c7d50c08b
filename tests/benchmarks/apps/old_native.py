"""The native application for tremolo 0.5.3, as its own manual writes one.

    python old_native.py PORT

Unless told otherwise, it sends and receives 1 MiB a second at most, by design. That pace is all
that keeps its queue short, so without it the queue must hold a whole stream, and a download of
1 GiB is more than it can be asked for.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

from tremolo import Application

CHUNKS = 1000
CHUNK = b'x' * 1023 + b'\n'

app = Application()


@app.route('/')
async def hello(**server: Any) -> bytes:
    return b'Hello world!'


@app.route('/upload')
async def upload(request: Any, **server: Any) -> bytes:
    size = 0
    async for data in request.stream():
        size += len(data)
    return b'%d' % size


@app.route('/stream')
async def stream(**server: Any) -> AsyncIterator[bytes]:
    for _ in range(CHUNKS):
        yield CHUNK


if __name__ == '__main__':
    app.run('127.0.0.1', int(sys.argv[1]), log_level='WARNING',
            download_rate=10 ** 12, upload_rate=10 ** 12, max_queue_size=4096)

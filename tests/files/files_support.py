"""What the tests of files share: an application whose handlers of each kind send a file."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from tremolo import Tremolo, send_file
from tremolo.http import http_date

KINDS = 'plain', 'generator', 'waiting', 'thread', 'coroutine'
MODIFIED = 784111777
LARGE = random.Random(1).randbytes(700_001) if hasattr(random.Random, 'randbytes') else bytes(
    random.Random(1).choices(range(256), k=700_001))
SMALL = b'0123456789'
DATE = http_date(MODIFIED)


def etag(data: bytes) -> str:
    return f'"{len(data)}-{MODIFIED * 10**9}"'


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    os.utime(path, ns=(MODIFIED * 10**9, MODIFIED * 10**9))
    return path


def application(folder: Path, asyncio: bool = True, **about: Any) -> Tremolo:
    """Make `/KIND/NAME` for each kind of handler; `about` is for `send_file`."""
    app = Tremolo()
    methods = ['GET', 'POST']

    @app.route('/plain/<name>', methods=methods)
    def plain(name):
        return send_file(folder / name, **about)

    @app.route('/generator/<name>', methods=methods)
    def generator(name):
        if name == 'nothing':
            yield b''
        return send_file(folder / name, **about)

    @app.route('/waiting/<name>', methods=methods)
    def waiting(name):
        yield None
        return send_file(folder / name, **about)

    @app.route('/thread/<name>', methods=methods)
    def thread(name, thread=True):
        return send_file(folder / name, **about)

    async def coroutine(name):
        return send_file(folder / name, **about)

    if asyncio:
        app.route('/coroutine/<name>', methods=methods)(coroutine)
    return app

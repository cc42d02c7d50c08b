"""An upload to disk, by Starlette: each file part of a form becomes a file in UPLOADS."""

from __future__ import annotations

import os
import shutil

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

FOLDER = os.environ['UPLOADS']


def copy(source, path: str) -> int:
    """Copy a file in one go, on a thread, as is usual with Starlette."""
    source.seek(0)
    with open(path, 'wb') as target:
        shutil.copyfileobj(source, target)
        return target.tell()


async def upload(request: Request) -> PlainTextResponse:
    size = 0
    async with request.form() as form:
        for name, part in form.multi_items():
            size += await run_in_threadpool(copy, part.file, os.path.join(FOLDER, name))
    return PlainTextResponse(str(size))


app = Starlette(routes=[Route('/upload', upload, methods=['POST'])])

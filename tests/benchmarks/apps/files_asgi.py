"""The ASGI application of files.py, for other servers: Starlette's answer of a file."""

import os

from starlette.responses import FileResponse


async def app(scope, receive, send):
    if scope['type'] == 'http':
        await FileResponse(os.environ['BENCHMARK_FILE'])(scope, receive, send)

"""Sends files as Python's clients do; see ../test_uploads.py.

    python upload.py CLIENT URL NOTE FILE...
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path


def by_requests(url: str, note: str, files: list[Path]) -> str:
    import requests
    opened = [('files', (file.name, file.open('rb'))) for file in files]
    answer = requests.post(url, data={'note é': note}, files=opened, timeout=30)
    return answer.text


def by_httpx(url: str, note: str, files: list[Path]) -> str:
    import httpx
    opened = [('files', (file.name, file.open('rb'))) for file in files]
    return httpx.post(url, data={'note é': note}, files=opened, timeout=30).text


def by_aiohttp(url: str, note: str, files: list[Path]) -> str:
    import aiohttp

    async def post() -> str:
        # (As it is; else it says `name*=`, which a form must not: RFC 7578 section 4.2.)
        form = aiohttp.FormData({'note é': note}, quote_fields=False)
        for file in files:
            form.add_field('files', file.open('rb'), filename=file.name)
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            return await answer.text()

    return asyncio.run(post())


CLIENTS = {'requests': by_requests, 'httpx': by_httpx, 'aiohttp': by_aiohttp}

if __name__ == '__main__':
    client, url, note, *names = sys.argv[1:]
    sys.stdout.reconfigure(encoding='utf-8')    # type: ignore[union-attr]
    print(CLIENTS[client](url, note, [Path(name) for name in names]))

"""A client on httpx: many requests at once, on a few kept connections.

    python many.py http://127.0.0.1:8000
"""

from __future__ import annotations

import asyncio
import sys

import httpx


async def main(url: str) -> None:
    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(
            base_url=url, trust_env=False, timeout=30, limits=limits) as client:
        async def one(number: int) -> None:
            item = {'name': f'item {number}', 'price': number / 2}
            answer = await client.put(f'/items/{number}', json=item)
            assert (answer.status_code, answer.json()) == (201, item)
            assert (await client.get(f'/items/{number}')).json() == item
            async with client.stream('GET', '/stream', params={'count': number}) as stream:
                found = [line async for line in stream.aiter_lines()]
            assert found == [f'line {each}' for each in range(number)]
            answer = await client.post('/upload', files={'file': ('a', b'x' * number * 1000)})
            assert answer.json()['sum'].startswith(f'{number * 1000} ')

        await asyncio.gather(*map(one, range(50)))


asyncio.run(main(sys.argv[1]))

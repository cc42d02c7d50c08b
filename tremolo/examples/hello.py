"""Three ways to say hello.

    curl http://127.0.0.1:8000/yield /return /async
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

from tremolo import Tremolo, sleep

app = Tremolo()


@app.route('/')
def index(**server: Any) -> tuple[str, str]:
    """Return the whole answer: here a text and its encoding."""
    return 'Hello world!', 'latin-1'


@app.route('/yield')
def by_yield(stream: bool = True) -> Generator[Any, Any, None]:
    """Send chunk after chunk: with `stream` each is sent before the handler goes on."""
    yield b'Hello '
    yield sleep(0.5)
    yield b'world!'


@app.route('/return/<name>')
def by_return(name: str) -> dict[str, str]:
    """Return a dictionary, which is sent as JSON."""
    return {'hello': name}


@app.route('/async')
async def by_await(stream: bool = True) -> AsyncGenerator[bytes, None]:
    """Wait with asyncio: all libraries for asyncio work here."""
    yield b'Hello '
    await asyncio.sleep(0.5)
    yield b'world!'


if __name__ == '__main__':
    app.run(debug=True)

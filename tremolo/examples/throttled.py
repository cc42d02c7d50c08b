"""Limits of speed, in bytes/second.

    curl -o /dev/null http://127.0.0.1:8000/film        at 1 MiB a second
    curl -o /dev/null http://127.0.0.1:8000/sample      at 64 KiB a second, with ?key= faster
    curl -T FILE http://127.0.0.1:8000/upload           at 512 KiB a second

No client waits for another: one that is held back costs a timer, and the others go on at full
speed.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from tremolo import Request, Response, Tremolo

app = Tremolo()


@app.route('/film')
def film(rate: str = '1MiB', content_type: str = 'video/mp4') -> Generator[bytes, None, None]:
    """Send to each client at the rate that the signature says."""
    for _ in range(8 * 64):
        yield bytes(16384)


@app.route('/sample')
def sample(request: Request, response: Response) -> bytes:
    """Decide for each request; without a rate of its own, the answer has the connection's."""
    if 'key' not in request.query:
        response.rate = '64KiB'
    return bytes(1 << 20)


@app.route('/upload', methods=['PUT', 'POST'])
def upload(request: Request) -> Generator[Any, Any, None]:
    """Count the bytes that arrive, at most at the upload rate."""
    size = 0
    while data := (yield request.read(65536)):
        size += len(data)
    yield f'{size} bytes\n'


if __name__ == '__main__':
    # The first two are for each client, the last is for all clients together (of one worker).
    app.run(download_rate='4MiB', upload_rate='512KiB', worker_download_rate='50MiB')

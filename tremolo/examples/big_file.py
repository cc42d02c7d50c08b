"""A file of any size by `yield`: one piece is in memory at a time, however slow the client is.

    python -m tremolo.examples.big_file movie.mkv
    curl -O http://127.0.0.1:8000/movie.mkv

(`send_file` of download.py does more with less; here a `yield` does it.)

A handler is not resumed while the buffer of its client is full. So the file is read as fast as the
client takes it, and not faster. When the client leaves, the handler is cancelled and the `with`
block closes the file.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tremolo import NotFound, Response, Tremolo

app = Tremolo()
app.context.file = Path(sys.argv[-1])


@app.route('/<name>')
def big_file(
    name: str, response: Response, content_type: str = 'application/octet-stream', **server: Any
) -> Generator[bytes, None, None]:
    """Send the file. Because its length is announced, the client can show its progress."""
    path = server['globals'].file
    if name != path.name:
        raise NotFound
    buffer_size = server['context'].options['buffer_size']
    with path.open('rb') as file:
        response.headers['Content-Length'] = str(path.stat().st_size)
        while chunk := file.read(buffer_size):
            yield chunk


if __name__ == '__main__':
    if len(sys.argv) != 2 or not app.context.file.is_file():
        sys.exit('usage: python -m tremolo.examples.big_file FILE')
    app.run()

"""A file of any size by `yield`: one piece is in memory at a time, however slow the client.

    python -m tremolo.examples.big_file movie.mkv
    curl -O http://127.0.0.1:8000/movie.mkv

A handler is not resumed while its client's buffer is full, so the file is read as fast as the
client takes it, and not faster. When the client leaves, the `with` block ends.
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
    """Send the one file there is. With its length the client can show how far it is."""
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

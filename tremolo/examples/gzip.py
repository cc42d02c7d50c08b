"""Gzip: a middleware that compresses what is text, for clients that take it.

    python -m tremolo.examples.gzip
    curl --compressed -v http://127.0.0.1:8000/         a whole page
    curl --compressed -N http://127.0.0.1:8000/ticks    an answer that goes on, as it comes

Do not compress pages that hold a secret beside what a client sends: from the size of the answer one
guesses the other (BREACH).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from tremolo import Request, Response, Tremolo, sleep

app = Tremolo()

# `gzip`, unless its weight is 0.
TAKES_GZIP = re.compile(r'(^|[\s,])gzip\s*($|,|;(?!\s*q=0(\.0*)?\s*($|,)))', re.IGNORECASE)
TEXT = re.compile(r'text/|application/(json|javascript|xml)|image/svg', re.IGNORECASE)


@app.middleware
def compress(request: Request, response: Response) -> Generator[None, Iterable[bytes], Any]:
    """Put the compressed body in the place of the body."""
    chunks = yield
    headers = response.headers
    kind = headers.get('Content-Type') or response.content_type
    # A part of a file has the bytes of the file, and 204 has none.
    if not TEXT.match(kind) or 'Content-Encoding' in headers or response.status in (204, 206):
        return None
    headers.add('Vary', 'Accept-Encoding')
    if not TAKES_GZIP.search(request.headers.get('Accept-Encoding') or ''):
        return None
    headers.pop('Accept-Ranges', None)
    etag = headers.get('ETag')
    if etag and not etag.startswith('W/'):
        headers['ETag'] = f'W/{etag}'    # It means the same, and has other bytes.
    if response.status == 304:
        return None    # (The field would tell of a body that the client has, packed or not.)
    headers['Content-Encoding'] = 'gzip'
    return packed(chunks)


def packed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress chunks. An empty one says that no more has come yet: give what there is."""
    packer = zlib.compressobj(wbits=31)    # (31: gzip.)
    for chunk in chunks:
        yield packer.compress(chunk) if chunk else packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


@app.route('/')
def page(response: Response) -> str:
    """Return a page whose lines are much alike."""
    response.headers['ETag'] = '"1"'
    return '<!doctype html><title>gzip</title>' + ''.join(
        f'<p>{number} bottles of beer on the wall' for number in range(99, 0, -1))


@app.route('/ticks')
def ticks(response: Response) -> Generator[Any, Any, None]:
    """Send a line each second."""
    response.content_type = 'text/plain'
    for number in range(10):
        yield f'tick {number}\n'
        yield sleep(1)


if __name__ == '__main__':
    app.run()

"""The WSGI application of the race, the same for every server that speaks WSGI.

GET / is 12 bytes; POST /upload reads a body to its end and says how long it was; GET /stream sends
1,000 chunks of 1 KiB without a length; GET /download sends 1 GiB with one, in pieces of 64 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Callable

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

CHUNKS = 1000
CHUNK = b'x' * 1023 + b'\n'
DOWNLOAD = 1 << 30
PIECE = bytes(64 << 10)


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '12')])
    return [b'Hello world!']


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    size, left = 0, int(environ['CONTENT_LENGTH'])
    while left:
        data = environ['wsgi.input'].read(min(left, 65536))
        size += len(data)
        left -= len(data)
    answer = b'%d' % size
    start_response('200 OK', [
        ('Content-Type', 'text/plain'), ('Content-Length', str(len(answer)))])
    return [answer]


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response('200 OK', [('Content-Type', 'text/plain')])
    for _ in range(CHUNKS):
        yield CHUNK


def download(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response('200 OK', [('Content-Type', 'application/octet-stream'),
                              ('Content-Length', str(DOWNLOAD))])
    for _ in range(DOWNLOAD // len(PIECE)):
        yield PIECE


PAGES = {'/': hello, '/upload': upload, '/stream': stream, '/download': download}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return PAGES[environ['PATH_INFO']](environ, start_response)

"""Bottle: forms, an upload, streams, cookies, errors, and files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from bottle import Bottle, HTTPResponse, abort, redirect, request, response, static_file

app = Bottle()


@app.get('/')
def index() -> dict[str, object]:
    return {'method': request.method, 'query': request.query.q, 'path': request.path,
            'client': request.remote_addr, 'url': request.url, 'agent': request.get_header('X-A')}


@app.post('/form')
def form() -> str:
    held = request.files.file
    return f'{request.forms.note} {held.raw_filename} {len(held.file.read())}'


@app.post('/upload')
def upload() -> str:
    size = checksum = 0
    while data := request.body.read(65536):
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    return f'{size} {checksum:08x}'


@app.get('/count')
def count() -> str:
    number = int(request.get_cookie('count', secret='not a secret') or 0) + 1
    response.set_cookie('count', str(number), secret='not a secret')
    return str(number)


@app.get('/stream')
def stream() -> Iterator[str]:
    response.content_type = 'text/plain'
    for number in range(1000):
        yield f'{number}\n'


@app.get('/files/<name:path>')
def files(name: str) -> HTTPResponse:
    return static_file(name, root=str(Path(__file__).parent))


@app.get('/moved')
def moved() -> None:
    redirect('/')


@app.get('/teapot')
def teapot() -> None:
    abort(418, 'short and stout')


@app.get('/fail')
def fail() -> str:
    raise ValueError('failed on purpose')

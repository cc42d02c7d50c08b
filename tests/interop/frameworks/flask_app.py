"""Flask: forms, an upload, streams, cookies and sessions, errors, and files."""

from __future__ import annotations

import queue
import zlib
from collections.abc import Iterator
from pathlib import Path

from flask import (
    Flask,
    Response,
    abort,
    flash,
    get_flashed_messages,
    redirect,
    request,
    send_file,
    send_from_directory,
    session,
    stream_with_context,
    url_for,
)

app = Flask(__name__, static_folder=str(Path(__file__).parent), static_url_path='/static')
app.secret_key = 'not a secret'
events: queue.Queue[str] = queue.Queue()


@app.get('/')
def index() -> dict[str, object]:
    return {'method': request.method, 'query': request.args.get('q'), 'host': request.host,
            'client': request.remote_addr, 'root': request.root_path, 'path': request.path,
            'link': url_for('index', _external=True), 'scheme': request.scheme}


@app.post('/form')
def form() -> str:
    held = request.files['file']
    return f"{request.form['note']} {held.filename} {len(held.read())}"


@app.post('/upload')
def upload() -> str:
    size = checksum = 0
    while data := request.stream.read(65536):
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    return f'{size} {checksum:08x}'


@app.post('/limited')
def limited() -> str:
    request.max_content_length = 10
    return str(len(request.get_data()))


@app.post('/json')
def json() -> object:
    return request.get_json()


@app.get('/count')
def count() -> str:
    session['count'] = session.get('count', 0) + 1
    return str(session['count'])


@app.get('/cookies')
def cookies() -> Response:
    answer = Response(' '.join(sorted(f'{a}={b}' for a, b in request.cookies.items())))
    answer.set_cookie('one', '1')
    answer.set_cookie('two', '2', httponly=True)
    return answer


@app.get('/flash')
def flashed() -> object:
    flash('flashed')
    return redirect(url_for('told'))


@app.get('/told')
def told() -> str:
    return ' '.join(get_flashed_messages())


@app.get('/stream')
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(1000):
            yield f'{number}\n'

    return Response(stream_with_context(lines()), mimetype='text/plain')


@app.get('/endless')
def endless() -> Response:
    def ticks() -> Iterator[bytes]:
        try:
            while True:
                yield b'tick ' * 1000
        finally:
            events.put('stream ended')

    answer = Response(ticks())
    answer.call_on_close(lambda: events.put('closed'))
    return answer


@app.get('/event')
def event() -> str:
    return events.get(timeout=20)


@app.post('/reader')
def reader() -> str:
    events.put('reading')
    try:
        return str(len(request.get_data()))
    except Exception as error:
        events.put(type(error).__name__)
        raise


@app.get('/later')
def later() -> Response:
    answer = Response('answered')
    answer.call_on_close(lambda: events.put('later'))
    return answer


@app.get('/file')
def file() -> Response:
    return send_file(request.args.get('path', __file__), as_attachment=True, conditional=True)


@app.get('/files/<path:name>')
def files(name: str) -> Response:
    return send_from_directory(Path(__file__).parent, name)


@app.get('/fail')
def fail() -> str:
    raise ValueError('failed on purpose')


@app.get('/fail-late')
def fail_late() -> Response:
    def chunks() -> Iterator[str]:
        yield 'begun'
        raise ValueError('failed late on purpose')

    return Response(chunks())


@app.get('/exit')
def leave() -> str:
    raise SystemExit('left on purpose')


@app.get('/teapot')
def teapot() -> object:
    abort(418)

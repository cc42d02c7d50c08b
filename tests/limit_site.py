"""An application that uses much, and notes what is imported and opened once it serves.

With SPARE in the environment it has no more than so many descriptors from its start on.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
import os
import resource
import sys
import time
from typing import Any

from tremolo import (
    EventStream,
    HTTPError,
    Tremolo,
    gather,
    redirect,
    run_in_thread,
    send_file,
    sleep,
    spawn,
    timeout,
)
from tremolo.server import Server

HERE = os.path.dirname(os.path.abspath(__file__))
noted: list[str] = []
serves = False


def note(event: str, args: tuple[Any, ...]) -> None:
    if serves and event == 'import' and args[0] not in sys.modules:
        noted.append(f'import {args[0]}')
    elif serves and event in ('open', 'os.scandir', 'os.listdir', 'socket.getaddrinfo'):
        noted.append(f'{event} {args[0]}')


def start(self: Server, begin: Any = Server.start) -> None:
    """Begin to accept; from now on descriptors are scarce."""
    global serves
    begin(self)
    if not serves and (spare := os.environ.get('SPARE')):
        # No hole is left between those that are open.
        taken, highest = [os.dup(0)], max(map(int, os.listdir('/proc/self/fd')))
        while taken[-1] <= highest:
            taken.append(os.dup(0))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + int(spare), limits[1]))
        os.close(taken[-1])
    serves = True


Server.start = start    # type: ignore[method-assign]
sys.addaudithook(note)

app = Tremolo()
app.secret_keys = ['0' * 32]
app.static('/static', HERE)


@app.route('/noted')
def told() -> Any:
    return noted


@app.route('/generator')
def generator() -> Any:
    yield 'a'
    yield sleep(0.001)
    yield 'b'


@app.route('/plain')
def plain(request: Any, response: Any) -> str:
    response.set_cookie('c', 'd', signed=True, max_age=10)
    return f'{request.query} {request.cookies} {request.client[0]} {request.headers}'


@app.route('/thread')
def thread(thread: bool = True) -> dict[str, int]:
    return {'a': 1}


@app.route('/async', methods=['GET', 'POST'])
async def coroutine(request: Any) -> Any:
    await asyncio.sleep(0.001)
    return [await asyncio.to_thread(str, 'x'), (await request.body()).decode()]


@app.route('/chunks')
async def chunks() -> Any:
    yield 'a'
    await asyncio.sleep(0)
    yield 'b'


@app.route('/tasks')
def tasks() -> Any:
    def work(number: int) -> Any:
        yield sleep(0.001)
        return number

    found = yield gather(work(1), spawn(work(2)), run_in_thread(str, 3))
    try:
        yield timeout(0.001, sleep(10))
    except TimeoutError:
        yield str(found)


@app.route('/signed')
def signed(request: Any) -> str:
    return str(request.signed_cookie('c'))


@app.route('/json', methods=['POST'])
def from_json(request: Any) -> Any:
    data = yield request.json()
    return {'data': data, 'accepts': request.accepts('text/html', 'application/json')}


@app.route('/form', methods=['POST'])
def form(request: Any) -> Any:
    yield str((yield request.form()))


@app.route('/upload', methods=['POST'])
def upload(request: Any) -> Any:
    files = request.files()
    while part := (yield files.next()):
        yield (yield part.text()) if part.filename is None else str((yield part.save('saved')))


@app.route('/there')
def there() -> Any:
    return redirect('/a b?c=ü')


@app.route('/page/<int:number>/<path:rest>', name='page')
def page(number: int, rest: str) -> str:
    return app.url_for('page', number=number + 1, rest=rest)


@app.route('/uuid/<uuid:id>/<float:size>')
def of_uuid(id: Any, size: float) -> str:
    return f'{id} {size}'


@app.route('/file')
def file() -> Any:
    return send_file(__file__)


@app.route('/attached')
def attached() -> Any:
    return send_file(__file__, download_name='ü "x".py')


@app.route('/refused')
def refused() -> Any:
    raise HTTPError(418, 'no', {'X-A': 'b'})


@app.route('/fail')
def fail() -> Any:
    raise ValueError('on purpose')


@app.route('/fail-later')
def fail_later() -> Any:
    yield 'x' * 100000
    yield sleep(0.001)
    raise ValueError('on purpose')


@app.route('/fail-async')
async def fail_async() -> Any:
    async with asyncio.timeout(1) if hasattr(asyncio, 'timeout') else asyncio.Lock():
        raise ValueError('on purpose')


@app.route('/fail-thread')
def fail_thread(thread: bool = True) -> Any:
    group = getattr(builtins, 'ExceptionGroup', None)    # (Since Python 3.11.)
    error = ValueError('on purpose')
    raise error if group is None else group('both', [error])


@app.route('/wrong')
def wrong() -> Any:
    return object()


@app.route('/dropped')
def dropped() -> Any:
    def fails() -> Any:
        yield sleep(0.001)
        raise ValueError('nobody looks')

    spawn(fails())
    yield sleep(0.002)
    yield 'dropped'


@app.route('/log')
def log() -> str:
    logging.getLogger('tremolo.app').warning('a line')
    return 'logged'


@app.route('/events')
def events(sse: EventStream) -> Any:
    yield sse.send('a\nb', event='e', id=1, retry=10)
    yield sse.send('c')


@app.route('/events-async')
async def events_async(sse: EventStream) -> Any:
    await sse.send('a')


@app.route('/socket')
def socket(websocket: Any) -> Any:
    yield websocket.accept()
    yield websocket.send('x' * 2000)
    yield websocket.send(b'y')
    yield websocket.close()


@app.route('/socket-async')
async def socket_async(websocket: Any) -> Any:
    await websocket.accept()
    await websocket.send('x' * 2000)
    await websocket.close()


@app.route('/socket-denied')
def socket_denied(websocket: Any) -> Any:
    raise HTTPError(403)
    yield


@app.route('/members')
def members(websocket: Any) -> Any:
    yield websocket.accept()
    app.group('all').add(websocket)
    app.group('all').send('z' * 2000)
    yield websocket.close()


@app.error(404)
def lost(request: Any, error: Any) -> str:
    return f'nothing at {request.path}'


@app.route('/forever')
def forever() -> Any:
    logging.getLogger('tremolo.app').warning('it has begun')
    yield sleep(1000)


@app.route('/late')
def late() -> Any:
    import imported_late  # (In the folder of the test; it imports another one.)
    year = time.strptime('2001', '%Y').tm_year
    return f'{imported_late.NAME} {year} {len("ü".encode("cp1250"))}'


@app.route('/late-thread')
def late_thread(thread: bool = True) -> Any:
    import imported_late_too
    return imported_late_too.NAME


@app.route('/late-async')
async def late_async(response: Any) -> Any:
    import imported_late_again
    response.set_cookie('a', 'b', expires='Sun, 6 Nov 1994 8:49 GMT')
    response.content_type = 'text/plain; charset=cp1257'
    return imported_late_again.NAME


@app.route('/spawned')
def spawned() -> str:
    def job() -> Any:
        yield run_in_thread(json.dumps, {'a': 1})

    app.spawn(job())
    return 'spawned'


@app.middleware
def timed(response: Any) -> Any:
    yield
    response.headers['X-Timed'] = '1'

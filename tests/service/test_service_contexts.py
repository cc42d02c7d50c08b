"""What is set before serving holds in handlers; what one request sets no other one sees."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import json
import os
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from server_support import request, serving

from tremolo import Tremolo, run_in_thread, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.loop.work import of_startup

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 'Connection: close'

name: contextvars.ContextVar[str] = contextvars.ContextVar('name', default='unset')


@contextmanager
def named(value: str) -> Any:
    """Set the variable in the context of the caller."""
    token = name.set(value)
    try:
        yield
    finally:
        name.reset(token)


def told() -> str:
    """Tell what the variable is, and set it: the next request must not see that."""
    before = name.get()
    name.set(f'{before} and changed')
    return before


def native() -> Tremolo:
    app = Tremolo()

    @app.route('/plain')
    def plain() -> str:
        return told()

    @app.route('/thread')
    def thread(thread: bool = True) -> str:
        return told()

    @app.route('/generator')
    def generator() -> Any:
        yield told()

    @app.route('/late')
    def late_generator() -> Any:
        before = told()
        yield sleep(0.001)
        assert name.get() == f'{before} and changed'
        yield before

    @app.route('/job')
    def job() -> Any:
        before = yield run_in_thread(told)
        yield before

    @app.route('/coroutine')
    async def coroutine() -> str:
        return told()

    @app.route('/late-coroutine')
    async def late_coroutine() -> str:
        before = told()
        await asyncio.sleep(0.001)
        assert name.get() == f'{before} and changed'
        return before

    @app.route('/async-generator')
    async def async_generator() -> Any:
        yield told()
        await asyncio.sleep(0.001)

    return app


KINDS = ['/plain', '/thread', '/generator', '/late', '/job', '/coroutine', '/late-coroutine',
         '/async-generator']


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    assert scope['type'] == 'http'
    before = told()
    if scope['path'] == '/late':
        await asyncio.sleep(0.001)
        assert name.get() == f'{before} and changed'
    await send({'type': 'http.response.start', 'status': 200})
    await send({'type': 'http.response.body', 'body': before.encode()})


def bodies_of(host: Any, path: str) -> list[bytes]:
    """Ask twice on one connection, and twice at once on two others."""
    others = [host.connect(request(path, 'GET', CLOSE)) for _ in range(2)]
    found = host.ask(request(path) + request(path, 'GET', CLOSE))
    return [answer.body for answer in found] + [other.take().body for other in others]


@pytest.mark.parametrize('path', KINDS)
def test_what_the_program_has_set_holds_in_native_handlers(path):
    with named('program'), serving(native(), port=0) as host:
        assert bodies_of(host, path) == [b'program'] * 4


@pytest.mark.parametrize('path', ['/now', '/late'])
@pytest.mark.parametrize('loop', ['reactor', 'asyncio'])
def test_what_the_program_has_set_holds_in_asgi_applications(path, loop):
    with named('program'), serving(AsgiApplication(asgi), port=0, loop=loop) as host:
        assert bodies_of(host, path) == [b'program'] * 4


def test_nothing_that_is_set_while_it_serves_is_seen():
    with serving(native(), port=0) as host, named('late'):
        host.on_loop(lambda: name.set('later'))
        assert bodies_of(host, '/plain') == [b'unset'] * 4


@pytest.mark.parametrize('kind', ['plain', 'generator', 'coroutine'])
@pytest.mark.parametrize('make', [native, lambda: AsgiApplication(asgi)], ids=['native', 'ASGI'])
def test_what_a_start_hook_has_set_holds(make, kind):
    app = make()
    seen = []

    @app.on_worker_start
    def before() -> Any:
        name.set('first')
        yield sleep(0.001)

    if kind == 'plain':
        @app.on_worker_start
        def plain() -> None:
            seen.append(name.get())
            name.set('hook')
    elif kind == 'generator':
        @app.on_worker_start
        def generator() -> Any:
            seen.append(name.get())
            yield sleep(0.001)
            name.set('hook')
    else:
        @app.on_worker_start
        async def coroutine() -> None:
            seen.append(name.get())
            await asyncio.sleep(0.001)
            name.set('hook')

    with named('program'), serving(app, port=0) as host:
        assert bodies_of(host, '/late') == [b'hook'] * 4
    assert seen == ['first']
    # The caller of `start` is not touched.
    assert name.get() == 'unset'


def living() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] == 'http':
            await asgi(scope, receive, send)
            return
        await receive()
        name.set('lifespan')
        await send({'type': 'lifespan.startup.complete'})
        name.set('too late')
        await receive()
        await send({'type': 'lifespan.shutdown.complete'})

    return app


@pytest.mark.parametrize('loop', ['reactor', 'asyncio'])
def test_what_a_lifespan_has_set_holds(loop):
    with named('program'), serving(AsgiApplication(living()), port=0, loop=loop) as host:
        assert bodies_of(host, '/late') == [b'lifespan'] * 4
    assert name.get() == 'unset'


def test_a_server_inside_a_program_has_the_context_of_its_task():
    found = []

    def fetch(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bytes(answer.read())

    async def main(app: Any, path: str) -> None:
        name.set('task')
        async with app.serve(port=0) as server:
            name.set('too late')
            loop = asyncio.get_running_loop()
            for _ in range(2):
                body = await loop.run_in_executor(None, fetch, server.url + path)
                found.append(body)

    asyncio.run(main(native(), '/late-coroutine'))
    asyncio.run(main(native(), '/generator'))
    asyncio.run(main(AsgiApplication(asgi), '/late'))
    asyncio.run(main(AsgiApplication(living()), '/late'))
    assert found == [b'task'] * 6 + [b'lifespan'] * 2


def test_addresses_with_options_of_their_own_have_the_same_context():
    app = native()
    app.listen(0, idle_timeout=5)

    @app.on_worker_start
    async def hook() -> None:
        name.set('hook')

    with serving(app, port=0) as host:
        for listener in host.server.listeners:
            url = f'http://127.0.0.1:{listener.address[1]}/plain'
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.read() == b'hook'


def test_an_asgi_application_that_is_no_coroutine_function_runs_in_the_context_too():
    def call(scope: Any, receive: Any, send: Any) -> Any:
        seen.append(name.get())
        name.set('by a request')
        return asgi(scope, receive, send)

    seen: list[str] = []
    with named('program'), serving(AsgiApplication(call), port=0, lifespan='off') as host:
        assert bodies_of(host, '/now') == [b'by a request'] * 4
    assert seen == ['program'] * 4


def test_what_a_request_begins_is_no_work_of_the_start():
    seen = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] == 'http':
            seen.append(of_startup.get())
        await living()(scope, receive, send)

    app = AsgiApplication(note)

    @app.on_worker_start
    async def hook() -> None:
        seen.append(of_startup.get())

    with serving(app, port=0) as host:
        host.ask(request('/', 'GET', CLOSE))
    assert seen == [True, False]


# The numbers of `decimal`

def precise() -> Tremolo:
    app = Tremolo()

    @app.route('/')
    def third() -> str:
        found = str(decimal.Decimal(1) / 3)
        decimal.getcontext().prec = 3
        return found

    @app.route('/late')
    async def late_third() -> str:
        decimal.getcontext().prec += 1
        await asyncio.sleep(0.001)
        return str(decimal.Decimal(1) / 3)

    return app


@contextmanager
def precision(digits: int) -> Any:
    before = decimal.getcontext().copy()
    decimal.getcontext().prec = digits
    try:
        yield
    finally:
        decimal.setcontext(before)


@pytest.mark.parametrize('digits', [9, 28])
def test_the_precision_of_decimals_holds_and_is_each_request_s_own(digits):
    def third(digits: int) -> bytes:
        return b'0.' + b'3' * digits

    with precision(digits), serving(precise(), port=0) as host:
        for _ in range(2):
            assert bodies_of(host, '/') == [third(digits)] * 4
            assert bodies_of(host, '/late') == [third(digits + 1)] * 4
        decimal.getcontext().prec = 5
        assert bodies_of(host, '/') == [third(digits)] * 4
        assert str(decimal.Decimal(1) / 3) == '0.33333'


def test_flags_of_earlier_calculations_do_not_count_as_a_setting():
    made = []

    def serve() -> None:
        # (A thread, so that nobody has set anything.)
        assert decimal.Decimal(1) / 3
        name.set('thread')
        with serving(native(), port=0) as host:
            made.append(host.server.new_context())
            made.append(bodies_of(host, '/plain'))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert made[1] == [b'thread'] * 4
    assert not [value for value in made[0].values() if isinstance(value, decimal.Context)]


PROGRAM = '''
import contextvars, decimal, sys
from tremolo import Tremolo

name = contextvars.ContextVar('name', default='unset')
name.set('import')
decimal.getcontext().prec = 9

app = Tremolo()

@app.route('/')
def index():
    return {'name': name.get(), 'third': str(decimal.Decimal(1) / 3)}

if __name__ == '__main__':
    app.run(port=0, **eval(sys.argv[1]))
'''


@pytest.mark.parametrize('options', ['{}', "{'loop': 'asyncio'}", "{'workers': 1}",
                                     "{'workers': 1, 'preload': True}"])
def test_what_a_module_sets_when_it_is_imported_holds_in_a_process(tmp_path, options):
    (tmp_path / 'program.py').write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, 'program.py', options], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].decode()
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert json.load(answer) == {'name': 'import', 'third': '0.333333333'}
        process.terminate()
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()

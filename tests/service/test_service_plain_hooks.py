"""A plain hook may spawn tasks, begin jobs and use queues: the loop turns a moment later."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from server_support import PATIENCE, request, serving

from tremolo import Queue, Tremolo, run_in_thread, sleep, spawn

ROOT = Path(__file__).resolve().parents[2]


def application(said: list[Any]) -> Tremolo:
    app = Tremolo()

    @app.on_worker_start
    def begin(context: Any) -> None:
        context.queue = Queue()
        context.queue.put('put')
        context.queue.put_nowait('put_nowait')
        context.job = run_in_thread(lambda: 'job')
        context.coroutine = spawn(in_asyncio())
        context.worker = spawn(work(context.queue))

    async def in_asyncio() -> str:
        await asyncio.sleep(0)
        return 'coroutine'

    def work(queue: Any) -> Any:
        while True:
            said.append((yield queue.get()))

    @app.route('/')
    def index(context: Any, globals: Any) -> Any:
        return f'{yield globals.job} {yield globals.coroutine} {said}'

    @app.on_worker_stop
    def end(context: Any) -> None:
        context.worker.cancel()
        said.append(spawn(at_once()).result())

    def at_once() -> Any:
        return 'at once'
        yield

    return app


def test_a_plain_hook_spawns_puts_and_runs_in_threads() -> None:
    said: list[Any] = []
    with serving(application(said)) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert answer.body == b"job coroutine ['put', 'put_nowait']"
    assert said[-1] == 'at once'


def test_the_same_in_asyncio() -> None:
    said: list[Any] = []

    async def main() -> None:
        async with application(said).serve() as server:
            reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
            writer.write(request('/', 'GET', 'Connection: close'))
            assert b'job coroutine' in await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()

    asyncio.run(main())
    assert said[-1] == 'at once'


PROGRAM = '''
import sys
from tremolo import Tremolo, sleep, spawn

app = Tremolo()

@app.on_worker_start
def begin():
    spawn(tick())

def tick():
    yield sleep(0)
    print('ticked', 'asyncio' in sys.modules, flush=True)
    app.stop()

app.run(port=0)
'''


def test_a_program_whose_hook_spawns_a_generator_needs_no_asyncio() -> None:
    done = subprocess.run([sys.executable, '-c', PROGRAM], cwd=ROOT, capture_output=True,
                          text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert 'ticked False' in done.stdout


def test_after_a_hook_the_thread_has_the_reactor_from_before() -> None:
    app = Tremolo()
    app.on_worker_start(lambda: sleep(0))

    with serving(app):
        try:
            sleep(0)
        except RuntimeError as error:
            assert str(error) == 'no reactor runs in this thread'
        else:
            raise AssertionError('the hook has left a reactor behind')

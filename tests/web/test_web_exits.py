"""Handlers that call `sys.exit`, or raise KeyboardInterrupt: it is one request's 500, and no end.

The user's Ctrl-C is something else, and still ends what it is meant to end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_support import request, serving

from tremolo import Tremolo, run_in_thread, sleep, spawn

ROOT = Path(__file__).resolve().parents[2]
EXITS = [SystemExit, KeyboardInterrupt]
CLOSE = 'Connection: close'

app = Tremolo()
raised: dict[str, type[BaseException]] = {}    # The error that the handlers raise now.


def leave() -> None:
    raise raised['now']('on purpose')


async def leave_later() -> None:
    await asyncio.sleep(0.001)
    leave()


@app.route('/fine')
def fine() -> str:
    return 'fine'


@app.route('/plain')
def plain() -> None:
    leave()


@app.route('/thread')
def thread(thread: bool = True) -> None:
    leave()


@app.route('/generator')
def generator() -> Any:
    leave()
    yield b''


@app.route('/generator/late')
def late_generator() -> Any:
    yield sleep(0.001)
    leave()
    yield b''


@app.route('/generator/value')
def generator_with_a_value() -> Any:
    yield sleep(0.001)
    leave()
    return b'value'


@app.route('/generator/coroutine')
def generator_that_waits_for_a_coroutine() -> Any:
    yield leave_later()


@app.route('/coroutine')
async def coroutine() -> None:
    leave()


@app.route('/coroutine/late')
async def late_coroutine() -> None:
    await leave_later()


@app.route('/coroutine/task')
async def coroutine_that_waits_for_a_task() -> None:
    await asyncio.ensure_future(leave_later())


@app.route('/coroutine/executor')
async def coroutine_with_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, leave)


@app.route('/async-generator')
async def async_generator() -> Any:
    leave()
    yield b''


@app.route('/async-generator/late')
async def late_async_generator() -> Any:
    await leave_later()
    yield b''


@app.route('/spawned')
def spawned() -> Any:
    def job() -> Any:
        yield sleep(0.001)
        leave()

    task = spawn(job())
    try:
        yield task
    except BaseException as error:
        yield type(error).__name__


@app.route('/spawned/task')
async def spawned_task() -> str:
    task = asyncio.ensure_future(leave_later())
    await asyncio.wait([task])
    return type(task.exception()).__name__


KINDS = ['/plain', '/thread', '/generator', '/generator/late', '/generator/value',
         '/generator/coroutine', '/coroutine', '/coroutine/late', '/coroutine/task',
         '/coroutine/executor', '/async-generator', '/async-generator/late']


@pytest.mark.parametrize('error', EXITS)
@pytest.mark.parametrize('path', KINDS)
def test_an_exit_is_the_500_of_its_request(path, error, logged, monkeypatch):
    monkeypatch.setitem(raised, 'now', error)
    with serving(app, port=0) as host:
        found, = host.ask(request(path, 'GET', CLOSE))
        assert (found.status, b'on purpose' in found.body) == (500, False)
        # The server is there, and its kept connections too.
        assert host.ask(request('/fine') + request('/fine', 'GET', CLOSE))[1].body == b'fine'
    assert logged.count('failed on') == 1
    assert f'{error.__name__}: on purpose' in logged.text
    assert 'in leave' in logged.text


@pytest.mark.parametrize('error', [*EXITS, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize('wrapped', [False, True])
def test_an_exit_of_a_converter_is_a_500_and_no_end_of_the_server(wrapped, error, logged):
    other = Tremolo()

    def leave_now(text):
        raise error('on purpose')

    other.converters['leaves'] = (r'\d+', leave_now, str)
    other.route('/fine')(lambda: 'fine')
    other.route('/<leaves:it>')(lambda it: 'never')
    if wrapped:
        @other.middleware
        def around():
            yield

    with serving(other, port=0) as host:
        found, fine = host.ask(request('/7') + request('/fine', 'GET', CLOSE))
        assert (found.status, fine.body) == (500, b'fine')
    assert f'{error.__name__}: on purpose' in logged.text


@pytest.mark.parametrize('error', EXITS)
@pytest.mark.parametrize('path', ['/spawned', '/spawned/task'])
def test_an_exit_of_a_spawned_task_is_that_tasks_own(path, error, monkeypatch):
    monkeypatch.setitem(raised, 'now', error)
    with serving(app, port=0) as host:
        found, = host.ask(request(path, 'GET', CLOSE))
        assert found.body == error.__name__.encode()
        assert host.ask(request('/fine', 'GET', CLOSE))[0].body == b'fine'


def test_an_exit_of_a_task_that_nobody_waits_for_is_logged(caplog, monkeypatch):
    monkeypatch.setitem(raised, 'now', SystemExit)
    forgetful = Tremolo()

    @forgetful.route('/')
    async def forget() -> str:
        task = asyncio.ensure_future(leave_later())
        await asyncio.sleep(0)
        del task
        return 'forgotten'

    def is_logged() -> bool:
        gc.collect()
        return 'SystemExit: on purpose' in caplog.text

    with serving(forgetful, port=0) as host:
        assert host.ask(request('/', 'GET', CLOSE))[0].body == b'forgotten'
        host.wait_for(is_logged)
        assert host.ask(request('/', 'GET', CLOSE))[0].body == b'forgotten'
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_many_that_exit_in_one_turn_are_all_answered(logged, monkeypatch):
    monkeypatch.setitem(raised, 'now', SystemExit)
    together = Tremolo()
    waiting: list[asyncio.Future[None]] = []

    @together.route('/<int:number>')
    async def wait(number: int) -> str:
        waiting.append(asyncio.get_running_loop().create_future())
        if len(waiting) == 5:
            for each in waiting:
                each.set_result(None)
        await waiting[-1]
        if number % 2:
            leave()
        return f'{number}'

    with serving(together, port=0) as host:
        clients = [host.connect(request(f'/{number}')) for number in range(5)]
        assert [client.take().status for client in clients] == [200, 500, 200, 500, 200]
    assert logged.count('failed on') == 2


def test_an_exit_while_the_server_stops_is_no_end_of_the_stopping(logged, monkeypatch):
    monkeypatch.setitem(raised, 'now', SystemExit)
    ended: list[str] = []
    stubborn = Tremolo()

    async def wait(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(name)
            leave()

    @stubborn.route('/')
    async def index() -> str:
        tasks.extend(asyncio.ensure_future(wait(name)) for name in 'ab')
        return 'begun'

    tasks: list[asyncio.Future[None]] = []
    with serving(stubborn, port=0, shutdown_timeout=0.01) as host:
        assert host.ask(request('/', 'GET', CLOSE))[0].body == b'begun'
    assert sorted(ended) == ['a', 'b']
    assert [type(task.exception()) for task in tasks] == [SystemExit] * 2
    assert logged.count('is cancelled') == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise: where tests run in the background, it may be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('path', ['/plain', '/generator', '/generator/late', '/coroutine',
                                  '/coroutine/late', '/async-generator/late'])
def test_ctrl_c_in_a_program_that_steps_a_server_reaches_the_program(path, logged, interruptible):
    interrupted = Tremolo()

    def press() -> None:
        signal.raise_signal(signal.SIGINT)

    @interrupted.route('/plain')
    def plain() -> None:
        press()

    @interrupted.route('/generator')
    def generator() -> Any:
        press()
        yield b''

    @interrupted.route('/generator/late')
    def late_generator() -> Any:
        yield sleep(0.001)
        press()

    @interrupted.route('/coroutine')
    async def coroutine() -> None:
        press()

    @interrupted.route('/coroutine/late')
    async def late_coroutine() -> None:
        await asyncio.sleep(0.001)
        press()

    @interrupted.route('/async-generator/late')
    async def late_async_generator() -> Any:
        await asyncio.sleep(0.001)
        press()
        yield b''

    with interrupted.start(port=0, thread=False, shutdown_timeout=0.01) as server, \
            socket.create_connection(server.address) as sock:
        sock.sendall(request(path))
        with pytest.raises(KeyboardInterrupt):
            for _ in range(1000):
                server.step(0.05)
        sock.close()


PROGRAM = '''
import asyncio, signal
from tremolo import Tremolo

app = Tremolo()

@app.route('/exit')
async def leave():
    await asyncio.sleep(0.001)
    raise SystemExit(3)

@app.route('/interrupt')
def interrupt():
    raise KeyboardInterrupt

@app.route('/')
async def press():
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(0.001)
    return 'the last answer'

app.run(port=0)
'''


def test_a_process_goes_on_after_an_exit_and_ends_after_ctrl_c(tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, 'program.py'], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(b' (')[0].rpartition(b':')[2])
        said = []
        for path in '/exit', '/interrupt', '/':
            client = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
            client.request('GET', path)
            answer = client.getresponse()
            said.append((answer.status, answer.read()))
            client.close()
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert [status for status, _ in said] == [500, 500, 200]
    assert said[2][1] == b'the last answer'
    assert process.returncode == 0
    assert b'\n    SystemExit: 3\n' in log and b'\n    KeyboardInterrupt\n' in log


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Its attributes cannot be set, not even `__traceback__`."""

    code: int = 7


def frozen():
    raise Frozen


def frozen_generator():
    yield sleep(0)
    raise Frozen


async def frozen_coroutine():
    await sleep(0)
    raise Frozen


def frozen_thread(thread=True):
    raise Frozen


def frozen_job():
    yield run_in_thread(frozen)


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('handler', [frozen, frozen_generator, frozen_coroutine, frozen_thread,
                                     frozen_job])
def test_an_error_whose_attributes_cannot_be_set_is_answered(handler, wrapped, logged):
    """On a thread it ended the thread, and the request was never answered."""
    site = Tremolo()
    site.get('/')(handler)
    if wrapped:
        @site.middleware
        def around():
            yield

    with serving(site, threads=1) as host:
        for _ in range(2):
            assert host.ask(request('/', 'GET', 'Connection: close'))[0].status == 500
    assert logged.text.count('raise Frozen') >= 2 and 'FrozenInstanceError' not in logged.text

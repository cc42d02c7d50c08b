"""What is called in each process before the first connection, and after the last."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.service.hooks import HookFailed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def called() -> list[str]:
    return []


@pytest.fixture
def app(called) -> Tremolo:
    app = Tremolo()

    @app.on_worker_start
    def plain(app, context, logger, reactor, loop):
        assert context is app.context
        assert loop is reactor
        called.append('plain')

    @app.on_worker_start
    def generator(**worker):
        yield sleep(0.001)
        called.append('generator')

    @app.on_worker_start
    async def coroutine(loop):
        assert loop is asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        await sleep(0.001)
        called.append('coroutine')

    @app.on_worker_start
    def last():
        called.append('last')

    @app.on_worker_stop
    def stopped():
        called.append('stopped')

    @app.on_worker_stop
    async def stopping():
        called.append('stopping')

    @app.route('/')
    def index():
        return ' '.join(called)

    return app


ALL = 'plain generator coroutine last'


def test_they_are_called_in_their_order_and_back(app, called):
    with app.start() as server, urllib.request.urlopen(server.url, timeout=10) as answer:
        assert answer.read().decode() == ALL
    assert ' '.join(called) == f'{ALL} stopping stopped'


def test_they_are_called_in_an_asyncio_program(app, called):
    async def main():
        async with app.serve():
            assert ' '.join(called) == ALL

    asyncio.run(main())
    assert ' '.join(called) == f'{ALL} stopping stopped'


def test_they_are_called_around_a_lifespan(called):
    async def application(scope, receive, send):
        called.append((await receive())['type'])
        await send({'type': 'lifespan.startup.complete'})
        called.append((await receive())['type'])
        await send({'type': 'lifespan.shutdown.complete'})

    app = AsgiApplication(application)
    app.on_worker_start(lambda: called.append('start'))
    app.on_worker_stop(lambda: called.append('stop'))
    with app.start():
        assert called == ['start', 'lifespan.startup']
    assert called[2:] == ['lifespan.shutdown', 'stop']


@pytest.mark.parametrize('kind', ['plain', 'generator', 'coroutine', 'signature'])
def test_one_that_fails_ends_the_start(logged, kind):
    app = Tremolo()

    def plain():
        raise ValueError('wrong')

    def generator():
        yield sleep(0)
        raise ValueError('wrong')

    async def coroutine():
        raise ValueError('wrong')

    def signature(unknown):
        pass

    app.on_worker_start(locals()[kind])
    with pytest.raises(HookFailed, match=kind):
        app.start()
    assert f'the hook test_one_that_fails_ends_the_start.<locals>.{kind} failed' in logged.text


async def around(app):
    yield


@pytest.mark.parametrize('hook', [
    around, contextlib.asynccontextmanager(around),
    contextlib.contextmanager(lambda app: (yield))])
def test_a_lifespan_in_one_function_is_told_and_not_left_out(hook, logged):
    """Nothing of it ran, and nothing was said."""
    app = Tremolo()
    app.on_worker_start(hook)
    with pytest.raises(HookFailed, match='write two functions, the first half'), app.client():
        pass
    assert 'the second one below @app.on_worker_stop' in logged.text


def test_one_that_fails_at_the_end_is_logged_and_the_others_are_called(logged):
    app = Tremolo()
    called = []

    @app.on_worker_stop
    def first():
        called.append('first')

    @app.on_worker_stop
    def second():
        yield sleep(0)
        raise ValueError('wrong')

    @app.on_worker_stop
    def third():
        raise ValueError('wrong')

    with app.start():
        pass
    assert called == ['first']
    assert logged.count('failed') == 2


# (Before 3.11 asyncio does not tell who was cancelled.)
EXITS = [SystemExit, *([asyncio.CancelledError] if hasattr(asyncio.Task, 'cancelling') else [])]


@pytest.mark.parametrize('error', EXITS)
@pytest.mark.parametrize('kind', ['plain', 'generator', 'coroutine'])
def test_an_exit_in_a_stop_hook_is_logged_and_the_others_are_called(kind, error, logged):
    """`task.cancel(); await task` was one: nothing else was ended, in no mounted application."""
    app, inner = Tremolo(), Tremolo()
    called = []
    app.on_worker_stop(lambda: called.append('outer'))
    inner.on_worker_stop(lambda: called.append('inner'))

    def plain():
        raise error('on purpose')

    def generator():
        yield sleep(0.001)
        raise error('on purpose')

    async def coroutine():
        await asyncio.sleep(0.001)
        raise error('on purpose')

    inner.on_worker_stop({'plain': plain, 'generator': generator, 'coroutine': coroutine}[kind])
    app.mount('/inner', inner)
    with app.client(raise_errors=False):
        pass
    assert called == ['inner', 'outer']
    assert f'{error.__name__}: on purpose' in logged.text


def test_a_hook_that_registers_another_one_does_not_change_this_start():
    app = Tremolo()
    called = []

    @app.on_worker_start
    def first():
        called.append('first')
        app.on_worker_start(first)

    with app.start():
        assert called == ['first']


def test_the_command_line_ends_with_3(tmp_path):
    (tmp_path / 'example.py').write_text(
        'import tremolo\n'
        'app = tremolo.Tremolo()\n'
        '@app.on_worker_start\n'
        'def connect():\n'
        "    raise OSError('no database')\n")
    for more in ([], ['--workers', '2']):
        done = subprocess.run(
            [sys.executable, '-m', 'tremolo', 'example:app', '--port', '0', *more], cwd=tmp_path,
            env={'PYTHONPATH': str(ROOT), 'PATH': ''}, capture_output=True, text=True, timeout=60,
            check=False)
        assert done.returncode == 3
        assert "tremolo: error: the hook connect failed: OSError('no database')" in done.stderr


def test_plain_hooks_need_no_asyncio():
    program = (
        'import sys, tremolo\n'
        'app = tremolo.Tremolo()\n'
        'app.on_worker_start(lambda: None)\n'
        'with app.start():\n'
        '    pass\n'
        "print('asyncio' in sys.modules)\n")
    done = subprocess.run([sys.executable, '-c', program], env={'PYTHONPATH': str(ROOT)},
                          capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == 'False\n'

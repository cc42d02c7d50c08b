"""Nothing that is written for people can end a server: not a full disk, not a handler that raises.

One program writes in each place that there is: it announces its address, logs at the start and at
the stop, logs errors of handlers, of tasks, of asyncio and of the loop's callbacks, warns of code
that blocks the loop, and reports on SIGUSR2; with workers, the supervisor logs that one has died.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from server_support import Client, answers, request, serving

from tremolo import Tremolo
from tremolo.loop import Reactor
from tremolo.output import LOGGERS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0

PROGRAM = '''
import asyncio, os, signal, sys, time
import tremolo

app = tremolo.Tremolo()

@app.route('/')
def index():
    return 'good'

@app.route('/error')
def error():
    raise ValueError('of a handler')

@app.route('/task')
def task():
    def work():
        raise ValueError('of a task')
        yield
    tremolo.spawn(work())
    return ''

@app.route('/callback')
def callback(reactor):
    reactor.call_soon(lambda: 1 / 0)
    return ''

@app.route('/asyncio')
async def in_asyncio(loop):
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    return ''

@app.route('/slow')
def slow():
    time.sleep(0.2)    # The monitor warns.
    return ''

@app.route('/report')
def report():
    os.kill(os.getpid(), signal.SIGUSR2)
    return ''

@app.route('/die')
def die():
    os._exit(1)
'''

# What the program has done to its output before it serves.
CLOSED = 'import sys; sys.stdout.close(); sys.stderr.close()'
NONE = 'import sys; sys.stdout = sys.stderr = None'
ODD = '''
import sys
class Odd:
    """Has no `fileno`, and cannot write."""
    def flush(self):
        pass
    def write(self, text):
        raise RuntimeError('odd')
sys.stdout = sys.stderr = Odd()
'''
HANDLER = '''
import logging
class Raises(logging.Handler):
    def emit(self, record):
        raise RuntimeError('of a log handler')
logging.getLogger().addHandler(Raises())
logging.getLogger('tremolo').addFilter(lambda record: 1 / 0)
'''
LEFT_OUT = 'import logging; logging.raiseExceptions = False\n' + HANDLER


@contextlib.contextmanager
def broken(name: str) -> Iterator[int]:
    """Give a descriptor that cannot be written to, for this reason; else one that takes all."""
    fds: list[int] = []
    if name in globals():
        with open(os.devnull, 'wb') as file:
            yield file.fileno()
        return
    if name == 'ENOSPC':
        fds.append(os.open('/dev/full', os.O_WRONLY))
    elif name == 'EIO':
        master, slave = pty.openpty()
        os.close(master)
        fds.append(slave)
    else:
        reading, writing = os.pipe()
        if name == 'EPIPE':
            os.close(reading)
        else:
            fds.append(reading)
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, bytes(4096))
        fds.insert(0, writing)
    try:
        with pytest.raises(OSError) as caught:
            os.write(fds[0], b'x')
        assert type(caught.value).__name__ in str(caught.type)
        yield fds[0]
    finally:
        for fd in fds:
            os.close(fd)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, 'it never happened'
        time.sleep(0.002)


def get(path: Path, target: str) -> Any:
    """Return the status; None if the connection ends without an answer."""
    try:
        client = Client(str(path))
    except OSError:
        return None
    try:
        client.send(request(target, 'GET', 'Connection: close'))
        answer, = answers(client.read_all())
        return answer.status
    except (OSError, ValueError):
        return None
    finally:
        client.close()


@pytest.mark.skipif(sys.platform != 'linux', reason='/dev/full, and a pty that says EIO')
@pytest.mark.parametrize('how', ['ENOSPC', 'EIO', 'EPIPE', 'EAGAIN', 'CLOSED', 'NONE', 'ODD',
                                 'HANDLER', 'LEFT_OUT'])
def test_a_server_that_cannot_write_serves_on(
        how: str, tmp_path: Path, fork_servers: dict[bool, Any]) -> None:
    # Alone and with workers, both at once: most of the time goes into their start. (But not what
    # they write to: a process that is forked meanwhile would hold its other end for a moment.)
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        outputs = [stack.enter_context(broken(how)) for _ in range(2)]
        for each in [pool.submit(_serves_on, how, workers, tmp_path, output, fork_servers[True])
                     for workers, output in zip((False, True), outputs)]:
            each.result()


def _serves_on(how: str, workers: bool, root: Path, output: int, fork_server: Any) -> None:
    folder = root / ('workers' if workers else 'alone')
    folder.mkdir()
    setup = globals().get(how, '')
    (folder / 'example.py').write_text(setup + PROGRAM)
    path = folder / 'socket'
    start = f'{setup}\nfrom tremolo.cli import *\nrun_and_leave()'
    arguments = ['example:app', '--debug', '--bind', f'unix:{path}',
                 *(['--workers', '1'] if workers else [])]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = fork_server.start(('-c', start, *arguments), folder, environment, output, output)
    try:
        wait_until(lambda: get(path, '/') == 200)
        for target, status in (('/error', 500), ('/task', 204), ('/callback', 204),
                               ('/asyncio', 204), ('/slow', 204), ('/report', 204), ('/', 200)):
            got = get(path, target)
            assert got == status or (got, status) == (200, 204), (target, workers)
        if workers:
            process.send_signal(signal.SIGUSR2)
            get(path, '/die')
            wait_until(lambda: get(path, '/') == 200)
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != 'linux', reason='/dev/full, and a pty that says EIO')
@pytest.mark.parametrize('how', ['ENOSPC', 'EIO', 'EPIPE', 'EAGAIN', 'CLOSED', 'NONE', 'ODD'])
def test_a_mistake_has_its_status_though_it_cannot_be_told(
        how: str, tmp_path: Path, fork_servers: dict[bool, Any]) -> None:
    setup = globals().get(how, '')
    start = f'{setup}\nfrom tremolo.cli import *\nrun_and_leave()'
    (tmp_path / 'raises.py').write_text('1 / 0')
    taken = socket.create_server(('127.0.0.1', 0))
    in_program = (f'{setup}\nfrom tremolo import Tremolo\n'
                  f'Tremolo().run("127.0.0.1", {taken.getsockname()[1]})')
    with contextlib.ExitStack() as stack:
        stack.enter_context(taken)
        output = stack.enter_context(broken(how))
        environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
        # One has an interpreter of its own; the others are forked.
        started: list[Any] = [(1, [], stack.enter_context(subprocess.Popen(
            [sys.executable, '-c', in_program], cwd=tmp_path, env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output)))]
        started += [(status, arguments, stack.enter_context(fork_servers[False].start(
            ('-c', start, *arguments), tmp_path, environment, output, output)))
            for status, *arguments in (
                (2, '--no-such-option'), (2, 'no_such_module:app'), (4, 'raises:app'),
                (1, '--port', str(taken.getsockname()[1])))]
        for _, _, process in started:
            stack.callback(process.kill)
        # (120 is Python's own, when it cannot write what is buffered at its end.)
        for status, arguments, process in started:
            assert process.wait(PATIENCE) == status, arguments


class Raises(logging.Handler):
    """A handler of the program's own that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError('of a log handler')


@pytest.fixture
def raising() -> Iterator[None]:
    handler = Raises()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


def test_a_log_handler_that_raises_is_told_as_logging_tells_it(
        raising: None, logged: Any, capsys: Any, monkeypatch: Any) -> None:
    reactor = Reactor()
    reactor.call_soon(lambda: 1 / 0)
    reactor.step(0)
    assert 'ZeroDivisionError' in logged.text
    assert 'RuntimeError: of a log handler' in capsys.readouterr().err
    monkeypatch.setattr(logging, 'raiseExceptions', False)
    reactor.call_soon(lambda: 1 / 0)
    reactor.step(0)
    assert capsys.readouterr().err == ''
    reactor.close()


def test_the_applications_logger_spoils_no_answer(raising: None, logged: Any) -> None:
    app = Tremolo()

    @app.route('/')
    def index(logger: Any) -> str:
        logger.error('told')
        return 'good'

    with serving(app) as host:
        answer, = host.ask(request('/', 'GET', 'Connection: close'))
        assert (answer.status, answer.body) == (200, b'good')


def test_all_our_loggers_are_guarded() -> None:
    used = set()
    for path in (ROOT / 'tremolo').rglob('*.py'):
        for line in path.read_text(encoding='utf-8').splitlines():
            if "getLogger('" in line:
                used.add(line.split("getLogger('")[1].split("'")[0])
    assert used <= set(LOGGERS)
    assert all('handle' in vars(logging.getLogger(name)) for name in LOGGERS)

"""SIGTERM or Ctrl-C while an application starts: what has begun cleans up, and the end is told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from forked import start
from server_support import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
# (Coroutines have begun when they wait: PyPy's asyncio, written in Python, takes no exception of a
# signal in the middle of a step, and then cannot run the others to their end.)
APPLICATIONS = {
    'generator': '''
        @app.on_worker_start
        def begin():
            try:
                print('begun', flush=True)
                yield tremolo.sleep(1000)
            finally:
                print('cleaned up', flush=True)
    ''',
    'coroutine': '''
        @app.on_worker_start
        async def begin():
            import asyncio
            try:
                asyncio.get_running_loop().call_soon(lambda: print('begun', flush=True))
                await asyncio.sleep(1000)
            finally:
                print('cleaned up', flush=True)
    ''',
    'plain': '''
        @app.on_worker_start
        def begin():
            import time
            try:
                print('begun', flush=True)
                while True:    # (See SLOW in test_service_beginning.py.)
                    time.sleep(0.01)
            finally:
                print('cleaned up', flush=True)
    ''',
    'lifespan': '''
        async def app(scope, receive, send):
            import asyncio
            await receive()
            try:
                asyncio.get_running_loop().call_soon(lambda: print('begun', flush=True))
                await asyncio.sleep(1000)
            finally:
                print('cleaned up', flush=True)
    ''',
}


@pytest.mark.skipif(sys.platform == 'win32', reason='no SIGTERM')
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('kind', APPLICATIONS)
def test_a_start_that_is_ended_cleans_up(tmp_path, kind, signum, fork_servers):
    lines = APPLICATIONS[kind].splitlines()
    text = '\n'.join(line[8:] for line in lines)
    (tmp_path / 'example.py').write_text(f'import tremolo\napp = tremolo.Tremolo()\n{text}\n')
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    with open(tmp_path / 'log', 'w') as log:
        process = start(fork_servers.get('asyncio' in text),
                        ('-m', 'tremolo', 'example:app', '--bind', 'unix:sock'), tmp_path,
                        environment, log.fileno())
    with process:
        try:
            assert process.stdout.readline() == 'begun\n'
            assert (tmp_path / 'sock').exists()
            process.send_signal(signum)
            assert process.wait(PATIENCE) == 128 + signum
            said = process.stdout.read()
        finally:
            process.kill()
    told = (tmp_path / 'log').read_text()
    assert said == 'cleaned up\n'
    assert not (tmp_path / 'sock').exists()
    if signum == signal.SIGTERM:
        assert 'SIGTERM came before the application had started' in told
    assert 'Traceback' not in told

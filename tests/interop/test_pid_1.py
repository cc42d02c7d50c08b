"""As the first process of a container (PID 1), whose unhandled signals the kernel drops."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='unshare')

SLOW = '''
import time
try:
    print('begun', flush=True)
    while True:    # (See SLOW in test_service_beginning.py.)
        time.sleep(0.01)
finally:
    print('cleaned up', flush=True)
'''
# It leaves a process that nobody waits for: its parent has ended.
STRANGERS = '''
import os, subprocess, tremolo
app = tremolo.Tremolo()

@app.route('/')
def index():
    job = subprocess.Popen(['sh', '-c', '(sleep 0.1 & echo $!); exit 3'], stdout=subprocess.PIPE)
    pid = int(job.stdout.read())
    return f'{os.getpid()} {pid} {job.wait()}'
'''


@pytest.fixture
def first(tool, tmp_path):
    """Start a program as the first process of a PID namespace; give it, and its outer id."""
    started = []

    def start(code, *options):
        (tmp_path / 'example.py').write_text(code)
        unshare = [tool('unshare'), '--pid', '--fork', '--mount-proc', '--kill-child']
        if os.geteuid():
            unshare.append('--map-root-user')
        with open(tmp_path / 'log', 'w') as log:
            process = subprocess.Popen(
                [*unshare, sys.executable, '-m', 'tremolo', 'example:app', '--port', '0', *options],
                cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stderr=log,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        started.append(process)
        line = process.stdout.readline()
        if not line:
            pytest.fail((tmp_path / 'log').read_text())
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text()
        return process, int(children), line

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize('options', [(), ('--workers', '1'), ('--workers', '1', '--preload')])
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_slow_import_ends_the_first_process(first, signum, options):
    process, pid, line = first(SLOW, *options)
    assert line == 'begun\n'
    began = time.monotonic()
    os.kill(pid, signum)
    # (The supervisor has begun, and ends well; the worker that imports is ended.)
    in_worker = options == ('--workers', '1')
    assert process.wait(PATIENCE) == (0 if in_worker else 128 + signum)
    assert time.monotonic() - began < 5
    if not in_worker:
        assert process.stdout.read() == 'cleaned up\n'


@pytest.mark.parametrize('options', [(), ('--workers', '1')])
def test_sigusr1_and_sigterm_to_the_first_process_that_serves(first, options):
    process, pid, line = first('import tremolo\napp = tremolo.Tremolo()\n', *options)
    assert line.startswith('running on ')
    os.kill(pid, signal.SIGUSR1)
    os.kill(pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_strangers_are_reaped_silently_with_workers(first, tmp_path):
    process, pid, line = first(STRANGERS, '--workers', '1')
    port = int(re.search(r':(\d+) ', line)[1])
    answers = [_get(port) for _ in range(3)]
    # The application's own process has its status.
    assert [answer.split()[2] for answer in answers] == ['3'] * 3
    deadline = time.monotonic() + PATIENCE
    while len(_children(pid)) > 1:
        assert time.monotonic() < deadline, _children(pid)
    os.kill(pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert 'ERROR' not in (tmp_path / 'log').read_text()


def _get(port):

    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)
    connection.request('GET', '/')
    with connection.getresponse() as answer:
        body = answer.read().decode()
    connection.close()
    return body


def _children(pid):
    return Path(f'/proc/{pid}/task/{pid}/children').read_text().split()

"""Signals while the application is imported, and SIGUSR1 at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import start
from server_support import PATIENCE

from tremolo import Tremolo

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='no SIGTERM')

# (They sleep for a moment at a time. CPython 3.14 and 3.15 look for no signal after `print` with a
# keyword: one that comes while it writes would be seen after the sleep.)
SLOW = '''
import time
try:
    print('begun', flush=True)
    while True:
        time.sleep(0.01)
finally:
    print('cleaned up', flush=True)
'''
CATCHES = '''
import time
while True:
    try:
        print('begun', flush=True)
        while True:
            time.sleep(0.01)
    except BaseException:
        print('caught', flush=True)
'''
# Processes that are started, and told to end, while the application is imported.
FORKS = '''
import os, signal, time
for _ in range(3):
    pid = os.fork()
    if not pid:
        print('child', flush=True)
        time.sleep(1000)
        os._exit(0)
    time.sleep(0.02)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == signal.SIGTERM
print('begun', flush=True)
import tremolo
app = tremolo.Tremolo()
'''


@pytest.fixture
def program(tmp_path, fork_servers):
    """Start the command line with an application; the process ends after the test."""
    started = []

    def begin(code, *options, command=('-m', 'tremolo', 'example:app'), **environment):
        (tmp_path / 'example.py').write_text(code)
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), **environment}
        with open(tmp_path / 'log', 'a') as log:
            process = start(fork_servers.get(False) if command[0] == '-m' else None,
                            (*command, '--port', '0', *options), tmp_path, environment,
                            log.fileno())
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize('options', [(), ('--workers', '1', '--preload')])
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_ended_cleans_up(program, tmp_path, signum, options):
    process = program(SLOW, *options)
    assert process.stdout.readline() == 'begun\n'
    process.send_signal(signum)
    assert process.wait(PATIENCE) == 128 + signum
    assert process.stdout.read() == 'cleaned up\n'
    told = (tmp_path / 'log').read_text()
    assert 'Traceback' not in told
    assert told.count('SIGTERM came before') == (signum == signal.SIGTERM)


def test_with_workers_an_import_ends_with_the_server(program, tmp_path):
    process = program(SLOW, '--workers', '1')
    assert process.stdout.readline() == 'begun\n'
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert process.stdout.read() == 'cleaned up\n'
    told = (tmp_path / 'log').read_text()
    assert 'Traceback' not in told and 'SIGTERM came before' not in told


def test_the_second_sigterm_ends_an_import_that_catches_everything(program):
    process = program(CATCHES)
    assert process.stdout.readline() == 'begun\n'
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == 'caught\n'
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_processes_that_the_import_forks_have_none_of_it(program):
    process = program(FORKS)
    assert [process.stdout.readline() for _ in range(4)] == ['child\n'] * 3 + ['begun\n']
    assert process.stdout.readline().startswith('running on ')
    process.terminate()
    assert process.wait(PATIENCE) == 0


# -- signals that are early or late ---------------------------------------------------------------

# The command line of a process that no terminal has.
DETACHED = ('-c', '''
import contextlib, os
with contextlib.suppress(OSError):
    os.setsid()
from tremolo.cli import run_and_leave
run_and_leave()
''', 'example:app')
EARLY = '''
import os, signal, tremolo
app = tremolo.Tremolo()
if not os.path.exists('told'):
    open('told', 'w').close()
    os.kill(os.getpid(), signal.SIGHUP)
'''
LATE = '''
import atexit, os, signal, tremolo
app = tremolo.Tremolo()

@atexit.register
def end():
    for name in ('SIGTERM', 'SIGHUP', 'SIGUSR1'):
        os.kill(os.getpid(), getattr(signal, name))
    print('ended', flush=True)
'''


def test_a_sighup_during_the_import_renews_the_server_when_it_serves(program, tmp_path):
    process = program(EARLY, command=DETACHED)
    line = process.stdout.readline()
    assert line.startswith('running on ')
    assert process.stdout.readline() == line
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert (tmp_path / 'log').read_text().count('the new program starts in') == 1


@pytest.mark.parametrize('options', [(), ('--workers', '1', '--preload')])
def test_what_comes_while_python_ends_changes_no_status(program, options):
    process = program(LATE, *options, command=DETACHED)
    assert process.stdout.readline().startswith('running on ')
    process.terminate()
    assert process.stdout.read().endswith('ended\n')
    assert process.wait(PATIENCE) == 0


# -- SIGUSR1 --------------------------------------------------------------------------------------

SITE = '''
import os, signal
os.kill(os.getpid(), signal.SIGUSR1)
import tremolo
app = tremolo.Tremolo()

@app.on_worker_start
def begin():
    os.kill(os.getpid(), signal.SIGUSR1)

@app.on_worker_stop
def end():
    os.kill(os.getpid(), signal.SIGUSR1)
    print('stopped', flush=True)
'''


@pytest.mark.parametrize('options', [(), ('--workers', '1'), ('--workers', '1', '--preload')])
def test_sigusr1_ends_nothing(program, options):
    process = program(SITE, *options)
    assert process.stdout.readline().startswith('running on ')
    process.send_signal(signal.SIGUSR1)
    if options:
        for pid in _children(process):
            os.kill(pid, signal.SIGUSR1)
    process.terminate()
    assert process.stdout.readline() == 'stopped\n'
    assert process.wait(PATIENCE) == 0


def test_sigusr1_ends_no_renewal(program):
    """In the old program, in the trial of the new one, and while the one becomes the other."""
    process = program(SITE, command=('-m', 'tremolo', 'example:app'))
    line = process.stdout.readline()
    assert line.startswith('running on ')
    process.send_signal(signal.SIGHUP)
    with open(process.stdout.fileno(), closefd=False) as said:
        os.set_blocking(said.fileno(), False)
        read = ''
        while line not in read:
            for pid in (process.pid, *_children(process)):
                # (Before its interpreter has begun, the child of a trial blocks it.)
                try:
                    os.kill(pid, signal.SIGUSR1)
                except ProcessLookupError:
                    continue
            try:
                read += os.read(said.fileno(), 1000).decode()
            except BlockingIOError:
                assert process.poll() is None
        os.set_blocking(said.fileno(), True)
    process.terminate()
    assert process.stdout.readline() == 'stopped\n'
    assert process.wait(PATIENCE) == 0


LAST_MOMENT = '''
import os, signal
from tremolo.service.beginning import outlive_signals
outlive_signals()

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), signum=signal.SIGUSR1):
        kill(pid, signum)    # The handlers of signals are gone by now.

late = Late()
'''


def test_sigusr1_ends_no_program_at_its_own_end():
    """(A rotation while an `app.run` came to its end: it had ended well, with status -10.)"""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    assert subprocess.run((sys.executable, '-c', LAST_MOMENT), env=environment,
                          timeout=PATIENCE).returncode == 0


def _children(process):
    pid = process.pid
    try:
        return [int(each) for each in
                Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except OSError:
        return []


OWN = '''
import os, signal, tremolo
app = tremolo.Tremolo()

def own(*_):
    print('own', flush=True)

def install():
    signal.signal(signal.SIGUSR1, own)

{early}
@app.on_worker_start
def begin():
    {late}
    os.kill(os.getpid(), signal.SIGUSR1)

if __name__ == '__main__':
    app.run(port=0)
'''


@pytest.mark.parametrize('command', [('-m', 'tremolo', 'example:app'), ('example.py',)])
@pytest.mark.parametrize('when', ['early', 'late'])
def test_the_programs_own_handler_of_sigusr1_stays(program, command, when):
    code = OWN.format(**{'early': '', 'late': 'pass', when: 'install()'})
    process = program(code, command=command)
    assert process.stdout.readline() == 'own\n'
    assert process.stdout.readline().startswith('running on ')
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == 'own\n'
    assert process.stdout.readline().startswith('running on ')
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == 'own\n'
    process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize('handler', [signal.SIG_DFL, signal.SIG_IGN])
def test_inside_another_program_no_signal_is_touched(handler):
    names = ('SIGUSR1', 'SIGTERM', 'SIGINT', 'SIGHUP')
    mine = signal.signal(signal.SIGUSR1, handler)
    try:
        before = [signal.getsignal(getattr(signal, name)) for name in names]
        with Tremolo().start():
            assert [signal.getsignal(getattr(signal, name)) for name in names] == before
        assert [signal.getsignal(getattr(signal, name)) for name in names] == before
    finally:
        signal.signal(signal.SIGUSR1, mine)

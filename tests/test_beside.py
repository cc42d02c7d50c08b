"""The second process of the tests: what it runs is told by the first one, as its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on Windows')

CONFTEST = '''
import os
from pathlib import Path

import beside
import pytest

beside.FOLDER, beside.WAITING, beside.FEWEST = Path(__file__).parent, {'waiting'}, 1
beside._processors = lambda: 2

def pytest_configure(config):
    config.pluginmanager.register(beside.Beside(config))

@pytest.fixture(scope='session')
def ended():
    yield
    with open('ended', 'a') as file:
        file.write(f'{os.getpid()} ')
'''
HERE = '''
import os
from pathlib import Path

def test_here(ended):
    Path('here').write_text(str(os.getpid()))
'''
WAITING = '''
import os
import signal
from pathlib import Path

import pytest

def test_there(ended):
    Path('there').write_text(str(os.getpid()))

def test_fails():
    print('it has printed this')
    assert 'left' == 'right'

def test_last():
    {last}

def test_after_the_last():
    Path('after').write_text('')
    pytest.skip('it rains')
'''


def start(folder, *arguments, last='pass', pass_fds=()):
    (folder / 'waiting').mkdir(exist_ok=True)
    (folder / 'conftest.py').write_text(CONFTEST)
    (folder / 'test_here.py').write_text(HERE)
    (folder / 'waiting' / 'test_there.py').write_text(WAITING.replace('{last}', last))
    return subprocess.Popen(
        [sys.executable, '-m', 'pytest', *arguments], cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parent)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=pass_fds)


def run(folder, *arguments, last='pass'):
    process = start(folder, *arguments, last=last)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def text(folder, name):
    return (folder / name).read_text().split()


def test_each_is_run_in_its_process_and_told_by_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTEST_DEBUG_TEMPROOT', str(tmp_path))
    status, out = run(tmp_path, '-rs')
    assert status == 1
    assert '1 failed, 3 passed, 1 skipped' in out
    assert "assert 'left' == 'right'\n" in out
    assert 'INTERNALERROR' not in out
    assert 'it has printed this' in out
    assert f'SKIPPED [1] waiting{os.sep}test_there.py:' in out and ': it rains\n' in out
    assert text(tmp_path, 'here') != text(tmp_path, 'there')
    # What they share is made and ended in each.
    assert sorted(text(tmp_path, 'ended')) == sorted(
        text(tmp_path, 'here') + text(tmp_path, 'there'))
    # A later run may remove what they wrote.
    assert not list(tmp_path.glob('pytest-of-*/*/.lock'))
    # What has failed there is known.
    status, out = run(tmp_path, '--last-failed', '--last-failed-no-failures', 'none')
    assert status == 1
    assert '1 failed' in out and 'passed' not in out


def test_the_first_failure_ends_both(tmp_path):
    status, out = run(tmp_path, '-x')
    assert status == 1
    assert '1 failed' in out and 'test_last' not in out
    assert text(tmp_path, 'there')[0] in text(tmp_path, 'ended')


def test_the_end_of_the_second_process_is_no_success(tmp_path):
    status, out = run(tmp_path, last='os._exit(0)')
    assert status == 3
    assert 'the other process ended before 2 of its tests' in out


# What the last test does: it says that it runs, and waits.
BEGUN = "os.write(int(os.environ['BEGUN']), b'.')"
AWAIT_INTERRUPT = f"""{BEGUN}
    while True:
        os.sched_yield()"""
TAKE_INTERRUPT = f"""taken = []
    signal.signal(signal.SIGINT, lambda *_: taken.append(1))
    {BEGUN}
    while not taken:
        os.sched_yield()"""
AWAIT_ANOTHER_PARENT = f"""first = os.getppid()
    {BEGUN}
    while os.getppid() == first:
        os.sched_yield()"""


@pytest.mark.parametrize('number, last', [
    (signal.SIGINT, AWAIT_INTERRUPT), (signal.SIGINT, TAKE_INTERRUPT),
    (signal.SIGKILL, AWAIT_ANOTHER_PARENT)],
    ids=['interrupt', 'interrupt that a test takes for its own', 'kill'])
def test_the_end_of_the_first_process_ends_both(tmp_path, monkeypatch, number, last):
    reading, writing = os.pipe()
    monkeypatch.setenv('BEGUN', str(writing))
    with open(reading, 'rb') as begun, open(writing, 'wb'):
        process = start(tmp_path, last=last, pass_fds=[writing])
        try:
            assert select.select([begun], [], [], 50)[0]
            process.send_signal(number)
            # (Both have its pipe: this is the end of both.)
            out, _ = process.communicate(timeout=50)
        finally:
            process.kill()
            process.wait()
    assert not (tmp_path / 'after').exists()
    if number == signal.SIGINT:
        assert process.returncode == 2
        assert 'KeyboardInterrupt' in out and 'INTERNALERROR' not in out
        assert text(tmp_path, 'there')[0] in text(tmp_path, 'ended')

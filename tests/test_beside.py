"""The second process of the tests: what it runs is told by the first one, as its own."""

from __future__ import annotations

import os
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
from pathlib import Path

def test_there(ended):
    Path('there').write_text(str(os.getpid()))

def test_fails():
    print('it has printed this')
    assert 'left' == 'right'

def test_last():
    {last}
'''


def run(folder, *arguments, last='pass'):
    (folder / 'waiting').mkdir()
    (folder / 'conftest.py').write_text(CONFTEST)
    (folder / 'test_here.py').write_text(HERE)
    (folder / 'waiting' / 'test_there.py').write_text(WAITING.replace('{last}', last))
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', *arguments], cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parent)}, capture_output=True,
        text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def text(folder, name):
    return (folder / name).read_text().split()


def test_each_is_run_in_its_process_and_told_by_the_first(tmp_path):
    status, out = run(tmp_path)
    assert status == 1
    assert '1 failed, 3 passed' in out
    assert "assert 'left' == 'right'\n" in out
    assert 'INTERNALERROR' not in out
    assert 'it has printed this' in out
    assert text(tmp_path, 'here') != text(tmp_path, 'there')
    # What they share is made and ended in each.
    assert sorted(text(tmp_path, 'ended')) == sorted(
        text(tmp_path, 'here') + text(tmp_path, 'there'))


def test_the_first_failure_ends_both(tmp_path):
    status, out = run(tmp_path, '-x')
    assert status == 1
    assert '1 failed' in out and 'test_last' not in out
    assert text(tmp_path, 'there')[0] in text(tmp_path, 'ended')


def test_the_end_of_the_second_process_is_no_success(tmp_path):
    status, out = run(tmp_path, last='os._exit(0)')
    assert status == 3
    assert 'the other process ended before 1 of its tests' in out

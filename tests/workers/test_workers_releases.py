"""A release is a folder that a link names: SIGHUP serves what the link names then."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from worker_group import wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

# (Its modules are imported while it serves, too.)
APPLICATION = '''
import os, sys
import tremolo
import part

app = tremolo.Tremolo()
here = os.getcwd()

@app.route('/')
def index():
    try:
        import later
    except ImportError:
        return 'deleted'
    stale = [each for each in sys.path if 'releases' in each and part.NAME not in each]
    stale += [name for name, module in list(sys.modules.items())
              if part.NAME not in (getattr(module, '__file__', '') or part.NAME)
              and 'releases' in module.__file__]
    return f'{os.getpid()} {part.NAME} {later.NAME} {here} {stale}'

@app.on_worker_start
def started():
    print(part.NAME, 'has started', file=sys.stderr, flush=True)

if __name__ == '__main__':
    app.run(port=0, **OPTIONS)
'''


class Site:
    """Releases of an application, and the link to one of them."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.link = folder / 'current'
        self.has = []

    def release(self, name, code=APPLICATION, **options):
        """Add a release, let the link name it, and delete the one before."""
        here = self.folder / 'releases' / name
        here.mkdir(parents=True)
        (here / 'example.py').write_text(code.replace('OPTIONS', repr(options)))
        # (Of the same size and time, as reproducible builds make them.)
        for each in 'part.py', 'later.py':
            (here / each).write_text(f'NAME = {name!r}\n')
            os.utime(here / each, (1, 1))
        (here / 'log').symlink_to(self.folder / 'log')
        (self.folder / 'new').symlink_to(here)
        (self.folder / 'new').rename(self.link)
        for old in self.has:
            shutil.rmtree(old)
        self.has = [here]
        return here


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def served(group, site, monkeypatch):
    """Serve the release that the link names, started in the link as a shell starts it."""
    def start(*arguments, pwd=None, inside=None, workers=1, **how):
        monkeypatch.setenv('PWD', str(pwd or site.link))
        server = group(*arguments, folder=inside or site.link, **how)
        server.folder = site.folder
        server.workers = workers
        return server
    return start


def says(server, site, name, folder=None):
    """Wait until a release answers; all of it must be of that release."""
    folder = folder or site.folder / 'releases' / name
    # (A release is needed until each of its workers has started.)
    wait_until(lambda: server.log.count(f'{name} has started') >= server.workers)
    answer = wait_until(lambda: (now := server.get().split(' ', 1)[-1]).startswith(name) and now)
    assert answer == f'{name} {name} {folder} []'


COMMANDS = {
    'module': (('-m', 'tremolo', 'example:app', '--port', '0'), {}),
    'file': (('-m', 'tremolo', 'example.py', '--port', '0'), {}),
    'script': (('example.py',), {}),
    'workers': (('-m', 'tremolo', 'example:app', '--port', '0', '--workers', '2'), {}),
    'script with workers': (('example.py',), {'workers': 2}),
}


@pytest.mark.parametrize('kind', COMMANDS)
def test_a_release_that_was_swapped_is_served_though_the_old_one_is_deleted(served, site, kind):
    command, options = COMMANDS[kind]
    site.release('first', **options)
    server = served(command=command, workers=2 if 'workers' in kind else 1)
    says(server, site, 'first')
    # (What a new program knows of its link comes from the program before.)
    for name in ('second', 'third') if kind in ('module', 'workers') else ('second',):
        here = site.release(name, **options)
        server.signal('SIGHUP')
        says(server, site, name)
        assert f'in {site.link} -> {here}' in server.log
    assert 'Traceback' not in server.log
    assert server.end() == 0


@pytest.mark.parametrize('options', [(), ('--workers', '1')])
@pytest.mark.parametrize('how', ['absolute', 'relative'])
def test_the_link_may_be_the_app_dir(served, site, options, how):
    site.release('first')
    app_dir = str(site.link) if how == 'absolute' else 'current'
    server = served('--port', '0', '--app-dir', app_dir, *options, pwd='/', inside=site.folder,
                    command=('-m', 'tremolo', 'example:app'))
    says(server, site, 'first', site.folder)
    here = site.release('second')
    server.signal('SIGHUP')
    says(server, site, 'second', site.folder)
    assert f'--app-dir {site.link} -> {here}' in server.log


@pytest.mark.parametrize('workers', [None, 1])
def test_a_script_by_the_path_of_the_link(served, site, workers):
    options = {'workers': workers} if workers else {}
    site.release('first', **options)
    server = served(pwd='/', inside=site.folder, command=(f'{site.link}/example.py',))
    says(server, site, 'first', site.folder)
    site.release('second', **options)
    server.signal('SIGHUP')
    says(server, site, 'second', site.folder)


def test_a_pwd_that_names_another_folder_counts_for_nothing(served, site):
    """The variable is inherited by programs that were started elsewhere."""
    first = site.release('first')
    site.has = []
    site.release('second')
    server = served('--port', '0', inside=first, command=('-m', 'tremolo', 'example:app'))
    says(server, site, 'first')
    server.signal('SIGHUP')
    wait_until(lambda: server.log.count('the new program starts in') == 1)
    assert server.process.stdout.readline().startswith('running on ')
    says(server, site, 'first')


def test_a_deleted_folder_is_told_in_a_line_and_the_old_program_goes_on(served, site):
    here = site.release('first')
    server = served('--port', '0', pwd='/', inside=here,
                    command=('-m', 'tremolo', 'example:app'))
    assert server.get().split()[1] == 'first'
    shutil.rmtree(here)
    server.signal('SIGHUP')
    wait_until(lambda: 'the old program goes on' in server.log)
    # (PyPy itself does not start in such a folder.)
    told = {'cpython': 'the current folder was deleted', 'pypy': 'No such file or directory'}
    assert told[sys.implementation.name] in server.log
    assert 'Traceback' not in server.log
    assert server.get().split()[1] == 'first'


def test_a_worker_that_begins_in_a_deleted_folder_says_so_in_a_line(served, site):
    here = site.release('first')
    server = served('--port', '0', '--workers', '1', pwd='/', inside=here,
                    command=('-m', 'tremolo', 'example:app'))
    assert server.get().split()[1] == 'first'
    shutil.rmtree(here)
    server.signal('SIGHUP')
    wait_until(lambda: 'goes on in its place' in server.log)
    assert 'the current folder was deleted' in server.log
    assert 'Traceback' not in server.log
    assert server.get().split()[1] == 'first'


@pytest.mark.parametrize('kind', ['module', 'workers', 'script with workers'])
def test_a_link_that_leads_nowhere_leaves_the_old_program(served, site, kind):
    command, options = COMMANDS[kind]
    site.release('first', **options)
    server = served(command=command, workers=2 if 'workers' in kind else 1)
    says(server, site, 'first')
    pids = server.pids
    site.link.unlink()
    server.signal('SIGHUP')
    wait_until(lambda: f'{site.link} is not there' in server.log)
    says(server, site, 'first')
    assert server.pids == pids and server.log.count('ERROR') == 1
    site.release('second', **options)
    server.signal('SIGHUP')
    says(server, site, 'second')


@pytest.mark.parametrize('workers', [None, 1])
def test_the_interpreter_of_the_next_release_runs_it(site, served, monkeypatch, workers):
    """`cd current && python/bin/python example.py`: a virtual environment in the release."""
    code = APPLICATION.replace('{here}', '{sys.executable}')
    options = {'workers': workers} if workers else {}

    def release(name):
        here = site.release(name, code, **options)
        (here / 'bin').mkdir()
        (here / 'bin' / 'python').symlink_to(sys.executable)

    release('first')
    monkeypatch.setattr(sys, 'executable', 'bin/python')
    server = served(command=('example.py',))
    monkeypatch.undo()
    says(server, site, 'first', site.folder / 'releases' / 'first' / 'bin' / 'python')
    release('second')
    server.signal('SIGHUP')
    says(server, site, 'second', site.link / 'bin' / 'python')
    assert server.end() == 0

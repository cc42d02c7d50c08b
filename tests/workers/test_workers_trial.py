"""SIGHUP without workers: what does not start does not end the server; daemons begin anew, too."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from worker_group import APPLICATION, at_once, runs, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

PROGRAM = APPLICATION + "\nif __name__ == '__main__':\n    app.run(port=0)\n"
# It becomes a daemon before it imports tremolo.
DAEMON = '''
import os
os.chdir('/')
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
''' + PROGRAM


@pytest.mark.parametrize('code', ['1 / 0', 'def', 'raise SystemExit(0)', 'import os; os._exit(0)'])
def test_code_that_does_not_start_leaves_the_old_server(group, tmp_path, code):
    def leaves(name, *command):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'example.py').write_text(PROGRAM)
        server = group(command=command, folder=folder)
        pid = server.process.pid
        (folder / 'example.py').write_text(code)
        server.signal('SIGHUP')
        wait_until(lambda: 'the old program goes on' in server.log)
        assert server.get() == f'{pid} first', name
        (folder / 'example.py').write_text(PROGRAM.replace('first', 'second'))
        server.signal('SIGHUP')
        wait_until(lambda: server.get() == f'{pid} second')
        assert server.end() == 0, name

    at_once(leaves, ('option', '-m', 'tremolo', 'example:app', '--port', '0'),
            ('program', 'example.py'))


def test_code_that_hangs_is_given_up_for_the_next_and_at_the_end(group, tmp_path):
    server = group('--port', '0')
    hang = 'import time\nopen("begun", "w").close()\ntime.sleep(1000)\n'
    for again in (True, False):
        (tmp_path / 'example.py').write_text(hang)
        server.signal('SIGHUP')
        wait_until((tmp_path / 'begun').exists)
        (tmp_path / 'begun').unlink()
        server.seen |= server.pids
        assert server.get().endswith('first')
        (tmp_path / 'example.py').write_text(APPLICATION.replace('first', 'second'))
        if again:
            server.signal('SIGHUP')
            wait_until(lambda: server.get().endswith('second'))
            (tmp_path / 'example.py').write_text(APPLICATION)
            server.signal('SIGHUP')
            wait_until(lambda: server.get().endswith('first'))
    assert server.end() == 0


def test_a_daemon_begins_anew_with_its_sockets(group, tmp_path):
    (tmp_path / 'daemon.py').write_text(DAEMON)
    server = group(command=('daemon.py',))
    pid = int(server.get().split()[0])
    try:
        assert pid != server.process.pid
        assert os.readlink(f'/proc/{pid}/cwd') == '/'
        for version in 'second', 'third':
            (tmp_path / 'daemon.py').write_text(DAEMON.replace("'first'", repr(version)))
            os.kill(pid, signal.SIGHUP)
            wait_until(lambda: server.get().endswith(version))    # noqa: B023
            server.seen.add(pid)
            pid = int(server.get().split()[0])
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not runs(pid))


def test_a_daemon_with_workers_is_not_renewed_and_says_so(group, tmp_path):
    text = DAEMON.replace('port=0', 'port=0, workers=1')
    (tmp_path / 'daemon.py').write_text(text)
    server = group(command=('daemon.py',))
    worker = int(server.get().split()[0])
    supervisor = int(Path(f'/proc/{worker}/stat').read_text().rpartition(') ')[2].split()[1])
    try:
        (tmp_path / 'daemon.py').write_text(text.replace("'first'", "'second'"))
        os.kill(supervisor, signal.SIGHUP)
        wait_until(lambda: f'worker {worker} goes on in its place' in server.log)
        assert 'a program that makes itself a daemon cannot be renewed' in server.log
        assert server.get() == f'{worker} first'
    finally:
        os.kill(supervisor, signal.SIGTERM)
        wait_until(lambda: not runs(supervisor))
        # The program that was to follow has made itself a daemon, too: with port 0, it serves.
        stray = re.search(r'process (\d+)', server.process.stdout.readline())
        if stray:
            server.seen.add(int(stray[1]))
            os.kill(int(stray[1]), signal.SIGTERM)
            wait_until(lambda: not runs(int(stray[1])))

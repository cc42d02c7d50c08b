"""A terminal that is closed ends the server in it; `kill -HUP` and `nohup` mean what they meant."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from worker_group import APPLICATION, TWO, Group, runs, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

# Starts a command as the first process of a terminal, with the terminal as its standard input.
IN_TERMINAL = '''
import fcntl, os, sys, termios
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.dup2(terminal, 0)
os.execvp(sys.argv[2], sys.argv[2:])
'''
SERVER = ('-m', 'tremolo', 'example:app')
ONE = ('--port', '0')


class InTerminal(Group):
    """A server in a terminal of its own."""

    def __init__(self, folder, *arguments, shell=None):
        self.master, slave = os.openpty()
        command = [sys.executable, *SERVER, *arguments]
        if shell is not None:
            command = ['sh', '-c', shell, 'sh', *command]
        super().__init__(folder, *command, command=('-c', IN_TERMINAL, os.ttyname(slave)))
        os.close(slave)
        self.closed = False

    def close(self):
        os.close(self.master)
        self.closed = True

    def end(self, name=''):
        if not self.closed:
            self.close()
        # (A shell ends before the server that it has started.)
        wait_until(lambda: not any(map(runs, self.seen)))
        return super().end(name)


@pytest.fixture
def terminal(tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    opened = []

    def start(*arguments, **more):
        opened.append(InTerminal(tmp_path, *arguments, **more))
        return opened[-1]

    yield start
    for each in opened:
        print(each.log)
        each.end()


@pytest.mark.parametrize('arguments', [ONE, TWO], ids=['one', 'two'])
@pytest.mark.parametrize('shell', [None, '"$@"; true', '"$@" & wait'])
def test_a_server_ends_with_its_terminal(terminal, arguments, shell):
    server = terminal(*arguments, shell=shell)
    assert server.get().endswith('first')
    server.seen |= server.pids
    server.close()
    wait_until(server.refuses)
    assert 'the terminal is gone' in wait_until(lambda: server.log)


@pytest.mark.parametrize('arguments', [ONE, TWO], ids=['one', 'two'])
def test_a_shell_that_sends_hang_up_before_it_ends_ends_the_server(terminal, arguments):
    server = terminal(*arguments, shell='"$@" & read line; kill -HUP $!')
    assert server.get().endswith('first')
    os.write(server.master, b'\n')
    wait_until(server.refuses)
    assert 'the terminal is gone' in wait_until(lambda: server.log)


@pytest.mark.parametrize('arguments', [ONE, TWO], ids=['one', 'two'])
def test_hang_up_that_somebody_sends_renews_in_a_terminal(terminal, arguments):
    server = terminal(*arguments)
    assert server.get().endswith('first')
    (server.folder / 'example.py').write_text(APPLICATION.replace('first', 'second'))
    server.signal('SIGHUP')
    wait_until(lambda: server.get().endswith('second'))


@pytest.mark.parametrize('arguments', [ONE, TWO], ids=['one', 'two'])
def test_hang_up_is_ignored_under_nohup(tmp_path, arguments):
    (tmp_path / 'example.py').write_text(APPLICATION)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server = Group(tmp_path, *arguments)
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        if arguments is TWO:
            server.wait_for(2)
        (tmp_path / 'example.py').write_text(APPLICATION.replace('first', 'second'))
        pids = server.pids
        server.signal('SIGHUP')
        for _ in range(20):
            assert server.get().endswith('first')
        assert server.pids == pids
    finally:
        assert server.end() == 0
    assert 'renew' not in server.log

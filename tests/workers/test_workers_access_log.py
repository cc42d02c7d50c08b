"""The access log of real processes: no line is lost by a rotation, a renewal, or the end."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from worker_group import TWO, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

ONE = ('--port', '0')
LOG = ('--access-logfile', 'access.log', '--access-logformat', '{status} {target}')


def lines_of(folder):
    """All lines, of the log and of those that were renamed; each is whole."""
    found = b''.join(path.read_bytes() for path in folder.glob('access.log*'))
    assert not found or found.endswith(b'\n')
    return sorted(line.decode() for line in found.splitlines())


def ask(server, name, stop):
    """Ask again and again, often on one connection; return the lines that there must be."""
    asked = []
    while not stop:
        sock = server.connect()
        with sock, contextlib.suppress(OSError, http.client.HTTPException):
            for _ in range(20):
                target = f'/?{name}-{len(asked)}'
                sock.sendall(f'GET {target} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
                answer = http.client.HTTPResponse(sock)
                answer.begin()
                answer.read()
                asked.append(f'{answer.status} {target}')
                if stop or answer.getheader('Connection') == 'close':
                    break
    return asked


@pytest.mark.parametrize('arguments, renewed', [(ONE, False), (TWO, True)])
def test_rotation_under_load_loses_no_line(group, tmp_path, arguments, renewed):
    """(fault 43 of the earlier tremolo: there was no access log at all.)"""
    server = group(*arguments, *LOG, '--worker-timeout', '0')
    log, stop = tmp_path / 'access.log', []
    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask, server, name, stop) for name in 'abc']
        try:
            for number in range(4):
                wait_until(lambda: log.exists() and log.stat().st_size > 500)
                log.rename(tmp_path / f'access.log.{number}')
                server.signal('SIGUSR1')
                if renewed and number == 1:
                    before = server.pids
                    server.signal('SIGHUP')
                    # Workers start now; each gets some of these signals in each of its moments.
                    for _ in range(100):
                        server.signal('SIGUSR1')
                        server.get('/slow')
                        if server.pids and not server.pids & before:
                            break
            wait_until(log.exists)
        finally:
            stop.append(True)
        asked = sorted(line for each in asking for line in each.result())
    assert server.end() == 0
    found = [line for line in lines_of(tmp_path) if '?' in line]
    assert found == asked
    assert len(list(tmp_path.glob('access.log*'))) == 5
    assert 'Traceback' not in server.log and 'dropped' not in server.log


@pytest.mark.parametrize('arguments, name, status', [
    (ONE, 'SIGTERM', 0), (ONE, 'SIGQUIT', 131), (TWO, 'SIGINT', 0), (TWO, 'SIGQUIT', 131)])
def test_at_the_end_all_lines_are_written(group, tmp_path, name, status, arguments):
    server = group(*arguments, *LOG)
    for number in range(10):
        server.get(f'/?{number}')
    assert server.end(name) == status
    assert lines_of(tmp_path) == [f'200 /?{number}' for number in range(10)]


def test_after_a_sigkill_only_what_came_last_may_be_missing(group, tmp_path):
    server = group(*ONE, *LOG)
    server.get('/?first')
    wait_until(lambda: lines_of(tmp_path))    # (It comes though nothing else happens.)
    server.get('/?last')
    server.process.kill()
    assert server.end() == -signal.SIGKILL
    assert lines_of(tmp_path) in (['200 /?first'], ['200 /?first', '200 /?last'])


def test_without_a_log_file_sigusr1_does_nothing_also_if_lines_go_to_stdout(group):
    server = group(*TWO, '--access-log', '--access-logformat', '{status}')
    pids = server.wait_for(2)
    for _ in range(5):
        server.signal('SIGUSR1')
    assert server.wait_for(2) == pids
    assert server.process.stdout.readline() == '200\n'


def test_a_pipe_that_nobody_reads_holds_up_neither_the_answers_nor_the_end(group):
    server = group(*ONE, '--access-log', '--access-logformat', 'x' * 20000 + '{status}')
    for _ in range(60):
        assert server.get()
    # (Others may share that pipe: nobody made it non-blocking.)
    with open(f'/proc/{server.process.pid}/fdinfo/1') as file:
        assert not int(dict(line.split() for line in file)['flags:'], 8) & os.O_NONBLOCK
    assert server.end() == 0
    assert 'the log on stdout: ' in server.log and 'lines were dropped' in server.log


def test_a_new_file_that_cannot_be_opened_is_told_once_by_each_worker(group, tmp_path):
    server = group(*TWO, *LOG)
    server.wait_for(2)
    (tmp_path / 'access.log').rename(tmp_path / 'access.log.1')
    (tmp_path / 'access.log').mkdir()
    server.signal('SIGUSR1')
    wait_until(lambda: server.log.count('the old file is kept') == 2)
    server.get('/?kept')
    assert server.end() == 0
    assert '200 /?kept\n' in (tmp_path / 'access.log.1').read_text()
    assert server.log.count('Is a directory; the old file is kept') == 2


@pytest.mark.parametrize('path, reason, more', [
    ('taken', 'Is a directory', ()),
    ('no/log', 'No such file or directory', ('--workers', '2')),
    ('taken', 'Is a directory', ('--workers', '2', '--preload'))])
def test_a_log_that_cannot_be_written_ends_the_start_with_one_line(
        group, tmp_path, path, reason, more):
    (tmp_path / 'taken').mkdir()
    server = group('--bind', 'unix:socket', '--access-logfile', path, *more)
    assert server.end() == 1
    assert server.log == (
        f'tremolo: error: the log {tmp_path / path} cannot be written: {reason}\n')
    assert not server.address and not os.path.exists(tmp_path / 'socket')


def test_a_log_that_is_cut_to_nothing_is_written_on(group, tmp_path):
    server = group(*TWO, *LOG)
    server.get('/?before')
    wait_until(lambda: lines_of(tmp_path))
    # (As logrotate's `copytruncate` does it.)
    shutil.copy(tmp_path / 'access.log', tmp_path / 'access.log.1')
    os.truncate(tmp_path / 'access.log', 0)
    for number in range(10):
        server.get(f'/?{number}')
    assert server.end() == 0
    assert lines_of(tmp_path) == [*(f'200 /?{number}' for number in range(10)), '200 /?before']

"""SIGHUP to programs: those that call `app.run`, with workers and without."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading

import pytest
from worker_group import APPLICATION, PATIENCE, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

PROGRAM = APPLICATION + '''
@app.on_worker_stop
def last():
    print('stopped', flush=True)

if __name__ == '__main__':
    app.run(port=0, **{options})
'''


def write(folder, version='first', **options):
    (folder / 'program.py').write_text(
        PROGRAM.replace('{options}', repr(options)).replace("'first'", repr(version)))


@pytest.fixture
def one(group, tmp_path):
    """One process without workers."""
    def start(*command, **options):
        write(tmp_path, **options)
        return group(command=command or ('program.py',))
    return start


def test_workers_of_a_program_run_it_afresh(group, tmp_path):
    write(tmp_path, workers=2)
    workers = group(command=('program.py',))
    first = workers.wait_for(2)
    assert workers.get().endswith('first')
    write(tmp_path, 'second', workers=2)
    workers.signal('SIGHUP')
    wait_until(lambda: not first & workers.pids and workers.wait_for(2))
    assert workers.get().endswith('second')
    # Later workers have the new code, too: after a crash, and after SIGTTIN.
    second = workers.pids
    workers.get('/exit')
    wait_until(lambda: second - workers.pids and workers.wait_for(2))
    workers.signal('SIGTTIN')
    workers.wait_for(3)
    assert workers.get().endswith('second')
    # A second SIGHUP brings a third version.
    write(tmp_path, 'third', workers=2)
    workers.signal('SIGHUP')
    wait_until(lambda: workers.get().endswith('third'))
    assert workers.end() == 0


def test_a_program_that_does_not_run_any_more_leaves_its_old_workers(group, tmp_path):
    write(tmp_path, workers=2)
    workers = group(command=('program.py',))
    first = workers.wait_for(2)
    (tmp_path / 'program.py').write_text('import tremolo\n1 / 0\n')
    workers.signal('SIGHUP')
    wait_until(lambda: workers.log.count('goes on in its place') == 2)
    assert workers.pids == first
    assert 'ZeroDivisionError' in workers.log
    assert workers.get().endswith('first')


def test_preloaded_workers_of_a_program_are_forked(group, tmp_path):
    write(tmp_path, workers=2, preload=True)
    workers = group(command=('program.py',))
    first = workers.wait_for(2)
    write(tmp_path, 'second', workers=2, preload=True)
    workers.signal('SIGHUP')
    wait_until(lambda: not first & workers.pids and workers.wait_for(2))
    assert workers.get().endswith('first')


def test_the_supervisor_leaves_a_program_its_own_processes(group, tmp_path):
    (tmp_path / 'program.py').write_text(APPLICATION + '''
if __name__ == '__main__':
    import subprocess
    job = subprocess.Popen(['sh', '-c', 'exit 7'])
    app.run(port=0, workers=1)
    print(job.wait(), flush=True)
''')
    workers = group(command=('program.py',))
    first = workers.get()
    workers.get('/exit')
    wait_until(lambda: workers.get() not in ('', first))
    workers.signal('SIGTERM')
    assert workers.process.wait(PATIENCE) == 0
    assert workers.process.stdout.read() == '7\n'


@pytest.mark.parametrize('command', [
    ('program.py',), ('-m', 'program'), ('-m', 'tremolo', 'program:app', '--port', '0'),
    ('-c', 'import program; program.app.run(port=0)')])
def test_one_process_starts_afresh_in_place(one, tmp_path, command):
    server = one(*command)
    pid = server.process.pid
    assert server.get() == f'{pid} first'
    write(tmp_path, 'second')
    # The old code finishes what is in flight.
    with server.connect() as sock:
        sock.sendall(b'GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        received = sock.recv(1000)
        server.signal('SIGHUP')
        lines = [server.process.stdout.readline() for _ in range(2)]
        assert lines == ['stopped\n', f'running on {server.address} (process {server.process.pid}, '
                                      'press CTRL+C to quit)\n']
        while data := sock.recv(1000):
            received += data
    assert received.endswith(b'5\r\nended\r\n0\r\n\r\n')
    assert server.get() == f'{pid} second'
    # The program before has left no descriptor open.
    assert len(os.listdir(f'/proc/{pid}/fd')) < 12
    write(tmp_path, 'third')
    server.signal('SIGHUP')
    wait_until(lambda: server.get() == f'{pid} third')
    assert server.end() == 0


def test_nobody_who_comes_while_one_process_starts_afresh_is_refused(one):
    server = one()
    stop = threading.Event()
    failed = []

    def ask():
        while not stop.is_set():
            try:
                if not server.get():
                    failed.append('no answer')
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for _ in range(3):
        server.signal('SIGHUP')
        assert server.process.stdout.readline() == 'stopped\n'
        assert server.process.stdout.readline().startswith('running on ')
    stop.set()
    for each in threads:
        each.join()
    assert failed == []


def test_a_socket_file_is_there_all_the_time(one, tmp_path):
    path = tmp_path / 'socket'
    server = one('-m', 'tremolo', 'program:app', '--bind', f'unix:{path}')
    write(tmp_path, 'second')
    server.signal('SIGHUP')
    wait_until(lambda: server.get().endswith('second'))
    assert path.exists()
    assert server.end() == 0
    assert not path.exists()


def test_who_is_told_to_end_while_it_would_start_afresh_ends(one, tmp_path):
    path = tmp_path / 'socket'
    server = one('-m', 'tremolo', 'program:app', '--bind', f'unix:{path}')
    with server.connect() as sock:
        sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        sock.recv(1)
        server.signal('SIGHUP')
        server.signal('SIGTERM')
        (tmp_path / 'go').touch()
        while sock.recv(65536):
            pass
    assert server.process.wait(PATIENCE) == 0
    assert not path.exists()


def test_where_a_program_listens_is_kept_and_what_is_new_is_added(one, tmp_path):
    server = one()
    (tmp_path / 'program.py').write_text(APPLICATION + 'app.run("localhost", 0)')
    server.signal('SIGHUP')
    assert server.process.stdout.readline() == 'stopped\n'
    assert server.process.stdout.readline().startswith('running on ')
    assert server.process.stdout.readline().split()[2] == server.address
    assert server.get().endswith('first')


def test_what_another_process_was_left_is_nobody_elses(tmp_path, group):
    # A program that the application starts inherits the variable in its environment.
    write(tmp_path)
    with socket.socket() as sock:
        left = f'[{os.getpid()}, null, null, [["127.0.0.1:0", [{sock.fileno()}]]]]'
        process = subprocess.Popen(
            [sys.executable, 'program.py'], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
            env={**os.environ, 'TREMOLO_INHERITED': left, 'PYTHONPATH': os.getcwd()})
        with process:
            try:
                assert select.select([process.stdout], [], [], PATIENCE)[0]
                assert process.stdout.readline().startswith('running on http://127.0.0.1:')
            finally:
                process.terminate()

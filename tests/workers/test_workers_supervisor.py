"""Workers as processes: their number, their ends, and what a signal does to them."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sys
import threading

import pytest
from worker_group import APPLICATION, PATIENCE, TWO, runs, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def test_the_workers_share_the_connections(group):
    workers = group(*TWO)
    workers.wait_for(2)
    counts = workers.answering(400)
    assert len(counts) == 2
    # (Four standard deviations.)
    assert min(counts.values()) > 160
    assert workers.end() == 0
    assert 'worker' not in workers.log.replace('the workers finish', '')


def test_one_that_ends_is_replaced(group):
    workers = group(*TWO)
    first = workers.wait_for(2)
    assert workers.get('/exit') == ''
    second = wait_until(lambda: first - workers.pids and workers.wait_for(2))
    assert len(first & second) == 1
    assert 'ended with status 7' in workers.log
    victim = min(second)
    os.kill(victim, signal.SIGKILL)
    third = wait_until(lambda: victim not in workers.pids and workers.wait_for(2))
    assert f'worker {victim} was ended by signal 9' in workers.log
    assert len(second & third) == 1


def test_what_waits_for_a_crashed_worker_is_answered(group):
    """Its queue is kept: a client that connects meanwhile waits for the next worker."""
    workers = group('--workers', '1', '--port', '0')
    workers.wait_for(1)
    for _ in range(2):
        workers.get('/exit')
        assert workers.get().endswith('first')


def test_hang_up_brings_new_code_and_fails_nobody(group):
    workers = group(*TWO)
    old = workers.wait_for(2)
    answers: list[str] = []
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            answers.append(workers.get())

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in ('second', 'third'):
            (workers.folder / 'example.py').write_text(APPLICATION.replace('first', version))
            workers.signal('SIGHUP')
            old = wait_until(lambda: not old & workers.pids and workers.wait_for(2))  # noqa: B023
            assert workers.get().endswith(version)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 10
    assert '' not in answers


def ask(sock: socket.socket, path: str = '/') -> str:
    """Ask on a connection that is kept; fail if it was closed."""
    sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    assert answer.headers['connection'] is None
    return answer.read().decode()


def test_clients_do_not_notice_that_the_worker_is_another(group):
    workers = group(*TWO)
    old = workers.wait_for(2)
    clients = [workers.connect() for _ in range(30)]
    # Some clients have asked nothing yet, and one waits for the rest of its answer.
    for client in clients[10:]:
        ask(client)
    busy = workers.connect()
    busy.sendall(b'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
    received = busy.recv(1000)
    for name in ('SIGHUP', 'SIGTTOU'):
        workers.signal(name)
        wait_until(lambda: not old & workers.pids and len(workers.pids) == 2
                   if name == 'SIGHUP' else len(workers.pids) == 1)    # noqa: B023
        for client in clients:
            assert int(ask(client).split()[0]) not in old
    while not received.endswith(b'0\r\n\r\n'):
        received += busy.recv(1000)
    assert ask(busy).endswith('first')
    for client in (*clients, busy):
        client.close()
    lines = [line.partition('handed over ')[2] for line in workers.log.splitlines()
             if 'handed over' in line]
    counts = [[int(word) for word in line.replace(',', '').split() if word.isdigit()]
              for line in lines]
    assert len(counts) == 3
    # The two old workers handed over all connections, and so did the one that SIGTTOU ended.
    assert counts[0][0] + counts[1][0] == 31
    assert all(rest == [0, 0] for _, *rest in counts)


def test_a_load_of_kept_connections_goes_through_renewals(group):
    workers = group(*TWO)
    old = workers.wait_for(2)
    ended = threading.Event()
    asked: list[int] = []
    failed: list[BaseException] = []

    def load() -> None:
        try:
            with workers.connect() as sock:
                while not ended.is_set():
                    ask(sock)
                    asked.append(1)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            workers.signal('SIGHUP')
            old = wait_until(lambda: not old & workers.pids and len(workers.pids) == 2  # noqa: B023
                             and workers.pids)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert len(asked) > 100


def test_new_code_that_fails_leaves_the_old_one(group):
    workers = group(*TWO)
    old = workers.wait_for(2)
    (workers.folder / 'example.py').write_text('app = 1 / 0\n')
    workers.signal('SIGHUP')
    wait_until(lambda: workers.log.count('goes on in its place') == 2)
    assert 'ZeroDivisionError' in workers.log
    assert workers.wait_for(2) == old
    assert workers.end() == 0


def test_one_more_and_one_less(group):
    workers = group(*TWO)
    two = workers.wait_for(2)
    workers.signal('SIGTTIN')
    three = workers.wait_for(3, 60)
    assert two < three
    workers.signal('SIGTTOU')
    assert workers.wait_for(2, 60) == two
    workers.signal('SIGTTOU')
    one = workers.wait_for(1, 60)
    workers.signal('SIGTTOU')
    assert set(workers.answering(20)) == one == workers.pids


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT'])
def test_what_is_in_flight_is_finished(group, tmp_path, name):
    workers = group(*TWO)
    workers.wait_for(2)
    with workers.connect() as sock:
        sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        received = sock.recv(1000)
        workers.signal(name)
        wait_until(lambda: 'stopping: the workers' in workers.log)
        (tmp_path / 'go').touch()
        assert workers.process.wait(PATIENCE) == 0
        while data := sock.recv(1000):
            received += data
    assert received.endswith(b'5\r\nended\r\n0\r\n\r\n')


@pytest.mark.parametrize(('names', 'status'), [
    (['SIGQUIT'], 131), (['SIGINT', 'SIGINT'], 130), (['SIGTERM', 'SIGINT'], 130)])
def test_it_can_be_ended_at_once(group, names, status):
    workers = group(*TWO)
    workers.wait_for(2)
    with workers.connect() as sock:
        sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
        sock.recv(1000)
        for name in names[:-1]:
            workers.signal(name)
            wait_until(lambda: 'stopping: the workers' in workers.log)
        assert workers.end(names[-1]) == status


@pytest.mark.parametrize('path', ['/spin', '/sleep'])
def test_one_that_hangs_says_where_and_is_replaced(group, path):
    workers = group(*TWO, '--worker-timeout', '1')
    old = workers.wait_for(2)
    with workers.connect() as sock:
        sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        wait_until(lambda: old - workers.pids and len(workers.pids) == 2)
    workers.wait_for(2)
    lines = APPLICATION.splitlines()
    number = next(n for n, line in enumerate(lines, 1) if f"'{path}'" in line) + 2
    said = re.search(rf'example\.py", line (\d+) in {path[1:]}', workers.log)
    assert said is not None
    if sys.implementation.name == 'cpython':
        # `while` or `pass`, wherever it was. (PyPy gives approximate lines.)
        assert int(said[1]) in (number, number + 1)
    assert f"GET '{path}': " in workers.log
    assert 'does not answer (worker_timeout)' in workers.log


def test_a_report_on_demand(group, tmp_path):
    workers = group('--workers', '1', '--port', '0')
    [pid] = workers.wait_for(1)
    with workers.connect() as sock:
        sock.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
        sock.recv(1000)
        os.kill(pid, signal.SIGUSR2)
        line = re.compile(r"GET '/held': \d+\.\d s, /.*example\.py:\d+\n")
        wait_until(lambda: line.search(workers.log))
        workers.signal('SIGUSR2')
        wait_until(lambda: workers.log.count('most recent call first') > 1)
        assert 'example.py' in workers.log
        (tmp_path / 'go').touch()
    assert workers.wait_for(1) == {pid}


@pytest.mark.parametrize('arguments', [
    ['--max-requests', '20'], ['--limit-memory', '256MiB']])
def test_workers_are_renewed_in_time(group, tmp_path, arguments):
    # (There is a beat in each third of the timeout, and memory is looked at with each beat. A limit
    # below what the start needs has no effect: so the first requests make it grow.)
    (tmp_path / 'example.py').write_text(APPLICATION.replace('def index():', """def index():
    if len(kept) < 20:
        kept.append(b'x' * (16 << 20))""") + 'kept = []\n')
    workers = group('--workers', '1', '--port', '0', '--worker-timeout', '1.5', *arguments)
    first = set(workers.pids)
    answers = []
    wait_until(lambda: answers.append(workers.get()) or not first & workers.pids)
    assert '' not in answers
    assert 'this worker ends: ' in workers.log


def test_workers_leave_when_their_supervisor_is_gone(group):
    workers = group(*TWO)
    pids = workers.wait_for(2)
    workers.process.kill()
    workers.process.wait()
    wait_until(lambda: not any(map(runs, pids)))


@pytest.mark.parametrize(('code', 'status', 'words'), [
    ('app = 1 / 0', 4, 'ZeroDivisionError'), ('ap = 1', 2, 'example: has no app'),
    ('''
async def app(scope, receive, send):
    await receive()
    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})
''', 3, 'tremolo: error: no database')])
def test_what_cannot_start_is_said_once(group, tmp_path, code, status, words):
    (tmp_path / 'example.py').write_text(code)
    workers = group(*TWO)
    assert workers.process.wait(PATIENCE) == status
    assert workers.log.count(words) == 1


def test_a_port_that_is_taken_is_found_before_anything_starts(group):
    with socket.socket() as sock:
        # Even if the other server would share its port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        workers = group('--workers', '2', '--port', str(sock.getsockname()[1]))
        assert workers.process.wait(PATIENCE) == 1
    assert 'Address already in use' in workers.log
    assert len(workers.log.splitlines()) == 1


def test_a_unix_socket_is_shared_and_its_file_removed_at_the_end(group, tmp_path):
    path = tmp_path / 'socket'
    workers = group('--workers', '2', '--bind', f'unix:{path}')
    workers.wait_for(2)
    workers.get('/exit')
    wait_until(lambda: len(workers.pids) == 2)
    assert path.exists()
    assert workers.get().endswith('first')
    assert workers.end() == 0
    assert not path.exists()


PROGRAM = APPLICATION + '''
app.listen(0)
app.run(port=0, worker_num=2)
'''


def test_a_program_that_runs_with_workers(group, tmp_path):
    (tmp_path / 'program.py').write_text(PROGRAM)
    workers = group(command=('program.py',))
    other = workers.process.stdout.readline().split()[2]
    workers.wait_for(2)
    workers.address, first = other, workers.address
    assert first != other
    workers.wait_for(2)


def test_ports_that_only_the_application_knows(group, tmp_path):
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    (tmp_path / 'example.py').write_text(f'{APPLICATION}\napp.listen({port})\n')
    workers = group(*TWO)
    workers.address = f'http://127.0.0.1:{port}'
    workers.wait_for(2)


def test_preloaded_is_imported_once(group, tmp_path):
    (tmp_path / 'example.py').write_text(
        f"{APPLICATION}\nwith open('imports', 'a') as file:\n    print(os.getpid(), file=file)\n")
    workers = group(*TWO, '--preload')
    workers.wait_for(2)
    assert (tmp_path / 'imports').read_text() == f'{workers.process.pid}\n'


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--workers', '-1'], 'is not a whole number'), (['--workers', '0'], 'too small'),
    (['--workers', 'many'], 'is not a whole number')])
def test_a_senseless_number_of_workers(group, arguments, words):
    workers = group(*arguments)
    assert workers.process.wait(PATIENCE) == 2
    assert words in workers.log


def test_a_second_hang_up_while_new_workers_start_is_not_lost(group, tmp_path):
    workers = group(*TWO)
    first = workers.wait_for(2)
    go = tmp_path / 'go'
    slow = APPLICATION.replace("'first'", "'second'") + f'''
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
'''
    (tmp_path / 'example.py').write_text(slow)
    workers.signal('SIGHUP')
    wait_until(lambda: len(workers.pids) == 4)
    (tmp_path / 'example.py').write_text(APPLICATION.replace("'first'", "'third'"))
    workers.signal('SIGHUP')
    # (The supervisor does not show that it has got SIGHUP. It acts on SIGUSR2 after that.)
    workers.signal('SIGUSR2')
    wait_until(lambda: 'most recent call first' in workers.log)
    go.touch()
    wait_until(lambda: workers.get().endswith('third') and workers.get().endswith('third'))
    pids = wait_until(lambda: len(workers.pids) == 2 and workers.wait_for(2))
    assert not first & pids
    for _ in range(20):
        assert workers.get().endswith('third')


def test_no_old_worker_is_left_after_three_hang_ups_while_new_ones_start(group, tmp_path):
    """After the third one nobody knew any more whom the new ones replace."""
    workers = group(*TWO)
    first = workers.wait_for(2)
    # (They are told to end at the second one, and do not at once.)
    (tmp_path / 'example.py').write_text(APPLICATION + '''
while not os.path.exists('go'):
    try:
        time.sleep(0.01)
    except BaseException:
        pass
''')
    workers.signal('SIGHUP')
    wait_until(lambda: len(workers.pids) == 4)
    (tmp_path / 'example.py').write_text(APPLICATION.replace("'first'", "'fourth'"))
    for number in (1, 2):
        workers.signal('SIGHUP')
        # (See above.)
        workers.signal('SIGUSR2')
        wait_until(lambda: workers.log.count('most recent call first') >= 2 * number)  # noqa: B023
    (tmp_path / 'go').touch()
    wait_until(lambda: len(workers.pids) == 2 and not first & workers.pids)
    for _ in range(20):
        assert workers.get().endswith('fourth')


def test_the_file_of_a_unix_socket_is_free_as_soon_as_all_are_told_to_end(group, tmp_path):
    path = tmp_path / 'socket'
    workers = group('--workers', '2', '--bind', f'unix:{path}')
    workers.wait_for(2)
    with workers.connect() as busy:
        busy.sendall(b'GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        assert busy.recv(4096)
        workers.signal('SIGTERM')
        wait_until(lambda: workers.refuses())
        # The next server has the file; the end of the one before does not remove it.
        again = group('--workers', '2', '--bind', f'unix:{path}')
        while busy.recv(4096):
            pass
    assert workers.process.wait(PATIENCE) == 0
    assert path.exists()
    again.wait_for(2)
    assert again.end() == 0
    assert not path.exists()

"""The metrics of real processes: workers whose ends lose no count, and one that begins anew."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sys
import time

import prometheus_text
import pytest
from worker_group import APPLICATION, PATIENCE, Group, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

REQUESTS = 'tremolo_requests_total'
METRICS = ('--metrics', '127.0.0.1:0')


def ask(address: str, path: str = '/metrics') -> bytes:
    """Return the answer's body; fail if it is none of status 200."""
    unix = address.startswith('unix:')
    host, port = ('', 0) if unix else re.search(r'//(.*):(\d+)', address).groups()
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address[5:] if unix else (host, int(port)))
        sock.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == 200
        return answer.read()


def address_of(workers: Group) -> str:
    return re.findall(r'metrics: (\S+)', workers.log)[-1]


def scrape(workers: Group) -> prometheus_text.Samples:
    return prometheus_text.read(ask(address_of(workers)))


def counted(workers: Group) -> float:
    return scrape(workers).value(REQUESTS, method='GET', status='200')


def test_the_metrics_of_two_workers_add_up_over_a_killed_worker_and_a_renewal(group):
    workers = group('--workers', '2', '--port', '0', *METRICS)
    sent = 0

    def send(times: int) -> set[int]:
        nonlocal sent
        sent += times
        return {int(workers.get().split()[0]) for _ in range(times)}

    wait_until(lambda: len(workers.pids) == 2)
    while len(send(30)) < 2:
        pass
    samples = scrape(workers)
    assert samples.value(REQUESTS, method='GET', status='200') == sent
    assert samples.value('tremolo_request_seconds_count') == sent
    assert samples.labels('tremolo_worker_memory_bytes', 'worker') == {'1', '2'}
    assert samples.labels('tremolo_loop_lag_seconds', 'worker') == {'1', '2'}
    before = samples.value('tremolo_response_bytes_total')
    # A worker that is killed: what it has answered just now is counted.
    victim = int(workers.get().split()[0])
    os.kill(victim, signal.SIGKILL)
    sent += 1
    assert counted(workers) == sent
    wait_until(lambda: victim not in workers.pids and len(workers.pids) == 2)
    # A renewal, with a client that asks all the time. (The one that has come is renewed, too: if it
    # was ready, which it is when it has answered.)
    answered: set[int] = set()
    wait_until(lambda: answered.update(send(10)) or workers.pids <= answered)
    old = workers.pids
    workers.signal('SIGHUP')
    wait_until(lambda: send(5) and not old & workers.pids and len(workers.pids) == 2)
    # One worker less, and then one more.
    workers.signal('SIGTTOU')
    wait_until(lambda: send(5) and len(workers.pids) == 1)
    wait_until(lambda: scrape(workers).labels('tremolo_worker_memory_bytes', 'worker') == {'1'})
    workers.signal('SIGTTIN')
    wait_until(lambda: send(5) and len(workers.pids) == 2)
    samples = scrape(workers)
    assert samples.value(REQUESTS, method='GET', status='200') == samples.total(REQUESTS) == sent
    assert samples.value('tremolo_request_seconds_count') == sent
    assert samples.value('tremolo_response_bytes_total') > before
    assert samples.value('tremolo_closed_total', reason='done') <= sent
    assert samples.value('tremolo_worker_restarts_total', reason='killed') == 1
    assert samples.value('tremolo_worker_restarts_total', reason='reload') == 2
    assert samples.total('tremolo_worker_restarts_total') == 3
    assert workers.end() == 0


def test_it_answers_though_a_worker_hangs_and_until_the_last_one_has_ended(group):
    workers = group('--workers', '1', '--port', '0', '--worker-timeout', '1.5', *METRICS)
    address = address_of(workers)
    spinning = workers.connect()
    spinning.sendall(b'GET /spin HTTP/1.1\r\nHost: x\r\n\r\n')
    wait_until(lambda: scrape(workers).value('tremolo_loop_lag_seconds', worker='1') > 0.5)
    began = time.monotonic()
    samples = scrape(workers)
    assert time.monotonic() - began < 5    # (A second; the machine of the tests may be busy.)
    assert samples.value('tremolo_worker_memory_bytes', worker='1') > 1 << 20
    wait_until(lambda: scrape(workers).value('tremolo_worker_restarts_total', reason='hung'))
    spinning.close()
    # What drains is seen.
    wait_until(lambda: workers.get())
    held = workers.connect()
    held.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
    assert held.recv(65536)
    workers.signal('SIGTERM')
    wait_until(workers.refuses)
    assert scrape(workers).total('tremolo_worker_memory_bytes') > 0
    (workers.folder / 'go').touch()
    held.close()
    assert workers.end() == 0
    with pytest.raises(OSError):
        ask(address)


def test_one_process_answers_while_its_handler_computes_and_goes_on_after_it_began_anew(
        group, tmp_path):
    path = tmp_path / 'metrics.sock'
    workers = group('--port', '0', '--metrics', f'unix:{path}')
    for _ in range(3):
        workers.get()
    spinning = workers.connect()
    spinning.sendall(b'GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    while spinning.recv(65536):
        pass
    spinning.close()
    assert counted(workers) == 4
    file = path.stat().st_ino
    workers.signal('SIGHUP')

    def reloaded():
        # Nobody is refused meanwhile: the queue of the socket is never closed.
        return scrape(workers).value('tremolo_worker_restarts_total', reason='reload') == 1

    wait_until(reloaded)
    assert path.stat().st_ino == file
    workers.get()
    samples = scrape(workers)
    assert samples.value(REQUESTS, method='GET', status='200') == 5
    assert samples.labels('tremolo_loop_lag_seconds', 'worker') == {'1'}
    spinning = workers.connect()
    spinning.sendall(b'GET /spin HTTP/1.1\r\nHost: x\r\n\r\n')
    wait_until(lambda: scrape(workers).value('tremolo_loop_lag_seconds', worker='1') > 0.5)
    workers.signal('SIGQUIT')
    os.kill(workers.process.pid, signal.SIGKILL)
    spinning.close()


def test_a_program_that_workers_start_afresh_goes_on_counting(group, tmp_path):
    """After SIGHUP each of them has become the program anew: the descriptor went through exec."""
    (tmp_path / 'program.py').write_text(
        APPLICATION + "app.run(port=0, workers=2, metrics='127.0.0.1:0')\n")
    workers = group(command=('program.py',))
    old = workers.wait_for(2)
    before = counted(workers)
    assert before > 0
    workers.signal('SIGHUP')
    wait_until(lambda: not old & workers.pids and len(workers.pids) == 2)
    for _ in range(10):
        workers.get()
    samples = scrape(workers)
    assert samples.value(REQUESTS, method='GET', status='200') == before + 10
    assert samples.labels('tremolo_loop_lag_seconds', 'worker') == {'1', '2'}
    assert samples.total('tremolo_worker_restarts_total') == 2


@pytest.mark.parametrize('more', [(), ('--workers', '2')])
def test_a_port_that_is_taken_ends_the_start_with_one_line_and_status_1(group, tmp_path, more):
    path = tmp_path / 'app.sock'
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        workers = group('--bind', f'unix:{path}', '--metrics', f'127.0.0.1:{port}', *more)
        assert workers.process.wait(PATIENCE) == 1
    assert workers.log == (f'tremolo: error: metrics: cannot listen on 127.0.0.1:{port}: '
                           'Address already in use\n')
    assert workers.address == ''
    assert not path.exists()


@pytest.mark.parametrize('more', [(), ('--workers', '2')])
def test_the_address_of_the_application_itself_is_refused(group, tmp_path, more):
    path = tmp_path / 'app.sock'
    workers = group('--bind', f'unix:{path}', '--metrics', f'unix:{path}', *more)
    assert workers.process.wait(PATIENCE) == 1
    assert workers.log == (f'tremolo: error: metrics: cannot listen on unix:{path}: '
                           'Address already in use\n')

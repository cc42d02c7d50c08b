"""Faults of an earlier tremolo, by their numbers: none of them may come back."""

from __future__ import annotations

import gc
import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from server_support import Client, request
from worker_group import APPLICATION, PATIENCE, ROOT, TWO, wait_until

from tremolo import Tremolo
from tremolo.server.idle import DRAIN_LEAST

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def idle(workers):
    """Return an idle connection, and the process id of its worker."""
    connection = http.client.HTTPConnection('127.0.0.1', timeout=PATIENCE)
    connection.sock = workers.connect()
    connection.request('GET', '/')
    return connection, int(connection.getresponse().read().split()[0])


def test_fault_33_idle_connections_hold_up_no_end_and_workers_end_together(group):
    workers = group(*TWO)
    pids = workers.wait_for(2)
    connections = []
    while {pid for _, pid in connections} != pids:
        connections.append(idle(workers))
    began = time.monotonic()
    workers.signal('SIGTERM')
    # No new client is accepted. On an open connection a request may be on its way: it has a moment.
    wait_until(lambda: workers.refuses())
    for connection, _ in connections:
        try:
            connection.request('GET', '/')
            assert connection.getresponse().read().endswith(b'first')
        except (OSError, http.client.HTTPException):
            # The moment is ten round trips; on a busy machine they may be over.
            assert time.monotonic() - began > DRAIN_LEAST
        connection.close()
    # (Not `end`: its second signal could come when the supervisor has reset its handlers.)
    assert workers.process.wait(PATIENCE) == 0
    # If the workers ended one after the other, each after `idle_timeout`, it would be longer.
    assert time.monotonic() - began < 60


def test_fault_34_a_crash_loop_slows_down_and_a_worker_told_to_end_is_replaced(group, tmp_path):
    workers = group(*TWO)
    first = workers.wait_for(2)
    victim = min(first)
    told = time.monotonic()
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: victim not in workers.pids and workers.wait_for(2))
    # From now on no new worker can start; the old one serves all the time.
    (tmp_path / 'example.py').write_text('raise SystemExit(9)')
    began = time.monotonic()
    os.kill(max(workers.pids), signal.SIGKILL)
    wait_until(lambda: workers.log.count('ended with status 9') >= 4)
    # 0.1 + 0.2 + 0.4 + 0.8 seconds; but a worker that has lived for 10 s is replaced at once.
    assert time.monotonic() - began > (1.4 if began - told < 9 else 0.6)
    assert workers.get().endswith('first')


def test_fault_35_a_unix_socket_is_served_by_all_workers_and_removed(group, tmp_path):
    path = tmp_path / 'socket'
    workers = group('--workers', '2', '--bind', f'unix:{path}')
    # (A worker that is awake accepts what it can; after some requests both have answered.)
    workers.wait_for(2)
    assert workers.end() == 0
    assert not path.exists()


def test_fault_36_one_process_has_a_lock_and_listens_wherever_it_is_told_to(tmp_path):
    app = Tremolo()

    @app.route('/')
    def index(**server):
        with (yield server['lock'].acquire()), (yield server['lock'](3).acquire()):
            yield b'locked'

    app.listen(0)
    bind = [f'unix:{tmp_path}/socket', '127.0.0.1:0']
    with app.start(bind=bind) as running:
        addresses = [each.address for each in running.server.listeners]
        assert len(set(addresses)) == 3
        for address in addresses:
            client = Client(address)
            client.send(request())
            assert client.take().body == b'locked'
            client.close()


def test_fault_37_a_host_that_is_not_found_is_no_socket_file(tmp_path):
    host = 'typo' * 20 + '.example'
    (tmp_path / 'example.py').write_text(APPLICATION)
    for arguments in ('--host', host), ('--bind', f'{host}:8000'), ('--bind', host):
        ended = subprocess.run(
            [sys.executable, '-m', 'tremolo', 'example:app', *arguments], cwd=tmp_path, check=False,
            env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True,
            timeout=PATIENCE)
        assert ended.returncode in (1, 2)
        line, = ended.stderr.splitlines()
        assert line.startswith('tremolo: error: ')
        assert host in line
    assert {each.name for each in tmp_path.iterdir()} <= {'example.py', '__pycache__'}


def test_fault_37_a_name_with_an_ipv6_address_alone_is_bound_there(monkeypatch):
    # (Where there is no IPv6 the bind is refused, and named.)
    app = Tremolo()
    app.route('/')(lambda: 'six')
    looked_up = socket.getaddrinfo
    monkeypatch.setattr(socket, 'getaddrinfo', lambda host, *rest, **more: looked_up(
        '::1' if host == 'six.example' else host, *rest, **more))
    try:
        running = app.start(host='six.example')
    except Exception as error:
        assert 'six.example' in str(error)
        assert not socket.has_ipv6 or not os.path.exists('/proc/net/if_inet6')
        return
    with running:
        assert running.url.startswith('http://[::1]:')


def test_fault_39_the_collector_is_left_alone_and_nothing_is_shared_between_applications():
    before = gc.isenabled(), gc.get_threshold() if hasattr(gc, 'get_threshold') else None
    one, other = Tremolo(), Tremolo()
    one.route('/')(lambda: 'one')
    one.context.value = 1
    one.listen(0)
    with one.start() as first, other.start() as second:
        assert (gc.isenabled(), gc.get_threshold()
                if hasattr(gc, 'get_threshold') else None) == before
        assert len(first.server.listeners) == 2
        assert len(second.server.listeners) == 1
        assert not hasattr(other.context, 'value')
        for server, status in ((first, 200), (second, 404)):
            client = Client(server.address)
            client.send(request())
            assert client.take().status == status
            client.close()


def test_fault_39_the_log_says_nothing_while_nothing_happens(group):
    workers = group(*TWO)
    workers.wait_for(2)
    assert workers.log == ''

"""A slot is never nobody's: some worker accepts from its sockets, whatever its own worker does."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
from worker_group import APPLICATION, TWO, wait_until

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

# What a module does when it is imported: the first process that finds the file `hang` takes it and
# hangs.
HANG_ONE = '''
import os, time
try:
    os.rename('hang', f'hangs {os.getpid()}')
except OSError:
    pass
else:
    while True:
        time.sleep(1)
'''
HANG = 'import time\nopen("begun", "w").close()\nwhile True:\n    time.sleep(1)\n'
# It imports until there is a file `gate`; the first worker of all does not.
GATE = '''
import os, time
while not os.path.exists('gate'):
    time.sleep(0.01)
'''
SECOND_WAITS = '''
import os, time
try:
    os.close(os.open('first', os.O_CREAT | os.O_EXCL))
except OSError:
    while not os.path.exists('gate'):
        time.sleep(0.01)
'''
# The same after the import, in a hook; and the process ignores SIGTERM.
HANG_IN_HOOK = APPLICATION + '''
import signal

@app.on_worker_start
def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open('begun', 'w').close()
    while True:
        time.sleep(1)
'''


def listening(pid: int) -> set[str]:
    """Return the TCP sockets on which a process listens."""
    found = {line.split()[9] for line in Path('/proc/net/tcp').read_text().splitlines()
             if line.split()[3] == '0A'}
    sockets = set()
    # (A descriptor may be closed meanwhile, and the process may end.)
    with contextlib.suppress(OSError):
        for fd in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(f'/proc/{pid}/fd/{fd}').removeprefix('socket:[').rstrip(']'))
    return sockets & found


def each_has_one(workers) -> bool:
    """Return whether each worker listens on one socket, each on another one."""
    sets = [listening(pid) for pid in workers.pids]
    return all(len(each) == 1 for each in sets) and len(set().union(*sets)) == len(sets)


@pytest.mark.parametrize('code', [HANG, HANG_IN_HOOK])
def test_good_code_takes_over_at_once_from_workers_that_hang_before_they_are_ready(group, code):
    workers = group(*TWO)
    old = workers.wait_for(2, 60)
    (workers.folder / 'example.py').write_text(code)
    workers.signal('SIGHUP')
    wait_until(lambda: len(workers.pids) == 4)
    wait_until((workers.folder / 'begun').exists)
    hung = workers.pids - old
    assert workers.get().endswith('first')
    (workers.folder / 'example.py').write_text(APPLICATION.replace('first', 'second'))
    workers.signal('SIGHUP')
    new = wait_until(lambda: not workers.pids & (old | hung) and workers.wait_for(2, 60))
    assert not new & hung
    assert workers.get().endswith('second')
    assert workers.end() == 0


def test_code_that_hangs_at_the_very_first_start_is_replaced_too(tmp_path, group):
    code = HANG_ONE + APPLICATION
    (tmp_path / 'example.py').write_text(code)
    (tmp_path / 'hang').touch()
    # (`Group` waits for the first line: so the signal comes from the process that hangs.)
    (tmp_path / 'example.py').write_text(code.replace(
        'else:\n', 'else:\n    os.kill(os.getppid(), 1)\n', 1))
    workers = group(*TWO)
    workers.wait_for(2, 60)


def test_clients_of_a_second_worker_that_still_imports_get_the_first(group, tmp_path):
    (tmp_path / 'example.py').write_text(SECOND_WAITS + APPLICATION)
    workers = group(*TWO)
    assert len({workers.get().split()[0] for _ in range(40)}) == 1
    wait_until(lambda: len(workers.pids) == 2)
    assert len({workers.get().split()[0] for _ in range(40)}) == 1
    (tmp_path / 'gate').touch()
    workers.wait_for(2, 60)
    wait_until(lambda: each_has_one(workers))


def test_clients_of_a_worker_that_dies_while_its_successor_hangs_get_another(group):
    workers = group(*TWO)
    old = workers.wait_for(2, 60)
    (workers.folder / 'example.py').write_text(HANG_ONE + APPLICATION)
    (workers.folder / 'hang').touch()
    workers.signal('SIGHUP')
    # One new worker takes over; the other one hangs, and its predecessor serves.
    wait_until(lambda: len(workers.pids & old) == 1 and len(workers.pids) == 3)
    last = (workers.pids & old).pop()
    os.kill(last, signal.SIGKILL)
    wait_until(lambda: last not in workers.pids)
    assert all(workers.get().endswith('first') for _ in range(24))
    # A worker that was told to end by another program counts as gone, too.
    workers.signal('SIGHUP')
    workers.wait_for(2, 60)
    wait_until(lambda: each_has_one(workers))


def test_clients_wait_for_no_successor_of_a_crashed_worker_that_hangs(group):
    workers = group(*TWO)
    workers.wait_for(2, 60)
    (workers.folder / 'example.py').write_text(HANG_ONE + APPLICATION)
    (workers.folder / 'hang').touch()
    os.kill(min(workers.pids), signal.SIGKILL)
    wait_until(lambda: not (workers.folder / 'hang').exists())
    assert all(workers.get().endswith('first') for _ in range(24))


def test_forty_clients_beside_a_crash_are_answered_while_the_next_worker_imports(group):
    workers = group(*TWO)
    workers.wait_for(2, 60)
    (workers.folder / 'example.py').write_text(GATE + APPLICATION)
    for pid in sorted(workers.pids):
        heir, = workers.pids - {pid}
        os.kill(pid, signal.SIGKILL)
        assert [workers.get().split()[0] for _ in range(40)] == [str(heir)] * 40
        (workers.folder / 'gate').touch()
        workers.wait_for(2, 60)
        (workers.folder / 'gate').unlink()


def test_what_was_lent_comes_back_when_the_slot_is_served_again(group):
    workers = group(*TWO)
    workers.wait_for(2, 60)
    assert each_has_one(workers)
    good = (workers.folder / 'example.py').read_text()
    (workers.folder / 'example.py').write_text('raise SystemExit(9)')
    victim, heir = workers.pids
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(listening(heir)) == 2)
    (workers.folder / 'example.py').write_text(good)
    # (The signal ends the pause.)
    workers.signal('SIGHUP')
    workers.wait_for(2, 60)
    wait_until(lambda: each_has_one(workers))
    # A spare slot is lent, and comes back.
    workers.signal('SIGTTOU')
    wait_until(lambda: len(workers.pids) == 1 and len(listening(*workers.pids)) == 2)
    workers.signal('SIGTTIN')
    workers.wait_for(2, 60)
    wait_until(lambda: each_has_one(workers))


def test_a_worker_that_leaves_before_it_is_ready_ends_at_once(group):
    workers = group(*TWO)
    workers.wait_for(2, 60)
    (workers.folder / 'example.py').write_text(HANG)
    workers.signal('SIGTTIN')
    wait_until(lambda: len(workers.pids) == 3)
    workers.signal('SIGTTOU')
    workers.wait_for(2, 60)


def test_a_worker_that_drains_by_itself_inherits_nothing(group):
    workers = group(*TWO)
    first = workers.wait_for(2, 60)
    held = workers.connect()
    held.sendall(b'GET /held HTTP/1.1\r\nHost: x\r\n\r\n')
    received = held.recv(4096)
    assert b'begun' in received
    # Which worker has it is not known: so both are told, and both slots get new workers.
    for pid in first:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: len(workers.pids - first) == 2)
    for name in 'SIGTTOU', 'SIGTTIN':
        workers.signal(name)
        assert all(workers.get().endswith('first') for _ in range(24))
    (workers.folder / 'go').touch()
    while not received.endswith(b'0\r\n\r\n'):
        received += held.recv(4096)
    held.close()
    wait_until(lambda: not workers.pids & first)

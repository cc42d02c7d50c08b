"""The access log on a real disk of 256 KiB that fills, is rotated, is filled by others, and freed."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='unshare')

DISK = 256 << 10
TEXT = 'x' * 300


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server(tool, tmp_path):
    """Two workers in a mount namespace, with a disk of their own; give the process and its disk."""
    unshare = [tool('unshare'), '--mount', *(['--map-root-user'] if os.geteuid() else [])]
    (tmp_path / 'disk').mkdir()
    with open(tmp_path / 'log', 'w') as log:
        process = subprocess.Popen(
            [*unshare, 'sh', '-c', f'mount -t tmpfs -o size={DISK} none disk && exec "$@"', 'sh',
             sys.executable, '-m', 'tremolo', '--port', '0', '--workers', '2', '--access-logfile',
             'disk/access.log', '--access-logformat', '{status} {target} ' + TEXT],
            cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stderr=log,
            stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    yield process, line, Path(f'/proc/{process.pid}/root{tmp_path}/disk'), tmp_path / 'log'
    process.kill()
    process.wait()
    process.stdout.close()


def test_no_line_is_torn_and_none_is_lost_as_long_as_a_mebibyte_may_wait(server):
    process, line, disk, told = server
    port, log = int(re.search(r':(\d+) ', line)[1]), disk / 'access.log'
    asked, found = 0, b''

    def ask(times):
        nonlocal asked
        for asked in range(asked, asked + times):
            connection = http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)
            connection.request('GET', f'/?{asked}')
            connection.getresponse().read()
            connection.close()
        asked += 1

    def take():
        nonlocal found
        log.rename(disk / 'old.log')
        found += (disk / 'old.log').read_bytes()
        (disk / 'old.log').unlink()

    ask(1200)    # 370 KiB.
    wait_until(lambda: told.read_text().count('No space left on device') == 2)
    assert DISK - 400 < log.stat().st_size <= DISK and log.read_bytes().endswith(b'\n')
    take()
    process.send_signal(signal.SIGUSR1)
    wait_until(log.exists)
    ask(50)
    # Somebody else fills the disk, and makes room again.
    with contextlib.suppress(OSError), open(disk / 'other', 'wb', buffering=0) as other:
        while other.write(b'x' * 4096):
            pass
    ask(200)
    (disk / 'other').unlink()
    wait_until(lambda: told.read_text().count('can be written again') >= 2
               or log.stat().st_size > 100_000)
    last = disk / 'access.log'
    with open(last, 'rb') as file:    # (Its namespace ends with the process.)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        found += file.read()
    lines = found.decode().splitlines()
    assert all(re.fullmatch(f'200 /\\?[0-9]+ {TEXT}', each) for each in lines)
    assert sorted(int(each.split()[1][2:]) for each in lines) == list(range(asked))
    assert 'dropped' not in told.read_text()

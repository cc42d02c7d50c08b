"""The first start of workers: what cannot work ends, and what is told is told once."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from worker_group import APPLICATION, PATIENCE, ROOT, TWO

from tremolo.settings import Settings
from tremolo.workers import supervisor as supervisor_module
from tremolo.workers.program import Program
from tremolo.workers.supervisor import Supervisor

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def run(folder, code: str, *arguments: str) -> subprocess.CompletedProcess:
    (folder / 'example.py').write_text(code)
    return subprocess.run(
        [sys.executable, '-m', 'tremolo', 'example:app', *arguments], cwd=folder, check=False,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True,
        timeout=PATIENCE)


@pytest.mark.parametrize(('code', 'status'), [
    ('import os\nos._exit(0)', 1),
    ('import os\nos._exit(77)', 77),
    ('import os\nos.kill(os.getpid(), 11)', 139),
])
def test_a_first_worker_that_dies_ends_the_server_whatever_its_status(tmp_path, code, status):
    ended = run(tmp_path, code, *TWO)
    assert ended.returncode == status
    assert ended.stderr.count(' ERROR ') == 1
    assert ended.stdout == ''


def test_more_workers_than_the_system_allows_are_refused_in_one_line(tmp_path):
    ended = run(tmp_path, APPLICATION, '--port', '0', '--workers', '1000000000')
    assert ended.returncode == 1
    line, = ended.stderr.splitlines()
    assert line.startswith('tremolo: error: workers: 1000000000 need ')


def test_forks_that_are_refused_are_told_once(monkeypatch, logged):
    supervisor = Supervisor(Settings(port=0, workers=50), (), Program(lambda slot: 0))
    supervisor._announced = True
    supervisor._group.open((), 50)

    def refuse(*_):
        raise OSError(11, 'Resource temporarily unavailable')

    monkeypatch.setattr(supervisor_module, 'fork_worker', refuse)
    with supervisor._reactor:
        for _ in range(3):
            supervisor._fork_wanted()
            for slot in supervisor._group.slots:
                slot.want()
    os.close(supervisor._group.slots[0].slot.locks)
    assert logged.count('cannot fork a worker: Resource temporarily unavailable '
                        '(0 of 50 workers run)') == 1


LISTENS = APPLICATION + '\napp.listen(0)\n'


def test_each_address_is_announced_with_the_process_that_takes_signals(group, tmp_path):
    workers = group(*TWO)
    workers.end()
    (tmp_path / 'example.py').write_text(LISTENS)
    workers = group(*TWO)
    other = workers.process.stdout.readline()
    words = rf'running on http://127\.0\.0\.1:\d+ \(process {workers.process.pid}, press '
    assert re.match(words, other)
    assert other.split()[2] != workers.address


def test_each_line_of_the_log_names_its_process(group, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION + '''
@app.route('/log')
def log(**server):
    server['logger'].warning('here')
    return str(os.getpid())
''')
    workers = group(*TWO)
    pid = workers.get('/log')
    assert f' [{pid}] WARNING tremolo.' in workers.log or f' [{pid}] WARNING ' in workers.log

"""What tremolo/deployment.md says of one machine: a container, a release, logrotate.

There is no Docker and no systemd here. A container is what Linux makes of it: a first process of
its own, files that cannot be written, a user without a home and without capabilities. systemd's
part is a `systemctl` of ours, which does what it is told to do.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from deployment import APPLICATION, block, dockerfile, unit_file, variables
from test_rolling_release import Load

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='unshare')

# How often the log is rotated, and how many requests come meanwhile.
ROTATIONS = int(os.environ.get('DEPLOYMENT_ROTATIONS', 4))
REQUESTS = int(os.environ.get('DEPLOYMENT_REQUESTS', 800))

CONTAINED = '''
import os
import tremolo

app = tremolo.Tremolo()

@app.route('/')
def index(lock):
    with (yield lock.acquire()):
        yield ' '.join(map(str, [os.getuid(), os.getppid(), os.environ.get('HOME'), os.getcwd()]))

@app.route('/capabilities')
def capabilities():
    return open('/proc/self/status').read()

@app.route('/write')
def write():
    for place in '.', '/tmp', '/', os.path.dirname(tremolo.__file__):
        try:
            open(os.path.join(place, 'written'), 'w').close()
        except OSError:
            pass
        else:
            return place
    return 'nowhere'
'''


def get(port, path='/') -> str:
    with urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=PATIENCE) as answer:
        return answer.read().decode()


def port_of(process, log: Path) -> int:
    line = process.stdout.readline()
    assert line.startswith('running on '), line + log.read_text()
    return int(re.search(r':(\d+) ', line)[1])


@contextlib.contextmanager
def started(command, folder, environment):
    """Run a program; give it and the path of its log."""
    log = folder / 'stderr'
    with log.open('w') as errors:
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=errors, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# -- a container ----------------------------------------------------------------------------------


def contained(tool, folder, user: str) -> list[str]:
    """Return how a program is run as in a container whose user this is."""
    unshare = [tool('unshare'), '--pid', '--fork', '--mount', '--mount-proc', '--kill-child']
    who = []
    if os.geteuid():
        unshare.append('--map-root-user')    # (And it has no other user to become.)
    else:
        # (It may read all, as in an image of its own: here the folders of others are private.)
        capability = 'dac_read_search'
        uid, gid = user.split(':')
        who = [tool('setpriv'), f'--reuid={uid}', f'--regid={gid}', '--clear-groups',
               '--no-new-privs', f'--bounding-set=-all,+{capability}',
               f'--inh-caps=-all,+{capability}', f'--ambient-caps=-all,+{capability}']
    read_only = ' && '.join([
        f'mount --bind {folder} {folder}', f'mount -o remount,bind,ro {folder}',
        'mount --bind /tmp /tmp', 'mount -o remount,bind,ro /tmp', 'mount -o remount,bind,ro /'])
    return [*unshare, 'sh', '-c', f'{read_only} && cd {folder} && exec "$@"', 'sh', *who]


def test_a_container_serves_and_drains_without_a_file_a_home_or_a_capability(tool, tmp_path):
    image = dockerfile(block('Dockerfile', {'0.0.0.0': '127.0.0.1', 'DELAY=10': 'DELAY=0.5'}))
    run = block('run.sh')
    for option in '--read-only', '--cap-drop ALL', '--security-opt no-new-privileges':
        assert f' {option} ' in run
    python, *command = json.loads(image['CMD'][0])
    assert python == 'python' and image['EXPOSE'] == ['8000']
    (tmp_path / 'shop.py').write_text(CONTAINED)
    environment = {'PATH': os.environ['PATH'], 'PYTHONPATH': str(ROOT), 'TREMOLO_PORT': '0',
                   **variables(image['ENV'][0])}
    user, = image['USER']
    with started([*contained(tool, tmp_path, user), sys.executable, *command], tmp_path,
                 environment) as (process, log):
        port = port_of(process, log)
        pid = int(Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text())
        uid, parent, home, folder = get(port).split()
        assert (parent, home, folder) == ('1', 'None', str(tmp_path))
        assert get(port, '/write') == 'nowhere'
        if not os.geteuid():
            assert uid == user.split(':')[0]
            # (But for the one that this test gives it.)
            assert re.search(r'CapEff:\s*0*4\n', get(port, '/capabilities'))
        assert get(port, '/healthz') == 'ok\n'
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        with pytest.raises(urllib.error.HTTPError, match='503') as caught:
            while time.monotonic() < deadline:
                get(port, '/healthz')
        caught.value.close()
        assert get(port, '/write') == 'nowhere'    # (It serves on.)
        assert process.wait(PATIENCE) == 0
        lines = process.stdout.read().splitlines()
        # The access log is there, too; without the questions for its health.
        assert [each.split('"')[1] for each in lines if '"' in each] == [
            f'GET {path} HTTP/1.1' for path in (
                '/', '/write', *(() if os.geteuid() else ('/capabilities',)), '/write')]
        assert 'ERROR' not in log.read_text() and 'WARNING' not in log.read_text()


# -- one machine with systemd ---------------------------------------------------------------------


@pytest.fixture
def commands(tmp_path):
    """Give the environment in which the commands of the page run: a `systemctl`, a `python3`.

    `systemctl` signals the process whose id is in the file `pid`, and tells what it was asked to.
    `python3 -m venv` makes one without pip, which takes seconds; its `pip` does nothing.
    """
    folder = tmp_path / 'commands'
    folder.mkdir()
    for name, text in {
        'systemctl': f'''
            cd {tmp_path}
            echo "$*" >> asked
            test -e pid || exit 0
            case "$*" in
                "reload shop") exec kill -HUP $(cat pid);;
                "kill --kill-whom=main --signal=USR1 shop.service") exec kill -USR1 $(cat pid);;
            esac
            exit 1''',
        'python3': f'''
            test "$1 $2" = "-m venv" || exit 1
            {sys.executable} -m venv --without-pip "$3" && ln -s /bin/true "$3/bin/pip"''',
    }.items():
        (folder / name).write_text(f'#!/bin/sh\n{text}\n')
        (folder / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != 'PORT'}
    return {**environment, 'PATH': f'{folder}:{os.environ["PATH"]}', 'PYTHONPATH': str(ROOT),
            'PYTHONDONTWRITEBYTECODE': '1'}


def packed(folder, number, application) -> None:
    """Make the archive of a release."""
    (folder / 'shop.py').write_text(application)
    (folder / 'requirements.txt').write_text('')
    with tarfile.open(folder / f'shop-{number}.tar', 'w') as archive:
        for name in 'shop.py', 'requirements.txt':
            archive.add(folder / name, name)


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_release_and_the_way_back_lose_nothing_and_a_broken_one_changes_nothing(
        commands, tmp_path):
    site = tmp_path / 'srv' / 'shop'
    (site / 'releases').mkdir(parents=True)
    script = block('release.sh', {'/srv/shop': site})
    (tmp_path / 'release.sh').write_text(script)
    service = unit_file(block('shop.service', {'/srv/shop': site}))['Service']

    def release(number, application):
        packed(tmp_path, number, application)
        subprocess.run(['sh', 'release.sh', str(number)], cwd=tmp_path, env=commands, check=True,
                       timeout=PATIENCE)

    def application(number):
        return APPLICATION.replace('born = ', (
            f'import sys\nborn = f"{number} {{os.path.realpath(sys.prefix)}} " + '))

    release(1, application(1))
    name, _, value = service['Environment'].partition('=')
    with started(service['ExecStart'].split(), Path(service['WorkingDirectory']), {
            **commands, name: value, 'TREMOLO_PORT': '0', 'TREMOLO_WORKERS': '2'}) as (
                process, log):
        port = port_of(process, log)
        (tmp_path / 'pid').write_text(str(process.pid))
        with Load(port, pause=0.005) as load:
            def serves(number):    # By each of its workers.
                return all(get(port).startswith(f'{number} {site}/releases/{number}/venv ')
                           for _ in range(20))

            load.wait_for(100)
            assert serves(1)
            release(2, application(2))
            wait_until(lambda: serves(2))
            load.wait_for(load.count + 100)
            # Back: the last three lines.
            lines = script.splitlines()[-3:]
            subprocess.run(['sh', '-ec', f'new={site}/releases/1\n' + '\n'.join(lines)],
                           env=commands, check=True, timeout=PATIENCE)
            wait_until(lambda: serves(1))
            release(3, 'syntax error')
            wait_until(lambda: 'SyntaxError' in (site / 'releases/1/stderr').read_text())
            load.wait_for(load.count + 100)
            assert serves(1)
        assert load.wrong == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert (tmp_path / 'asked').read_text() == 'reload shop\n' * 4


def test_logrotate_loses_no_line_under_load(commands, tool, tmp_path):
    logs = tmp_path / 'logs'
    logs.mkdir(mode=0o755)
    config = tmp_path / 'shop'
    config.write_text(block('shop', {'/var/log/shop': logs}))
    config.chmod(0o644)
    (tmp_path / 'shop.py').write_text(APPLICATION)
    given = variables(block('shop.env', {'/var/log/shop': logs, '127.0.0.1:9100': 'unix:metrics',
                                         '/run/shop': '.', 'DELAY=10': 'DELAY=0'}))
    with started([sys.executable, '-m', 'tremolo', 'shop:app'], tmp_path, {
            **commands, 'TREMOLO_PORT': '0', **given}) as (process, log):
        port = port_of(process, log)
        (tmp_path / 'pid').write_text(str(process.pid))
        with Load(port, pause=0.002) as load:
            for number in range(1, ROTATIONS + 1):
                load.wait_for(number * REQUESTS // ROTATIONS)
                wait_until(lambda: (logs / 'access.log').exists()
                           and (logs / 'access.log').stat().st_size)
                subprocess.run([tool('logrotate'), '--force', '--state', tmp_path / 'state',
                                config], env=commands, check=True, timeout=PATIENCE)
        assert load.wrong == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert 'ERROR' not in log.read_text() and 'WARNING' not in log.read_text()
    names = sorted(each.name for each in logs.iterdir())
    assert names == sorted(['access.log', 'access.log.1', *(
        f'access.log.{number}.gz' for number in range(2, ROTATIONS + 1))])
    lines = 0
    for path in logs.iterdir():
        text = path.read_bytes()
        lines += (gzip.decompress(text) if path.suffix == '.gz' else text).count(b'\n')
    assert lines == load.count

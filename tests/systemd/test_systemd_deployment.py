"""The units of tremolo/deployment.md, started as systemd would start them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from deployment import APPLICATION, block, unit_file, variables
from managed import PATIENCE, get, listening

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def started(unit, folder, sock):
    """Start the service of the page with a socket of its socket unit; return both."""
    sockets = unit_file(block('shop.socket'))['Socket']
    host, port = sockets['ListenStream'].split(':')
    assert host == '127.0.0.1' and port.isdecimal()
    service = unit_file(block('shop.service'))['Service']
    python, *command = shlex.split(service['ExecStart'])
    assert python == service['WorkingDirectory'] + '/venv/bin/python'
    assert service['Sockets'] == 'shop.socket'
    assert service['EnvironmentFile'] == '/etc/shop.env'
    given = variables(block('shop.env', {
        '/var/log/shop': folder, '127.0.0.1:9100': 'unix:metrics', 'DELAY=10': 'DELAY=60',
        '/run/shop': '.', 'WORKERS=2': 'WORKERS=1'}))
    name, _, value = service['Environment'].partition('=')
    assert (name, value) == ('PWD', service['WorkingDirectory'])
    (folder / 'shop.py').write_text(APPLICATION)
    server = unit(command=command, sockets=[sock], WATCHDOG_USEC=str(
        int(service['WatchdogSec']) * 1_000_000), PWD=str(folder), **given)
    return server, service


def test_the_units_serve_reload_drain_and_stop(unit, tmp_path, monkeypatch):
    # (The path of a UNIX socket is short.)
    monkeypatch.chdir(tmp_path)
    with listening() as sock:
        server, service = started(unit, tmp_path, sock)
        assert service['Type'] == 'notify'
        assert server.ready()['MAINPID'] == str(server.process.pid)
        first = get(sock.getsockname())
        reload = [each.replace('$MAINPID', str(server.process.pid))
                  for each in shlex.split(service['ExecReload'])]
        subprocess.run(reload, check=True)
        said = server.told()
        while 'WATCHDOG' in said:
            said = server.told()
        assert 'RELOADING' in said
        server.ready()
        # (The old worker is told to leave before this, and may take one more before it hears it.)
        deadline = time.monotonic() + PATIENCE
        while get(sock.getsockname()) == first:
            assert time.monotonic() < deadline
        assert get(sock.getsockname(), '/healthz') == 'ok\n'
        assert service['KillMode'] == 'mixed'    # (The main process alone gets SIGTERM.)
        server.signal('SIGTERM')
        said = server.told()
        while 'STOPPING' not in said:
            said = server.told()
        # What it asks for (here 50 s more) is at most what it gets. All is served meanwhile.
        assert 0 < int(said['EXTEND_TIMEOUT_USEC']) / 1e6 - 50 < int(service['TimeoutStopSec'])
        while get(sock.getsockname(), '/healthz') == 'ok\n':
            pass
        assert get(sock.getsockname(), '/healthz') == 'stopping\n'
        assert get(sock.getsockname()) != first
        assert server.end('SIGINT') == 128 + signal.SIGINT    # (The delay is longer than this.)


@pytest.mark.parametrize('variable, status', [
    ({'TREMOLO_PORT': '10.0.0.1:8000'}, 2), ({'TREMOLO_WORKERS': 'many'}, 2)])
def test_an_option_that_is_wrong_has_the_status_that_the_unit_does_not_restart(
        unit, tmp_path, variable, status):
    (tmp_path / 'shop.py').write_text(APPLICATION)
    service = unit_file(block('shop.service'))['Service']
    assert service['RestartPreventExitStatus'] == str(status)
    # (And the limit of systemd, 5 starts in 10 s, is never reached.)
    assert int(service['RestartSec']) * 4 > 10 and service['Restart'] == 'on-failure'
    server = unit('shop:app', command=('-m', 'tremolo'), **variable)
    assert server.process.wait(60) == status
    name, = variable
    assert f'error: {name}: ' in server.log and len(server.log.splitlines()) == 1


def test_the_service_may_write_where_its_options_say():
    service = unit_file(block('shop.service'))['Service']
    given = variables(block('shop.env'))
    assert os.path.dirname(given['TREMOLO_ACCESS_LOGFILE']) == '/var/log/' + (
        service['LogsDirectory'])
    assert (service['ProtectSystem'], service['DynamicUser']) == ('strict', 'yes')

"""The units of README.md, started as systemd would start them."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import socket
import stat
import sys
from pathlib import Path

import pytest
from managed import ROOT, get, listening

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


class Unit(dict):
    """The values of each key of a section, in order; keys may come twice."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def units() -> dict[str, configparser.RawConfigParser]:
    chapter = re.search(r'(?ms)^## systemd$.*?(?=^## )', (ROOT / 'README.md').read_text())[0]
    found = {}
    for text in re.findall(r'(?ms)^```ini\n(.*?)^```$', chapter):
        name = Path(re.match('# (.*)', text)[1]).name
        found[name] = configparser.RawConfigParser(dict_type=Unit, strict=False)
        found[name].optionxform = str
        found[name].read_string(text)
    return found


def test_the_units_of_the_first_page_serve(unit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = units()
    assert set(both) == {'hello.socket', 'hello.service'}
    sockets = both['hello.socket']['Socket']
    service = both['hello.service']['Service']
    port, path = sockets['ListenStream'].split('\n')
    assert port.isdecimal() and path.startswith('/')
    tcp, unix = listening(), listening(socket.AF_UNIX, os.path.basename(path))
    os.chmod('hello.sock', int(sockets['SocketMode'], 8))
    python, *command = shlex.split(service['ExecStart'])
    assert os.path.isabs(python)
    (tmp_path / 'hello.py').write_text(
        "import tremolo\napp = tremolo.Tremolo()\napp.route('/')(lambda: 'first')\n")
    with tcp, unix:
        server = unit(command=tuple(command), sockets=[tcp, unix],
                      WATCHDOG_USEC=str(int(service['WatchdogSec']) * 1_000_000))
        assert service['Type'] == 'notify-reload'
        assert server.ready()['MAINPID'] == str(server.process.pid)
        for address in (tcp.getsockname(), 'hello.sock'):
            assert get(address) == 'first'
        assert server.end() == 0
        assert stat.S_IMODE(os.stat('hello.sock').st_mode) == 0o660
    # What the server needs at most is less than what it gets.
    assert int(service['TimeoutStopSec']) > 30 + 6

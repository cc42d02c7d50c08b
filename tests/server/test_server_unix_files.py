"""The file of a UNIX socket: its mode, and that the file of a newer server stays."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from tremolo import Tremolo
from tremolo.loop import Reactor, bind_unix
from tremolo.settings import parse_bind
from tremolo.workers.slot import Slot, open_first


@pytest.fixture
def path():
    # (The path of a UNIX socket may have 107 bytes, and that of `tmp_path` is sometimes longer.)
    with tempfile.TemporaryDirectory() as folder:
        yield f'{folder}/s'


@pytest.fixture(params=[0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize('bind, options, mode', [
    ('unix:{}', {}, 0o666),
    ('unix:{}', {'socket_mode': '660'}, 0o660),
    ('unix:{}?socket_mode=600', {'socket_mode': '660'}, 0o600),
])
def test_the_file_has_the_mode_that_was_asked_for(path, umask, bind, options, mode):
    with Tremolo().start(bind=bind.format(path), **options):
        assert mode_of(path) == mode
    assert not Path(path).exists()
    slot = Slot(open_first([parse_bind(bind.format(path))], 5, False,
                           int(options.get('socket_mode', '666'), 8)))
    assert mode_of(path) == mode
    slot.discard()
    assert not Path(path).exists()


def test_without_a_mode_the_umask_rules(path, umask):
    with Tremolo().start(bind=f'unix:{path}', socket_mode='off'):
        assert mode_of(path) == 0o777 & ~umask


def test_the_file_of_a_newer_server_stays(path):
    with Tremolo().start(bind=f'unix:{path}'):
        os.unlink(path)
        newer = socket.socket(socket.AF_UNIX)
        newer.bind(path)
    assert Path(path).is_socket()
    newer.close()


def test_the_supervisor_leaves_the_file_of_a_newer_server(path):
    slot = Slot(open_first([parse_bind(f'unix:{path}')], 5, False))
    os.unlink(path)
    with Reactor() as reactor, bind_unix(reactor, path):
        slot.discard()
        slot.discard()
        assert Path(path).is_socket()

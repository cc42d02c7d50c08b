"""The README is true: its programs run, and what it names exists."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated import World

from tremolo import loop
from tremolo.loop import timers
from tremolo.polling import poller

ROOM = Path(loop.__file__).parent
README = (ROOM / 'README.md').read_text(encoding='utf-8')
PROGRAMS = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
NAMES = ('blocking', 'callbacks', 'generators', 'futures', 'echo', 'chat')


@pytest.fixture
def started() -> Iterator[Any]:
    """Start programs that print their port; give a client for each."""
    processes, clients = [], []

    def start(*arguments: str) -> Any:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(ROOM.parent.parent)})
        processes.append(process)
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(b':')[2])

        def client() -> socket.socket:
            clients.append(socket.create_connection(('127.0.0.1', port), timeout=10))
            return clients[-1]

        return client

    yield start
    for client in clients:
        client.close()
    for process in processes:
        process.kill()
        process.communicate()


def read_line(sock: socket.socket) -> bytes:
    line = b''
    while not line.endswith(b'\n'):
        data = sock.recv(1)
        assert data, line
        line += data
    return line


@pytest.mark.parametrize('name', NAMES[:5])
def test_the_echo_servers_run(name: str, started: Any) -> None:
    client = started('-c', PROGRAMS[NAMES.index(name)])
    if name != 'blocking':
        # Somebody who says nothing is in nobody's way.
        client()
    sock = client()
    for line in (b'hello\n', b'again\n'):
        sock.sendall(line)
        assert read_line(sock) == line
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(10) == b''


def test_the_chat_server_runs(started: Any) -> None:
    client = started('-c', PROGRAMS[NAMES.index('chat')])
    ann, bob = client(), client()
    for sock, name in ((ann, b'ann'), (bob, b'bob')):
        assert sock.recv(11) == b'your name? '
        sock.sendall(name + b'\n')
        assert read_line(sock) == name + b' is here\n'
    assert read_line(ann) == b'bob is here\n'
    bob.sendall(b'hello\n')
    assert read_line(ann) == read_line(bob) == b'bob: hello\n'
    bob.close()
    assert read_line(ann) == b'bob has left\n'


def test_every_file_is_in_the_table_and_every_file_of_the_table_exists() -> None:
    table = README.partition('## The files')[2].partition('\n## ')[0]
    named = set(re.findall(r'`(\w+\.py)`', table))
    assert named == {path.name for path in ROOM.glob('*.py')} - {'__init__.py'}


def test_every_method_that_is_named_exists() -> None:
    places = {'EpollPoller': poller.EpollPoller, 'Timers': timers.Timers, 'World': World,
              **{name: getattr(loop, name) for name in loop.__all__}}
    reactor = World().reactor()
    places['Reactor'] = reactor
    named = set(re.findall(r'`([A-Z]\w+)\.(\w+)`', README))
    assert len(named) > 20
    for owner, name in sorted(named):
        if owner == 'Connection':
            source = (ROOM.parent / 'server' / 'connection.py').read_text(encoding='utf-8')
            assert f'def {name}(' in source
        else:
            assert hasattr(places[owner], name), f'{owner}.{name}'
    reactor.close()


def test_every_test_that_is_named_exists() -> None:
    tests = ''.join(path.read_text(encoding='utf-8') for path in Path(__file__).parent.glob('*.py'))
    for name in re.findall(r'`(test_\w+)`', README):
        assert f'def {name}(' in tests


def test_every_public_name_has_a_docstring() -> None:
    for name in loop.__all__:
        assert getattr(loop, name).__doc__, name


# What stands below this room.
BELOW = {'..adopting', '..errors', '..frames', '..output', '..polling.full_polls',
         '..polling.pauses', '..polling.poller', '..polling.pollers',
         '..sockets.kernel', '..sockets.outbox', '..sockets.transport', '..typed'}


def test_the_room_knows_nothing_of_what_is_above_it() -> None:
    # (bridge.py is the old address of a room above, and nothing here imports it.)
    for path in set(ROOM.glob('*.py')) - {ROOM / 'bridge.py'}:
        imports = re.findall(r'^ *(?:from|import) (\S+)', path.read_text(encoding='utf-8'), re.M)
        assert not {name for name in imports if name.startswith('..')} - BELOW
        assert 'asyncio' not in imports
        assert not {name for name in imports if name.startswith('tremolo')}

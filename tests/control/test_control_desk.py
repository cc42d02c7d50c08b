"""The control socket itself: what may stand at its path, and who removes it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from forked import start
from server_support import Client

from tremolo import Tremolo
from tremolo.control.desk import Desk
from tremolo.control.look import look
from tremolo.control.rows import END
from tremolo.loop import ListenError, Reactor

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(not hasattr(socket, 'AF_UNIX'), reason='UNIX sockets')


def opened(reactor: Reactor, path: object) -> Desk:
    def answer(stream):
        stream.write(END)
        stream.close()

    return Desk(reactor, str(path), answer)


def said(reactor: Reactor, client: Client) -> bytes:
    """Let the reactor turn until a client is told something."""
    client.sock.setblocking(False)
    while True:
        reactor.step(0.01)
        with suppress(BlockingIOError):
            return client.sock.recv(100)


def refused(reactor: Reactor, path: object) -> str:
    with pytest.raises(ListenError) as raised:
        opened(reactor, path)
    assert '\n' not in str(raised.value)
    return str(raised.value)


def test_it_is_for_its_owner_alone_and_removed_at_the_end(reactor, tmp_path):
    desk = opened(reactor, tmp_path / 'ctl')
    mode = (tmp_path / 'ctl').stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    desk.close()
    desk.close()
    assert not list(tmp_path.iterdir())


def test_what_is_no_socket_stays(reactor, tmp_path):
    (tmp_path / 'ctl').write_text('mine')
    assert 'no socket' in refused(reactor, tmp_path / 'ctl')
    assert (tmp_path / 'ctl').read_text() == 'mine'
    (tmp_path / 'link').symlink_to('ctl')
    assert 'no socket' in refused(reactor, tmp_path / 'link')
    assert 'no socket' in refused(reactor, tmp_path)


def test_the_socket_of_a_server_that_answers_stays(reactor, tmp_path):
    desk = opened(reactor, tmp_path / 'ctl')
    assert 'in use' in refused(reactor, tmp_path / 'ctl')
    client = Client(str(tmp_path / 'ctl'))
    assert said(reactor, client) == END
    client.close()
    desk.close()


def test_the_socket_of_a_dead_server_is_taken_over(reactor, tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / 'ctl'))
    opened(reactor, tmp_path / 'ctl').close()
    assert not list(tmp_path.iterdir())


def test_a_new_server_that_has_taken_the_path_keeps_it(reactor, tmp_path):
    old = opened(reactor, tmp_path / 'ctl')
    (tmp_path / 'ctl').unlink()
    new = opened(reactor, tmp_path / 'ctl')
    old.close()
    assert (tmp_path / 'ctl').exists()
    new.close()


def test_a_path_that_cannot_be_is_one_clear_line(reactor, tmp_path):
    assert 'No such file' in refused(reactor, tmp_path / 'missing' / 'ctl')
    assert 'too long' in refused(reactor, tmp_path / ('x' * 108))
    (tmp_path / 'file').write_text('')
    assert 'Not a directory' in refused(reactor, tmp_path / 'file' / 'ctl')


def test_an_end_in_a_forked_child_takes_nothing_from_the_parent(tmp_path):
    """As a supervisor forks a worker: the child closes the reactor, and then the desk."""
    with Reactor() as reactor:
        desk = opened(reactor, tmp_path / 'ctl')
        waiting = Client(str(tmp_path / 'ctl'))
        pid = os.fork()
        if not pid:
            try:
                reactor.close()
                desk.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert (tmp_path / 'ctl').exists()
        assert said(reactor, waiting) == END
        waiting.close()
        desk.close()


def test_a_start_that_fails_leaves_nothing(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ListenError):
        Tremolo().start(bind=f'unix:{tmp_path / "sock"}', control=str(tmp_path / 'file'))
    assert [each.name for each in tmp_path.iterdir()] == ['file']
    # The other way round: the control socket is the last that is opened.
    with pytest.raises(ListenError):
        Tremolo().start(bind=f'unix:{tmp_path / "file"}', control=str(tmp_path / 'ctl'))
    assert [each.name for each in tmp_path.iterdir()] == ['file']


@contextmanager
def program(fork_servers, folder, *arguments):
    """Serve in another process, whose log is a file; it ends with the block."""
    (folder / 'example.py').write_text('import tremolo\napp = tremolo.Tremolo()\n')
    with (folder / 'log').open('w') as log, start(
            fork_servers.get(False), ('-m', 'tremolo', 'example:app', *arguments), folder,
            {**os.environ, 'PYTHONPATH': str(ROOT)}, log.fileno()) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize('more', [(), ('--workers', '2')])
def test_a_start_that_fails_is_one_line_and_status_1(tmp_path, fork_servers, more):
    with program(fork_servers, tmp_path, '--bind', f'unix:{tmp_path}/sock',
                 '--control', str(tmp_path / 'log'), *more) as process:
        assert process.wait(PATIENCE) == 1
    assert (tmp_path / 'log').read_text() == (
        f'tremolo: error: control: cannot listen on unix:{tmp_path}/log: something that is no '
        'socket is there\n')
    assert not (tmp_path / 'sock').exists()


@pytest.mark.skipif(not hasattr(signal, 'SIGHUP'), reason='signals of POSIX')
def test_a_renewal_in_one_process_keeps_it_working(tmp_path, fork_servers):
    """SIGHUP: the program starts afresh in the same process, and listens at the same path."""
    path = str(tmp_path / 'ctl')
    with program(fork_servers, tmp_path, '--port', '0', '--control', path) as process:
        assert process.stdout.readline().startswith('running')
        # (A file system may give the same inode again.)
        first = os.stat(path).st_ctime_ns
        assert look(path)[0]['pid'] == process.pid
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline().startswith('running')
        assert look(path)[0]['pid'] == process.pid
        assert os.stat(path).st_ctime_ns != first
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert not os.path.exists(path)
    assert 'Traceback' not in (tmp_path / 'log').read_text()


@pytest.mark.skipif(sys.platform != 'linux', reason='SO_PEERCRED is on Linux')
def test_the_test_client_opens_none(tmp_path):
    app = Tremolo()
    with app.client(control=str(tmp_path / 'ctl')) as client:
        client.get('/')
        assert not list(tmp_path.iterdir())

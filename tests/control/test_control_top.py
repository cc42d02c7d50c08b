"""`python -m tremolo.top`: its arguments and statuses, and how it leaves the terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from server_support import request, serving

from tremolo import Tremolo, top
from tremolo.control import look as look_module
from tremolo.control.rows import END

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
# (As `-m tremolo.top`, but it looks more often.)
PROGRAM = '''
import sys
from tremolo import top
top._EVERY = 0.05
sys.exit(top.main(sys.argv[1:]))
'''
ENTERED, LEFT = '\x1b[?1049h', '\x1b[?25h\x1b[?1049l'


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / 'ctl')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(top, '_TWICE', 0.0)
    monkeypatch.delenv('TREMOLO_CONTROL', raising=False)


def failed(capsys, *arguments: str) -> tuple[int, str]:
    """Return the status and the one line that it says."""
    status = top.main(arguments)
    out, err = capsys.readouterr()
    assert not out and err.startswith('tremolo.top: ') and err.count('\n') == 1
    assert err.isascii() and err[:-1].isprintable()
    return status, err


@pytest.mark.parametrize('arguments, said', [
    ((), 'TREMOLO_CONTROL'), (('--once',), 'TREMOLO_CONTROL'), (('',), 'TREMOLO_CONTROL'),
    (('a', 'b'), 'one PATH'), (('--json', 'a'), '--once'), (('--tw\x1bice', 'a'), '--tw\\x1bice'),
    (('a\0b',), 'which server')])
def test_arguments_that_cannot_be_understood_are_status_2(capsys, arguments, said):
    status, line = failed(capsys, *arguments)
    assert status == 2 and said in line


def test_help_is_status_0(capsys):
    assert top.main(['--help']) == 0
    assert '--once' in capsys.readouterr().out


def test_where_no_server_is_it_is_status_1(capsys, path, tmp_path):
    assert failed(capsys, '--once', path) == (
        1, f"tremolo.top: no server answers at '{path}': No such file or directory\n")
    Path(path).write_text('')
    assert 'this is no socket' in failed(capsys, '--once', path)[1]
    assert 'too long' in failed(capsys, '--once', path + 'x' * 108)[1]
    assert '\\x1b' in failed(capsys, '--once', str(tmp_path / '\x1b[2J'))[1]


@pytest.mark.parametrize('said, why', [
    (b'', 'tells nothing'), (b'{"row"', 'in the middle'),
    (b'HTTP/1.1 400 Bad Request\r\n"end"}\n', 'no control socket'),
    (b'[]\n' + END, 'no control socket'), (b'{"row": "connection"}\n' + END, 'no control socket'),
    (b'{"row": "worker", "connections": 3}\n' + END, 'no control socket'),
    (b'[' * 100_000 + END, 'no control socket'),
    # (What is no number is no JSON either, and has no size.)
    *((b'{"row": "worker", "worker": 1, "pid": 1, "state": "x", "beat": %s}\n' % beat + END,
       'no control socket') for beat in (b'NaN', b'-Infinity', b'1e999', b'9' * 400))])
def test_what_is_no_answer_is_status_1(capsys, path, said, why):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()

        def answer() -> None:
            client, _ = sock.accept()
            with client:
                client.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        status, line = failed(capsys, '--once', path)
        thread.join()
    assert status == 1 and why in line


def test_a_loop_that_hangs_is_named_with_its_process(capsys, path, monkeypatch):
    monkeypatch.setattr(look_module, 'PATIENCE', 0.05)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen(0)
        status, line = failed(capsys, '--once', path)
        assert status == 1 and 'no answer for 0.05 s: a handler holds the loop' in line
        if sys.platform == 'linux':
            assert f'of process {os.getpid()} (`kill -USR2 {os.getpid()}` tells where)' in line
            # (How many wait in a queue of 0 is the system's affair.)
            assert any('so many wait' in failed(capsys, '--once', path)[1] for _ in range(9))


def test_without_a_terminal_it_prints_one_table(capsys, path, monkeypatch):
    monkeypatch.setenv('TREMOLO_CONTROL', path)
    with serving(Tremolo(), control=path):
        assert top.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith('server, process ') and 'no connections' in out


def test_json_is_one_object_a_connection(capsys, path):
    app = Tremolo()

    @app.route('/')
    def index():
        return ''

    with serving(app, control=path) as server:
        for _ in range(3):
            server.connect(request('/')).take()
        assert top.main(['--once', '--json', path]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row['phase'] for row in found] == ['idle'] * 3
    assert all({'out_rate', 'client', 'waits'} <= {*row} and 'row' not in row for row in found)


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, path: str, columns: int = 100, lines: int = 10,
                 in_session: bool = True) -> None:
        """Start it in a session of its own, whose terminal this is, or in this one."""
        self.ours, theirs = pty.openpty()
        self._terminal = theirs
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1'}
        self.process = subprocess.Popen(
            [sys.executable, '-c', PROGRAM, path], stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment, start_new_session=in_session,
            preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0) if in_session else os.setpgrp)
        self.text = ''

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack('4H', lines, columns, 0, 0))

    def until(self, pattern: str) -> str:
        """Read until this has come since the last call; return what came."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            assert time.monotonic() < end, self.text
            if select.select([self.ours], [], [], 1)[0]:
                self.text += os.read(self.ours, 65536).decode()
        text, self.text = self.text[:found.end()], self.text[found.end():]
        return text

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def end(self, status: int) -> None:
        """Expect the end, with the terminal as it was."""
        self.until(re.escape(LEFT))
        assert self.process.wait(PATIENCE) == status
        assert termios.tcgetattr(self._terminal) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._terminal)


def test_the_table_lives_and_a_server_that_goes_away_is_looked_for(path):
    app = Tremolo()

    @app.route('/')
    def index(app):
        yield b''
        yield app.stopping

    with closing(Terminal(path)) as terminal:
        shown = terminal.until('no server answers')
        assert ENTERED in shown and 'looking again' in shown
        with serving(app, control=path) as server:
            server.connect(request('/?' + 'x' * 150))
            terminal.until(r"GET '/\?x+\.\.")
            terminal.press('s')
            terminal.until('by rate')
            terminal.resize(60, 5)
            terminal.process.send_signal(signal.SIGWINCH)
            # Each picture begins at the top, and its lines fit from now on.
            terminal.until(r'\x1b\[H.{1,60}\x1b\[K\r\n')
            picture = terminal.until(r'\x1b\[H[^\x1b]{1,60}\x1b\[K.*?\x1b\[J')
            lines = picture[picture.rindex('\x1b[H') + 3:].split('\x1b[K\r\n')
            assert len(lines) <= 5
            assert all(len(re.sub(r'\x1b\[.', '', line)) <= 60 for line in lines)
        terminal.until('looking again')
        terminal.press('q')
        terminal.end(0)


@pytest.mark.parametrize('how, status', [
    ('SIGTERM', 143), ('SIGHUP', 129), ('Ctrl-C', 130), ('Ctrl-\\', 131)])
def test_the_terminal_is_left_as_it_was(path, how, status):
    with closing(Terminal(path)) as terminal:
        terminal.until('looking again')
        if how.startswith('Ctrl'):
            terminal.press(chr(ord(how[-1]) & 31))
        else:
            terminal.process.send_signal(getattr(signal, how))
        terminal.end(status)
        assert 'Traceback' not in terminal.text


def test_signals_that_come_one_after_the_other_do_not_keep_the_terminal_from_being_put_back(path):
    with closing(Terminal(path)) as terminal:
        terminal.until('looking again')
        for _ in range(20):
            terminal.process.send_signal(signal.SIGTERM)
        terminal.end(143)


def test_it_can_be_suspended(path):
    # (In a session of its own there would be no shell that could let it go on: it never stops.)
    with closing(Terminal(path, in_session=False)) as terminal:
        terminal.until('looking again')
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.until(re.escape(LEFT))
        assert os.WIFSTOPPED(os.waitpid(terminal.process.pid, os.WUNTRACED)[1])
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(re.escape(ENTERED))
        terminal.press('q')
        terminal.end(0)

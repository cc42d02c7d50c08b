"""At the limit of descriptors: the first use of everything, in a server that has one to spare.

The application (limit_site.py) notes what is imported and opened once it serves. Its only spare
descriptor is taken by the connection of the client that asks.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server_support import answers, request
from test_start import ROOT, UPLOAD, ask

from tremolo.late import Reserve
from tremolo.loop import Reactor

HERE = Path(__file__).resolve().parent
PATIENCE = 60
SOCKET = ('Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
          'Sec-WebSocket-Extensions: permessage-deflate')
COMPRESSED = b'\xc1'    # How a text begins that is compressed.
CLOSE = b'\x88\x02\x03\xe8'    # The frame in which the server closes.
FILE = (b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nabc\r\n--b--\r\n')
MULTIPART = 'Content-Type: multipart/form-data; boundary=b'
FORM = 'Content-Type: application/x-www-form-urlencoded'

# One after the other on one connection: the request, the status, and what is in the body.
KEPT: list[tuple[bytes, int, bytes]] = [
    (request('/generator'), 200, b'ab'),
    (request('/plain?a=%20b', 'GET', 'Cookie: a=b; c="d"'), 200, b'127.0.0.1'),
    (request('/thread'), 200, b'{"a": 1}'),
    (request('/async'), 200, b'x'),
    (request('/async', 'POST', 'Expect: 100-continue', body=b'ab'), 200, b'ab'),
    (request('/chunks'), 200, b'ab'),
    (request('/tasks'), 200, b"[1, 2, '3']"),
    (request('/signed', 'GET', 'Cookie: c=d.1.e'), 200, b'None'),
    (request('/json', 'POST', 'Accept: text/html;q=0.5', body=b'{"a":1}'), 200, b'text/html'),
    (request('/json', 'POST', body=b'{'), 400, b''),
    (request('/form', 'POST', FORM, body=b'a=%20b'), 200, b'a'),
    (b'POST /form' + UPLOAD, 200, b'x'),
    (request('/there'), 303, b'See Other'),
    (request('/page/3/a/b'), 200, b'/page/4/a/b'),
    (request('/page/x/y'), 404, b'nothing at /page/x/y'),
    (request('/uuid/12345678-1234-5678-1234-567812345678/1.5'), 200, b'1.5'),
    (request('/refused'), 418, b'no'),
    (request('/fail'), 500, b''),
    (request('/fail-async'), 500, b''),
    (request('/fail-thread'), 500, b''),
    (request('/wrong'), 500, b''),
    (request('/dropped'), 200, b'dropped'),
    (request('/log'), 200, b'logged'),
    (request('/events', 'GET', 'Last-Event-ID: 5'), 200, b'data: c'),
    (request('/events-async'), 200, b'data: a'),
    (request('/nothing'), 404, b'nothing at /nothing'),
    (request('/thread', 'PUT'), 405, b''),
    (request('/form', 'OPTIONS'), 204, b''),
    (request('/spawned'), 200, b'spawned'),
    # What needs a descriptor of its own says so.
    (request('/file'), 503, b''),
    (request('/attached'), 503, b''),
    (request('/static/limit_site.py', 'GET', 'Range: bytes=0-3'), 503, b''),
    (request('/static/none'), 503, b''),
    (request('/upload', 'POST', MULTIPART, body=FILE), 503, b''),
    # What is imported late by others finds the one that is kept for that.
    (request('/late'), 200, b'late and later 2001 1'),
    (request('/late-thread'), 200, b'too'),
    (request('/late-async'), 200, b'again'),
    (request('/noted', 'GET', 'Connection: close'), 200, b''),
]
# Each on a connection of its own: what is in the answer.
ALONE: list[tuple[bytes, bytes]] = [
    (request('/fail-later'), b'xxx'),
    (request('/socket', 'GET', *SOCKET), COMPRESSED),
    (request('/socket-async', 'GET', *SOCKET), COMPRESSED),
    (request('/socket-denied', 'GET', *SOCKET), b'403 '),
    (request('/members', 'GET', *SOCKET), COMPRESSED),
    (b'bad\r\n\r\n', b' 400 '),
    (b'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', b' 400 '),
    (request('/', 'GET', 'X: ' + 'a' * 70000), b' 431 '),
    (request('a:1', 'CONNECT'), b' 501 '),
    (b'GET /generator HTTP/1.0\r\n\r\n', b'\r\n\r\nab'),
]
# What is opened once it serves: lines of source for a traceback, if there is room for them; files
# that are asked for; and the advice for a mistake, which is left out if it cannot be imported. (And
# on PyPy the source of random bytes: for the boundary of several ranges of a file.)
NAMED = re.compile(
    r"open .*\.py|open /dev/urandom|open (?:b'|\d|\.upload-).*|(?:import|open) .*mistakes.habits.*")


class Site:
    """The server, and what it has written to stderr."""

    def __init__(self, process: Any, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = int(re.match(r'running on http://127\.0\.0\.1:(\d+) ',
                                 process.stdout.readline())[1])

    @property
    def log(self) -> str:
        return (self.folder / 'stderr').read_text()

    def until(self, condition: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log
            time.sleep(0.01)

    def seconds(self) -> float:
        """Return the seconds of the processor that it has taken."""
        fields = Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


@contextmanager
def site(folder: Path, spare: str, *options: str) -> Iterator[Site]:
    for name, text in (('imported_late', 'import even_later\nNAME = "late and later"'),
                       ('even_later', ''), ('imported_late_too', 'NAME = "too"'),
                       ('imported_late_again', 'NAME = "again"')):
        (folder / f'{name}.py').write_text(text)
    paths = os.pathsep.join(map(str, (ROOT, HERE, folder)))
    with open(folder / 'stderr', 'wb') as stderr:
        process = subprocess.Popen(
            [sys.executable, '-S', '-m', 'tremolo', 'limit_site:app', '--port', '0', *options],
            cwd=folder, env={**os.environ, 'PYTHONPATH': paths, 'SPARE': spare},
            stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        yield Site(process, folder)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def talk(port: int, handshake: bytes) -> bytes:
    """Open a WebSocket; return all that is sent before its server closes it."""
    with socket.create_connection(('127.0.0.1', port), PATIENCE) as client:
        client.sendall(handshake)
        answer = b''
        while CLOSE not in answer:
            answer += client.recv(65536)
        return answer


def asked(port: int, few: bool = True) -> list[str]:
    """Ask for everything, while descriptors are `few` or not; return what was noted."""
    for sent, part in ALONE:
        answer = talk(port, sent) if part == COMPRESSED else ask(port, sent)
        assert part in answer, (sent[:60], answer)
    kept = KEPT if few else [each for each in KEPT if not each[0].startswith(b'GET /late')]
    got = answers(ask(port, b''.join(sent for sent, *_ in kept)))
    for (sent, status, part), answer in zip(kept, got):
        if status == 503 and few:
            assert answer.headers['retry-after'] == '1'
        elif status == 503:
            status = 404 if b'none' in sent else 206 if b'Range' in sent else 200
        assert answer.status == status and part in answer.body, (sent[:60], answer)
    assert len(got) == len(kept)
    return json.loads(got[-1].body)


def test_the_first_use_of_everything_is_right_at_the_limit(tmp_path):
    with site(tmp_path, '1') as server:
        asked(server.port)
        before = server.seconds()
        time.sleep(0.5)
        assert server.seconds() - before <= 0.1
    # (The last line of the traceback of an import that has failed.)
    assert 'OSError: [Errno 24]' not in server.log
    assert server.log.count('503 for who needs a file: Too many open files') == 1
    assert server.log.count('no new connections for now') <= 2


def test_nothing_is_imported_or_opened_once_it_serves_but_what_is_named(tmp_path):
    with site(tmp_path, '') as server:
        noted = asked(server.port, few=False)
    named = {each for each in noted if NAMED.fullmatch(each)}
    if sys.flags.dev_mode or sys.version_info >= (3, 14):
        # In development mode asyncio looks for the source of each task, and the tests' server has
        # it. From CPython 3.14 on a traceback does, too; in 3.15 it imports what has its colours.
        named |= {'open <unknown>'}
    if sys.version_info >= (3, 15):
        named |= {each for each in noted if '_colorize' in each}
    assert noted and set(noted) <= named


def test_signals_control_and_metrics_at_the_limit(tmp_path):
    log, old = tmp_path / 'log', tmp_path / 'old'
    options = '--access-logfile=log', '--control=ctl', '--metrics=unix:metrics'
    others = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    with site(tmp_path, '1', *options) as server:
        # (Its connection has the last descriptor.)
        with socket.create_connection(('127.0.0.1', server.port), PATIENCE) as client:
            client.sendall(request('/thread'))
            assert client.recv(65536)
            log.rename(old)
            server.process.send_signal(signal.SIGUSR1)
            server.until(lambda: 'the old file is kept' in server.log)
            for other, name in zip(others, ('ctl', 'metrics')):
                other.settimeout(PATIENCE)
                other.connect(str(tmp_path / name))
            others[1].sendall(b'GET /metrics HTTP/1.0\r\n\r\n')
            # (For the third of them nobody waits: it has tried to take the next one.)
            server.until(lambda: server.log.count('no new connections for now') == 3)
            before = server.seconds()
            time.sleep(0.3)
            assert server.seconds() - before <= 0.1
            server.process.send_signal(signal.SIGHUP)
            server.until(lambda: 'no renewal: the new program cannot be tried' in server.log)
            client.sendall(request('/forever'))
            server.until(lambda: 'it has begun' in server.log)
            server.process.send_signal(signal.SIGUSR2)
            server.until(lambda: "GET '/forever'" in server.log)
            server.until(lambda: '/thread' in old.read_text())
            assert not log.exists()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        for other in others:
            with other:
                assert other.recv(65536)
        ask(server.port, request('/page/3/a'))
        server.until(lambda: log.exists() and '/page/3/a' in log.read_text())
    assert 'Current thread 0x' in server.log
    assert server.log.count('the old file is kept') == 1
    assert server.log.count('no new connections for now') == 3


def test_a_descriptor_for_imports_comes_back_when_the_import_of_a_thread_is_over(
        tmp_path, monkeypatch):
    """It came back after 0.1 s: a thread that took longer failed to import."""
    (tmp_path / 'imported_by_thread.py').write_text(
        'import sys\nsys.begun.set()\nsys.go_on.wait()\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(sys, 'begun', begun, raising=False)
    monkeypatch.setattr(sys, 'go_on', go_on, raising=False)
    now = [1000.0]
    with Reactor(clock=lambda: now[0]) as reactor:
        reactor.step(0)
        reserve = Reserve(reactor)
        none_left = monkeypatch.context()
        with none_left as patched:
            def refuse(fd):
                raise OSError(errno.EMFILE, 'Too many open files')

            patched.setattr(os, 'dup', refuse)
            thread = threading.Thread(target=__import__, args=('imported_by_thread',))
            thread.start()
            assert begun.wait(PATIENCE)
        for _ in range(5):
            now[0] += 1
            reactor.step(0)
            assert reserve._fd < 0
        go_on.set()
        thread.join()
        for _ in range(3):
            now[0] += 1
            reactor.step(0)
        assert reserve._fd >= 0
        reserve.close()
    del sys.modules['imported_by_thread']


def test_a_thread_that_begins_to_import_as_the_loop_takes_the_descriptor_back_gets_it(monkeypatch):
    """It looked for the descriptor before it was taken back, and had none."""
    with Reactor() as reactor:
        reactor.step(0)
        reserve = Reserve(reactor)
        fd, reserve._fd = reserve._fd, -1
        os.close(fd)

        def take_back() -> bool:
            reserve._take()
            return False

        def refuse(fd):
            raise OSError(errno.EMFILE, 'Too many open files')

        with monkeypatch.context() as patched:
            patched.setattr(reactor, 'in_loop_thread', take_back)
            patched.setattr(os, 'dup', refuse)
            reserve.find_spec('anything')
        assert reserve._fd < 0    # (Given up.)
        reserve.close()

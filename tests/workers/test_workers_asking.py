"""The control socket of a supervisor: what each worker tells, and those that tell nothing."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from control_scene import APPLICATION, differs, seen, staged
from worker_group import PATIENCE, TWO, wait_until

from tremolo import top
from tremolo.control.look import Look, LookFailed, look
from tremolo.control.rows import END, line
from tremolo.loop.stream import Stream
from tremolo.workers import asking

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')


def address(workers):
    host, port = workers.address[7:].split(':')
    return host, int(port)


def workers_in(rows):
    return {row['worker']: row for row in rows if row['row'] == 'worker'}


def serving(rows, count=2):
    states = [row['state'] for row in workers_in(rows).values()]
    return states == ['serves'] * count


@pytest.fixture
def scene(group, tmp_path):
    (tmp_path / 'example.py').write_text(APPLICATION)
    return group(*TWO, '--control', str(tmp_path / 'ctl'))


def test_two_workers_tell_of_their_connections_and_one_that_hangs_is_named(
        scene, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(top, '_TWICE', 0.0)
    path = str(tmp_path / 'ctl')
    rows = seen(path, serving)
    with staged(address(scene)):
        rows = seen(path, lambda rows: not differs(rows))
        processes = workers_in(rows)
        assert {*processes} == {1, 2} and {row['pid'] for row in processes.values()} == scene.pids
        pids = {number: row['pid'] for number, row in processes.items()}
        for row in rows:
            assert row['pid'] == pids[row['worker']]
        # One worker hangs; the other one tells as before.
        client = scene.connect()
        client.sendall(b'GET /spin HTTP/1.1\r\nHost: x\r\n\r\n')
        rows = seen(path, lambda rows: 'does not answer' in str(rows))
        (silent,) = [row for row in rows if row.get('state') == 'does not answer']
        assert silent['pid'] == pids[silent['worker']] and silent['beat'] < PATIENCE
        other = 3 - silent['worker']
        assert workers_in(rows)[other]['state'] == 'serves'
        assert top.main(['--once', path]) == 0
        assert f'`kill -USR2 {silent["pid"]}` tells where' in capsys.readouterr().out
        os.kill(silent['pid'], signal.SIGUSR2)
        wait_until(lambda: "GET '/spin'" in scene.log)
        # It is replaced: the new one tells.
        os.kill(silent['pid'], signal.SIGKILL)
        rows = seen(path, serving)
        assert workers_in(rows)[silent['worker']]['pid'] not in pids.values()
        client.close()


def test_a_renewal_keeps_it_and_the_end_removes_it(scene, tmp_path):
    path = str(tmp_path / 'ctl')
    first = {row['pid'] for row in seen(path, serving)}
    inode = os.stat(path).st_ino
    scene.signal('SIGHUP')
    seen(path, lambda rows: serving(rows) and not first & {row['pid'] for row in rows})
    assert os.stat(path).st_ino == inode
    scene.signal('SIGTTIN')
    seen(path, lambda rows: serving(rows, 3))
    assert scene.end('SIGTERM') == 0
    assert not os.path.exists(path)
    with pytest.raises(LookFailed):
        look(path)
    assert 'Traceback' not in scene.log


def test_two_who_look_at_the_same_time_are_both_told(scene, tmp_path):
    path = str(tmp_path / 'ctl')
    pids = [row['pid'] for row in workers_in(seen(path, serving)).values()]

    def both():
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        looks = [Look(path), Look(path)]
        select.select(looks, [], [], 0.1)    # (Both ask, before any worker tells.)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        for each in looks:
            while each.rows is None:
                select.select([each], [], [], PATIENCE)
                each.readable()
        return all(serving(each.rows) for each in looks)

    # (Where all is so slow that a worker needs a second, it is said to be silent.)
    wait_until(both)


def test_a_worker_that_hangs_in_the_middle_of_its_rows_holds_up_nobody(reactor, monkeypatch):
    """(Its rows began, and the supervisor waited for the rest: whoever looked was told nothing.)"""
    monkeypatch.setattr(asking, '_PROMPT', 0.05)
    sent = []
    channel = SimpleNamespace(send=lambda kind, theirs: sent.append(theirs))
    workers = [SimpleNamespace(pid=pid, state=None, slot=slot, channel=channel, beat=1.0)
               for pid, slot in ((41, 'one'), (42, 'two'))]
    group = SimpleNamespace(
        slots=[SimpleNamespace(slot=each.slot, worker=each) for each in workers],
        workers={each.pid: each for each in workers})
    client, ours = socket.socketpair()
    ours.setblocking(False)
    asker = asking.Asking('none')
    stream = Stream(reactor, ours)
    stream.receiver = SimpleNamespace(
        data_received=print, eof_received=print, stream_closed=lambda cause: None)
    stream.start()
    asking.Answer(asker, group, stream)
    hangs, tells = sent
    hangs.sendall(line({'row': 'worker', 'worker': 1, 'pid': 41, 'state': 'serves'}))
    tells.sendall(line({'row': 'worker', 'worker': 2, 'pid': 42, 'state': 'serves'}))
    deadline = time.monotonic() + PATIENCE
    while not any(part.begun for part in asker.parts):
        assert time.monotonic() < deadline
        reactor.step(0.01)
    tells.sendall(END)
    client.setblocking(False)
    got = b''
    while not got.endswith(END):
        assert time.monotonic() < deadline, got
        reactor.step(0.01)
        with suppress(BlockingIOError):
            got += client.recv(65536)
    rows = [json.loads(each) for each in got.splitlines()][:-1]
    assert [(row['pid'], row['state']) for row in rows if row['state'] != 'serves'] == [
        (41, 'does not answer')]
    assert {row['pid'] for row in rows if row['state'] == 'serves'} == {41, 42}
    for each in (client, hangs, tells):
        each.close()
    asker.close()

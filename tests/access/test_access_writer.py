"""LogWriter: lines from the loop reach the file in time, and nothing holds the loop."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_access_log_file import room, stdout_is

from tremolo.access import writer
from tremolo.access.log_file import cut_json
from tremolo.access.writer import LogWriter, close_all, reopen_all
from tremolo.errors import LogError
from tremolo.service.beginning import outlive_signals


@pytest.fixture
def opened(reactor, tmp_path):
    """Give what opens a writer of a file, and closes it."""
    made = []

    def open_writer(path=tmp_path / 'log', shared=True):
        made.append(LogWriter(reactor, str(path), shared))
        return made[-1]

    yield open_writer
    for each in made:
        each.close()


@pytest.fixture
def said():
    """Give the messages of the log from INFO on."""
    messages = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger('tremolo')
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(before)
    logger.removeHandler(handler)


def dropped(message):
    """How many lines were dropped, as a message of the log has it."""
    return int(re.search('([0-9]+) lines were dropped|$', message)[1] or 0)


def read_all(fd):
    """Read a pipe to its end, and close it."""
    with open(fd, 'rb') as file:
        return file.read()


def turn_until(reactor, condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        reactor.step(0.01)


def test_a_line_is_in_the_file_a_moment_later(reactor, tmp_path, opened):
    log, began = opened(), reactor.time()
    log.write(b'one\n')
    log.write(b'two\n')
    turn_until(reactor, lambda: (tmp_path / 'log').read_bytes() == b'one\ntwo\n')
    assert reactor.time() - began >= 0.25 - 0.01
    # Nothing wakes the loop while nothing is written.
    turn_until(reactor, lambda: not reactor.timers.next_deadline() < 1e9)
    log.write(b'three\n')
    turn_until(reactor, lambda: (tmp_path / 'log').read_bytes() == b'one\ntwo\nthree\n')


def test_many_lines_do_not_wait(reactor, tmp_path, opened):
    log = opened()
    line = b'x' * 1023 + b'\n'
    for _ in range(65):
        log.write(line)
    deadline = time.monotonic() + 30
    while (tmp_path / 'log').stat().st_size < 65 * 1024:    # (The loop does not turn.)
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_slow_pipe_does_not_hold_the_loop_and_what_is_dropped_is_told(
        reactor, opened, logged, monkeypatch):
    monkeypatch.setattr(writer, '_LAST', 5.0)
    ours, theirs = os.pipe()
    with stdout_is(theirs):
        log = opened('-')
    lines = [b'%06d %s\n' % (n, b'x' * 500) for n in range(8000)]
    began = time.monotonic()
    for line in lines:    # 4 MB, and nobody reads.
        log.write(line)
    assert time.monotonic() - began < 1.0
    assert not fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(theirs)
    turn_until(reactor, lambda: logged.messages)
    assert re.fullmatch('the log on stdout: [0-9]+ lines were dropped: they are taken too slowly',
                        logged.messages[0])
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read_all, ours)
        log.write(b'last\n')
        log.close()
    found = reading.result().splitlines(keepends=True)
    lost = sum(map(dropped, logged.messages))
    # What waits is 1 MiB at most; and the pipe has 64 KiB.
    assert (1 << 20) - (1 << 17) < 508 * (8000 - lost) < (1 << 20) + (1 << 17)
    assert len(found) == 8001 - lost
    assert set(found) <= {*lines, b'last\n'} and found == sorted(set(found))
    assert len(logged.messages) <= 2


def test_a_pipe_that_others_have_made_non_blocking_is_waited_for(reactor, opened):
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with stdout_is(theirs):
        log = opened('-')
    os.close(theirs)
    lines = b''.join(b'%06d %s\n' % (n, b'x' * 50) for n in range(8000))
    log.write(lines)
    got = b''
    while len(got) < len(lines):
        got += os.read(ours, 1 << 16)
    assert got == lines
    log.close()
    os.close(ours)


def test_a_disk_that_fills_and_comes_back_costs_no_line(
        reactor, tmp_path, opened, logged, said, monkeypatch):
    monkeypatch.setattr(writer, '_AGAIN', 0.01)
    monkeypatch.setattr(writer, '_QUIET', 0.05)
    log, path = opened(), tmp_path / 'log'
    lines = [b'%06d\n' % n for n in range(1000)]
    with room(703):
        for line in lines:
            log.write(line)
        turn_until(reactor, lambda: logged.messages)
    turn_until(reactor, lambda: len(said) == 2)
    log.close()
    assert path.read_bytes() == b''.join(lines)
    assert said == [f'the log {path} cannot be written: File too large',
                    f'the log {path} can be written again']


def test_a_disk_that_stays_full_drops_lines_and_says_how_many_but_not_often(
        reactor, tmp_path, opened, logged, monkeypatch):
    monkeypatch.setattr(writer, '_AGAIN', 0.01)
    log, path = opened(), tmp_path / 'log'
    lines = [b'%06d %s\n' % (n, b'x' * 500) for n in range(8000)]
    with room(5080):
        for line in lines[:200]:
            log.write(line)
        turn_until(reactor, lambda: logged.messages)
        for line in lines[200:]:
            log.write(line)
        reactor.step(0)
        # (Ten seconds have not passed.)
        assert logged.messages == [f'the log {path} cannot be written: File too large']
    turn_until(reactor, lambda: path.stat().st_size > 900_000)
    log.write(b'later\n')
    log.close()
    found = path.read_bytes().splitlines(keepends=True)
    assert found.pop() == b'later\n'
    assert set(found) <= set(lines) and found == sorted(set(found))
    assert path.stat().st_size <= (1 << 20) + 6000
    assert sum(map(dropped, logged.messages)) == 8000 - len(found)
    assert 'dropped: File too large' in logged.messages[-1]


def test_at_the_end_what_cannot_be_written_is_told_and_not_waited_for(
        reactor, opened, logged, monkeypatch):
    monkeypatch.setattr(writer, '_LAST', 0.05)
    ours, theirs = os.pipe()
    with stdout_is(theirs):
        log = opened('-')
    os.close(theirs)
    line = b'x' * 999 + b'\n'
    for _ in range(200):
        log.write(line)
    began = time.monotonic()
    log.close()
    log.close()
    assert time.monotonic() - began < 5.0
    (told,) = logged.messages
    lost = dropped(told)
    got = 0
    while got < (200 - lost) * 1000:
        got += len(os.read(ours, 1 << 16))
    # (What it was held in may come or not.)
    assert lost
    os.close(ours)
    log._thread.join(30)
    assert not log._thread.is_alive()


def test_what_a_stopped_reader_finds_and_what_was_dropped_are_all_lines(
        reactor, opened, monkeypatch, logged):
    """(A batch that write(2) held was dropped as a whole, though half of it was in the pipe.)"""
    monkeypatch.setattr(writer, '_LAST', 0.1)
    ours, theirs = os.pipe()
    with stdout_is(theirs):
        log = opened('-', shared=False)
    os.close(theirs)
    for number in range(20000):
        log.write(b'line %d\n' % number)
    deadline = time.monotonic() + 30
    while log._file.wait(0):    # Until the pipe is full.
        assert time.monotonic() < deadline
    log.close()
    os.set_blocking(ours, False)
    got = os.read(ours, 1 << 20)
    os.close(ours)
    log._thread.join(30)
    assert got.endswith(b'\n')
    assert got.count(b'\n') + sum(map(dropped, logged.text.splitlines())) == 20000


def test_a_handler_that_holds_up_the_loop_does_not_hold_up_the_lines(
        reactor, tmp_path, opened, monkeypatch):
    """(They may be the last: who hangs is killed. And a second is a second.)"""
    monkeypatch.setattr(writer, '_AGAIN', 0.02)
    log = opened()
    for number in range(3):    # No turn of the loop is between them.
        log.write(b'line %d\n' % number)
        deadline = time.monotonic() + 30
        while (tmp_path / 'log').read_bytes().count(b'\n') <= number:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    log.write(b'last\n')
    log.close()
    assert (tmp_path / 'log').read_bytes() == b'line 0\nline 1\nline 2\nlast\n'


def test_lines_are_neither_lost_nor_doubled_while_both_take_them(
        reactor, tmp_path, opened, monkeypatch):
    monkeypatch.setattr(writer, '_AGAIN', 0.0001)
    monkeypatch.setattr(writer, '_BATCH', 1000)
    log = opened()
    lines = [b'%d\n' % number for number in range(20000)]
    for line in lines:
        log.write(line)
    log.close()
    assert (tmp_path / 'log').read_bytes() == b''.join(lines)


def test_it_is_opened_anew_and_no_line_is_lost(reactor, tmp_path, opened):
    log, path = opened(), tmp_path / 'log'
    for number in range(50):
        log.write(b'%d\n' % number)
        if not number % 10:
            path.rename(tmp_path / f'log.{number}')
            log.reopen()
            turn_until(reactor, path.exists)
    log.close()
    found = b''.join(each.read_bytes() for each in tmp_path.iterdir())
    assert sorted(map(int, found.split())) == list(range(50))


def test_a_signal_that_comes_while_the_file_is_opened_is_heeded(
        tmp_path, opened, monkeypatch):
    """(It was not: all went to a file that had another name by then.)"""
    path = tmp_path / 'log'

    class Opened(writer.LogFile):
        def __init__(self, *args):
            super().__init__(*args)
            path.rename(tmp_path / 'log.1')
            reopen_all()

    monkeypatch.setattr(writer, 'LogFile', Opened)
    log = opened()
    log.write(b'one\n')
    log.close()
    assert path.read_bytes() == b'one\n' and not (tmp_path / 'log.1').read_bytes()


def test_a_signal_may_come_while_the_thread_is_given_lines(reactor, tmp_path, opened, monkeypatch):
    """(PyPy's queue has a lock in Python: the worker would have hung.)"""
    log, locked = opened(), []

    class Locked(writer.SimpleQueue):
        def put(self, order):
            assert not locked
            locked.append(order)
            if len(order or b'') > 3:
                reopen_all()
            locked.pop()
            super().put(order)

    (tmp_path / 'log').unlink()
    log._orders.put(None)
    log._thread.join()
    log._orders = Locked()
    log._thread = threading.Thread(target=log._work)
    log._file = writer.LogFile(str(tmp_path / 'log'), True)
    log._thread.start()
    (tmp_path / 'log').rename(tmp_path / 'log.1')
    log.write(b'x' * 70_000 + b'\n')
    turn_until(reactor, (tmp_path / 'log').exists)
    log.close()


def test_a_new_file_that_cannot_be_opened_leaves_the_old_one_with_one_error_line(
        reactor, tmp_path, opened, logged):
    log, path = opened(), tmp_path / 'log'
    path.rename(tmp_path / 'log.1')
    path.mkdir()
    log.write(b'one\n')
    reopen_all()
    turn_until(reactor, lambda: logged.messages)
    log.write(b'two\n')
    close_all()
    assert (tmp_path / 'log.1').read_bytes() == b'one\ntwo\n'
    assert logged.messages == [
        f'the log {path} cannot be written: Is a directory; the old file is kept']


@pytest.mark.parametrize('module', [None, types.ModuleType('half'), writer])
def test_sigusr1_may_come_at_any_moment_of_the_start(monkeypatch, tmp_path, opened, module):
    log = opened()
    (tmp_path / 'log').unlink()
    monkeypatch.setitem(sys.modules, 'tremolo.access.writer', module)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        outlive_signals()
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    log.close()
    assert (tmp_path / 'log').exists() == (module is writer)


def test_on_stdout_nothing_is_opened_anew(opened):
    log = opened('-', shared=False)
    reopen_all()
    assert not log._anew


def test_a_forked_child_of_the_application_writes_nothing_of_it(reactor, tmp_path, opened):
    log = opened()
    log.write(b'one\n')

    pid = os.fork()
    if not pid:
        try:
            close_all()
            log.close()
        finally:
            os._exit(7 if log._lost else 0)
    assert os.waitpid(pid, 0)[1] == 0
    log.close()
    assert (tmp_path / 'log').read_bytes() == b'one\n'


def test_a_log_that_cannot_be_written_leaves_nothing_behind(reactor, tmp_path):
    for path in (tmp_path, tmp_path / 'missing' / 'log'):
        with pytest.raises(LogError):
            LogWriter(reactor, str(path), False)


def test_where_workers_share_a_pipe_a_long_line_of_json_stays_json(reactor):
    ours, theirs = os.pipe()
    with stdout_is(theirs):
        log = LogWriter(reactor, '-', shared=True, cut=cut_json)
    os.close(theirs)
    for target, agent in (('x' * 9000, None), ('\xe9' * 700, 'y'), ('\xe9' * 3000, 'é' * 3000),
                          ('', '"' * 9000)):
        entry = {'target': target, 'status': 200, 'user_agent': agent, 'ms': 0.125}
        log.write(json.dumps(entry).encode() + b'\n')
    log.close()
    lines = read_all(ours).splitlines(keepends=True)
    assert len(lines) == 4
    for line in lines:
        assert len(line) <= 4096
        assert list(json.loads(line)) == ['target', 'status', 'user_agent', 'ms']
        assert any('...' in str(value) for value in json.loads(line).values())

"""A log that is open: whole lines, also on a full disk and where several write."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import sys
import threading

import pytest

from tremolo.access import log_file
from tremolo.access.log_file import LogFile, check_log, open_log
from tremolo.errors import LogError

LINES = b''.join(b'%06d %s\n' % (n, b'x' * (n % 90)) for n in range(2000))


@contextlib.contextmanager
def stdout_is(fd):
    """Let the number 1 be this descriptor, as long as the block lasts."""
    before = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextlib.contextmanager
def room(size):
    """Let no file become longer than this: as a full disk, and a write may stop in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def opened(path, shared=True):
    log = LogFile(str(path), shared)
    try:
        yield log
    finally:
        log.close()


def write_all(log, lines):
    while lines:
        lines = lines[log.write(lines):]


@pytest.mark.parametrize('make, reason', [
    (lambda path: path.mkdir(), 'Is a directory'),
    (lambda path: os.mkfifo(path), 'No such device or address'),
    (lambda path: path.symlink_to(path), 'Too many levels of symbolic links'),
])
def test_what_cannot_be_written_is_named_in_one_line(tmp_path, make, reason):
    path = tmp_path / 'log'
    make(path)
    with pytest.raises(LogError, match=f'^the log {re.escape(str(path))} cannot be .*: {reason}$'):
        open_log(str(path))


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(LogError, match=r'No such file or directory$'):
        check_log(str(tmp_path / 'missing' / 'log'))
    assert not list(tmp_path.iterdir())


def test_a_stdout_that_is_closed_is_told_in_one_line():
    with open(os.devnull) as null, stdout_is(null.fileno()):
        os.close(1)
        with pytest.raises(LogError, match=r'^the log on stdout cannot be written: Bad file desc'):
            check_log('-')
        check_log('')


def test_a_stdout_that_was_closed_before_is_not_what_has_its_number_now(monkeypatch):
    """(`>&-`: a database of the application, or the poller, was number 1, and got the lines.)"""
    monkeypatch.setattr(sys, '__stdout__', None)    # As Python sets it then.
    with pytest.raises(LogError, match=r'^the log on stdout cannot be written: Bad file desc'):
        check_log('-')


def test_several_processes_append_to_one_file_also_after_it_was_cut(tmp_path):
    path = tmp_path / 'log'
    path.write_bytes(b'before\n')
    with opened(path) as one, opened(path) as other:
        one.write(b'one\n')
        other.write(b'other\n')
        assert path.read_bytes() == b'before\none\nother\n'
        os.truncate(path, 0)
        one.write(b'one\n')
        other.write(b'other\n')
    assert path.read_bytes() == b'one\nother\n'


@pytest.mark.parametrize('size', [0, 1, 7, 8, 100, 4096, 9999])
def test_on_a_full_disk_whole_lines_are_written_and_the_rest_when_there_is_room(tmp_path, size):
    path = tmp_path / 'log'
    with opened(path) as log:
        left = LINES
        with room(size):
            with pytest.raises(OSError) as raised:
                while True:
                    left = left[log.write(left):]
            assert raised.value.errno == errno.EFBIG
            there = path.read_bytes()
            assert len(there) <= size and there + left == LINES
            assert not there or there.endswith(b'\n')
        write_all(log, left)
    assert path.read_bytes() == LINES


def test_a_part_of_a_line_is_cut_off_stdout_too_which_does_not_append(tmp_path):
    path = tmp_path / 'log'
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with stdout_is(fd), opened('-') as log:
        os.close(fd)
        with room(100):
            done = log.write(LINES)
        write_all(log, LINES[done:])
    assert path.read_bytes() == LINES


class Os:
    """The module `os`, with a disk on which another process writes when it becomes full."""

    def __init__(self, path, sizes):
        self.path = path
        self.sizes = sizes    # How much of each write is written; 0: ENOSPC.

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, fd, data):
        size = self.sizes.pop(0) if self.sizes else len(data)
        if not size:
            with open(self.path, 'ab') as other:
                other.write(b'other\n')
            raise OSError(errno.ENOSPC, 'No space left on device')
        return os.write(fd, data[:size])


def test_a_part_of_a_line_behind_which_another_has_written_ends_there(tmp_path, monkeypatch):
    path = tmp_path / 'log'
    monkeypatch.setattr(log_file, 'os', Os(path, [8, 0]))
    with opened(path) as log:
        assert log.write(b'first\nsecond\nthird\n') == 6
        assert log.write(b'second\nthird\n') == 13
    # (Nothing can be taken out of the middle. But what follows is whole.)
    assert path.read_bytes() == b'first\nseother\n\nsecond\nthird\n'


def test_a_file_that_only_grows_gets_whole_lines_after_the_torn_one(tmp_path, monkeypatch):
    path = tmp_path / 'log'
    fake = Os(tmp_path / 'beside', [8, 0])
    fake.ftruncate = lambda fd, size: os.close(-1)
    monkeypatch.setattr(log_file, 'os', fake)
    with opened(path) as log:
        assert log.write(b'first\nsecond\n') == 6
        assert log.write(b'second\n') == 7
    assert path.read_bytes() == b'first\nse\nsecond\n'


def test_on_a_pipe_that_is_shared_each_write_is_atomic_and_long_lines_are_cut():
    ours, theirs = os.pipe()
    with stdout_is(theirs), opened('-') as log:
        os.close(theirs)
        assert log.at_once == 4096
        lines = b'a' * 4095 + b'\n' + b'b' * 4096 + b'\n' + b'c\n' * 5000
        assert log.write(lines) == 4096
        assert log.write(lines[4096:]) == 4097
        assert log.write(lines[8193:]) == 4096
        got = os.read(ours, 1 << 20)
        assert got == b'a' * 4095 + b'\n' + b'b' * 4092 + b'...\n' + b'c\n' * 2048
        assert log.write(b'last\n') == 5
    os.close(ours)


def test_the_lines_of_two_writers_on_one_pipe_are_never_mixed():
    ours, theirs = os.pipe()
    with stdout_is(theirs), opened('-') as one, opened('-') as other:
        os.close(theirs)
        lines = {log: [b'%d %s\n' % (n, letter * (n * 7 % 300)) for n in range(1500)]
                 for log, letter in ((one, b'a'), (other, b'b'))}
        threads = [threading.Thread(target=write_all, args=(log, b''.join(lines[log])))
                   for log in (one, other)]
        for thread in threads:
            thread.start()
        left = sum(len(b''.join(each)) for each in lines.values())
        got = b''
        while left:
            piece = os.read(ours, 5000)
            left -= len(piece)
            got += piece
        for thread in threads:
            thread.join()
    os.close(ours)
    found = got.splitlines(keepends=True)
    assert sorted(found) == sorted(lines[one] + lines[other])


def test_where_nobody_shares_it_a_pipe_takes_a_long_line_whole():
    ours, theirs = os.pipe()
    with stdout_is(theirs), opened('-', shared=False) as log:
        os.close(theirs)
        assert log.write(b'x' * 5000 + b'\n') == 5001
    os.close(ours)


def test_a_file_that_tells_an_error_when_it_is_closed_is_left_for_the_new_one(
        tmp_path, monkeypatch):
    """(A network file system: close(2) says then what write(2) did not. It ended the thread.)"""
    close = os.close

    def failing(fd):
        close(fd)
        raise OSError(errno.EIO, 'Input/output error')

    path = tmp_path / 'log'
    with opened(path) as log:
        path.rename(tmp_path / 'log.1')
        with monkeypatch.context() as patch:
            patch.setattr(os, 'close', failing)
            log.reopen()
        log.write(b'new\n')
        monkeypatch.setattr(os, 'close', failing)
    assert path.read_bytes() == b'new\n'


def test_it_is_opened_anew_by_its_name(tmp_path):
    path = tmp_path / 'log'
    with opened(path) as log:
        log.write(b'old\n')
        path.rename(tmp_path / 'log.1')
        log.write(b'late\n')
        log.reopen()
        log.write(b'new\n')
        path.rename(tmp_path / 'log.2')
        path.mkdir()
        with pytest.raises(LogError):
            log.reopen()
        log.write(b'kept\n')
    assert (tmp_path / 'log.1').read_bytes() == b'old\nlate\n'
    assert (tmp_path / 'log.2').read_bytes() == b'new\nkept\n'

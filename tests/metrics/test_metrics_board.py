"""The board: each process that lives has a block of its own, and no count goes with its process."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tremolo.metrics.board import Board
from tremolo.metrics.layout import MARK, PID, SENT, SIZE

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='fork is not on Windows')


@pytest.fixture
def board():
    board = Board.new()
    yield board
    board.close()


class Child:
    """A forked process that claims a block, adds to SENT, and waits until it is killed."""

    def __init__(self, board: Board, amount: int) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                words = memoryview(board.claim()).cast('Q')
                words[PID] = os.getpid()
                words[SENT] += amount
                os.write(writing, b'.')
                signal.pause()
            finally:
                os._exit(1)
        os.close(writing)
        assert os.read(reading, 1) == b'.'
        os.close(reading)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def blocks(board: Board) -> list[tuple[int, bool]]:
    return [(words[SENT], alive) for words, _, alive in board.read()]


def test_three_processes_at_once_have_three_blocks_and_a_fourth_goes_on_with_a_free_one(board):
    first, second, third = Child(board, 1), Child(board, 20), Child(board, 300)
    try:
        assert blocks(board) == [(1, True), (20, True), (300, True)]
        second.kill()
        # The count is there yet, and nobody is.
        assert blocks(board) == [(1, True), (20, False), (300, True)]
        second = Child(board, 4000)
        assert blocks(board) == [(1, True), (4020, True), (300, True)]
        # To look took no lock away.
        assert blocks(board) == [(1, True), (4020, True), (300, True)]
    finally:
        for each in (first, second, third):
            each.kill()
    assert blocks(board) == [(1, False), (4020, False), (300, False)]
    assert os.fstat(board.fd).st_size % SIZE == os.fstat(board.fd).st_size - 3 * SIZE


def test_our_own_block_is_alive_and_stays_ours(board):
    board.claim()
    assert blocks(board) == [(0, True)]
    child = Child(board, 5)
    try:
        assert blocks(board) == [(0, True), (5, True)]
    finally:
        child.kill()


def test_a_board_of_another_layout_is_not_read(board):
    assert Board.found(board.fd) is not None
    os.pwrite(board.fd, MARK.replace(b' metrics ', b' numbers '), 0)
    assert Board.found(board.fd) is None
    reading, writing = os.pipe()
    os.close(writing)
    assert Board.found(reading) is None    # No file at all.
    os.close(reading)
    assert Board.found(reading) is None    # Not open.


def test_without_fork_and_memfd_it_works_as_well(monkeypatch):
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    board = Board.new()
    board.claim()
    assert blocks(board) == [(0, True)]
    board.close()
    monkeypatch.delattr(os, 'pread')
    board = Board.new()
    assert blocks(board) == []
    words = memoryview(board.claim()).cast('Q')
    words[SENT] = 7
    assert blocks(board) == [(7, True)]
    words.release()
    board.close()

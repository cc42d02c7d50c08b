"""Inboxes by themselves; how a stream fills one is in test_loop_stream.py."""

from __future__ import annotations

import gc
import platform
from typing import Any

import pytest
from loop_support import run

from tremolo.loop import Cancelled, Inbox, LimitExceeded, Reactor, StreamClosed, spawn


def test_bytes_that_come_back_go_to_the_reader_who_waits_by_then(virtual: Reactor) -> None:
    inbox = Inbox(virtual)

    def reader() -> Any:
        return (yield inbox.read())

    def main() -> Any:
        one = spawn(reader())
        # `one` has its bytes and has not gone on yet, so another may begin to wait.
        inbox.feed(b'abc')
        two = spawn(reader())
        one.cancel()
        with pytest.raises(Cancelled):
            yield one
        assert (yield two) == b'abc'
        assert inbox.size == 0

    run(virtual, main())


def test_every_read_takes_its_part_of_what_came_in_whatever_pieces(virtual: Reactor) -> None:
    text = b'first line\nsecond line\nabcdefghij' * 3

    def main(step: int) -> Any:
        inbox = Inbox(virtual)
        for start in range(0, len(text), step):
            inbox.feed(text[start:start + step])
        inbox.feed_eof()
        for _ in range(3):
            assert (yield inbox.read_until(b'\n')) == b'first line\n'
            assert (yield inbox.read_until(b'line')) == b'second line'
            assert (yield inbox.read(0)) == b''
            assert (yield inbox.read_exactly(1)) == b'\n'
            assert (yield inbox.read(4)) == b'abcd'
            assert (yield inbox.read_exactly(6)) == b'efghij'
        assert (yield inbox.read()) == b''

    for step in (1, 2, 7, 1000):
        run(virtual, main(step))


def test_a_mark_counts_within_the_limit_alone(virtual: Reactor) -> None:
    def main() -> Any:
        inbox = Inbox(virtual)
        inbox.feed(b'12345\n')
        with pytest.raises(LimitExceeded, match='in 5 bytes'):
            yield inbox.read_until(b'\n', 5)
        assert (yield inbox.read_until(b'\n', 6)) == b'12345\n'
        inbox.feed(b'12345')
        inbox.feed_eof()
        with pytest.raises(LimitExceeded):
            yield inbox.read_until(b'\n', 4)
        assert (yield inbox.read_until(b'\n', 5)) == b'12345'

    run(virtual, main())


def test_an_error_is_raised_by_every_read_and_makes_no_cycle(virtual: Reactor) -> None:
    cause, raised = ConnectionResetError('reset'), []

    def reader(inbox: Inbox) -> Any:
        try:
            yield inbox.read()
        except StreamClosed as error:
            assert str(error) == 'reset'
            assert error.cause is cause
            raised.append(1)

    def main() -> Any:
        inbox = Inbox(virtual)
        inbox.feed(b'never read')
        inbox.feed_error(StreamClosed(cause))
        for _ in range(2):
            yield spawn(reader(inbox))

    gc.collect()
    gc.disable()
    try:
        run(virtual, main())
        # (PyPy does not count.)
        assert not gc.collect()
    finally:
        gc.enable()
    assert raised == [1, 1]


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='counts references')
def test_a_short_read_does_not_copy_what_it_leaves(virtual: Reactor) -> None:
    import tracemalloc

    def main() -> Any:
        inbox = Inbox(virtual)
        inbox.feed(b'x' * (1 << 20) + b'\n')
        tracemalloc.start()
        try:
            for read in (inbox.read, inbox.read_exactly):
                assert (yield read(3)) == b'xxx'
            with pytest.raises(LimitExceeded):
                yield inbox.read_until(b'\n', 5)
            assert tracemalloc.get_traced_memory()[1] < 1 << 18
        finally:
            tracemalloc.stop()
        assert inbox.size == (1 << 20) - 5

    run(virtual, main())


def test_a_piece_of_which_little_is_left_is_let_go(virtual: Reactor) -> None:
    inbox = Inbox(virtual)
    inbox.feed(b'x' * 60_000 + b'y')
    for _ in range(3):
        assert len(inbox.read(20_000).result()) == 20_000
    assert (inbox.size, sum(map(len, inbox._chunks))) == (1, 1)
    assert inbox.read().result() == b'y'


def test_what_was_read_of_a_piece_is_let_go_when_more_comes(virtual: Reactor) -> None:
    def main() -> Any:
        inbox = Inbox(virtual)
        rest = b''
        for number in range(100):
            piece = bytes([number]) * 1000
            inbox.feed(piece)
            rest += piece
            assert (yield inbox.read(900)) == rest[:900]
            rest = rest[900:]
            assert inbox.size == len(rest)
            # Each chunk holds at most one piece that was read before.
            assert sum(map(len, inbox._chunks)) <= len(rest) + 900
        assert (yield inbox.read()) == rest

    run(virtual, main())


def test_bytes_that_come_back_stand_before_the_rest_of_their_piece(virtual: Reactor) -> None:
    def main() -> Any:
        inbox = Inbox(virtual)
        inbox.feed(b'abcdef')
        first = inbox.read(2)
        second = inbox.read(2)
        second.cancel()
        assert (yield first) == b'ab'
        assert inbox.size == 4
        assert (yield inbox.read()) == b'cdef'

    run(virtual, main())


def test_the_end_is_read_without_waiting_and_as_often_as_one_likes(virtual: Reactor) -> None:
    def main() -> Any:
        inbox = Inbox(virtual)
        inbox.feed(b'last')
        inbox.feed_eof()
        assert (yield inbox.read()) == b'last'
        for size in (-1, 0, 5, 65536):
            read = inbox.read(size)
            assert read.done() and not read.cancel()
            assert (yield read) == b''

    run(virtual, main())

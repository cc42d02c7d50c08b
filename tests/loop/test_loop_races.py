"""Moments in which two things happen at once, each of which once lost something."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from tremolo.loop import (
    InvalidState,
    Lock,
    Reactor,
    Stream,
    Task,
    run_in_thread,
    sleep,
    timeout,
)


class Receiver:
    """What a stream tells, of which only the end matters."""

    def __init__(self, ended: Any) -> None:
        self.stream_closed = ended

    def data_received(self, data: bytes) -> None:
        """Not this one."""

    def eof_received(self) -> None:
        """Nor this one."""


def pair() -> tuple[socket.socket, socket.socket]:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.settimeout(10)
    return ours, peer


def test_a_thread_wakes_a_step_inside_a_turn(reactor: Reactor) -> None:
    came: list[float] = []

    def outer() -> None:
        polling = threading.Timer(
            0.05, lambda: reactor.call_soon_threadsafe(lambda: came.append(time.monotonic())))
        polling.start()
        begun = time.monotonic()
        while not came and time.monotonic() < begun + 10:
            reactor.step(10)
        polling.join()
        came.append(time.monotonic() - begun)
        reactor.stop()

    reactor.call_soon(outer)
    reactor.run()
    assert came[1] < 5


def test_a_lock_that_comes_too_late_for_a_cancelled_waiter_goes_back(reactor: Reactor) -> None:
    lock = Lock()
    locked: list[bool] = []

    def waiter() -> Any:
        with (yield timeout(0.02, lock.acquire())):
            pass

    def main() -> Any:
        held = lock.acquire().result()
        task = Task(waiter())
        reactor.call_later(0.021, task.cancel)
        held.close()
        # Both timers are due in the turn after the lock was handed over.
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        yield sleep(0.01)
        locked.append(lock.locked())
        reactor.stop()

    reactor.call_soon(lambda: Task(main()))
    reactor.run()
    assert locked == [False]


def test_what_is_written_when_another_stream_breaks_is_sent_in_that_turn(reactor: Reactor) -> None:
    broken, gone = pair()
    other, peer = pair()
    gone.close()
    told = Stream(reactor, other)
    leaving = Stream(reactor, broken, Receiver(lambda cause: told.write(b'one has left')))
    reactor.call_soon(lambda: leaving.write(b'x'))
    reactor.step(0)
    assert peer.recv(100) == b'one has left'
    told.abort()
    peer.close()


def test_an_interrupt_while_sending_strands_no_other_stream(reactor: Reactor) -> None:
    def interrupt(cause: Any) -> None:
        raise KeyboardInterrupt

    broken, gone = pair()
    gone.close()
    leaving = Stream(reactor, broken, Receiver(interrupt))
    pairs = [pair(), pair()]
    streams = [Stream(reactor, ours) for ours, _ in pairs]

    def write() -> None:
        streams[0].write(b'first')
        leaving.write(b'x')
        streams[1].write(b'first')

    reactor.call_soon(write)
    with pytest.raises(KeyboardInterrupt):
        reactor.step(0)
    reactor.step(0)
    for stream, (_, peer) in zip(streams, pairs):
        assert peer.recv(100) == b'first'
        stream.abort()
        peer.close()


def test_the_second_of_two_reads_of_a_thread_is_told(reactor: Reactor) -> None:
    ours, peer = pair()
    stream = Stream(reactor, ours)
    stream.start()
    seen: list[Any] = []
    both = threading.Event()

    def work() -> None:
        first, second = stream.read(10), stream.read(10)
        both.set()
        with pytest.raises(InvalidState):
            second.result()
        peer.send(b'hello')
        seen.append(first.result())

    def main() -> Any:
        job = run_in_thread(work)
        # The loop is busy while both begin.
        assert both.wait(10)
        yield job
        reactor.stop()

    reactor.call_soon(lambda: Task(main()))
    reactor.run()
    assert seen == [b'hello']
    stream.abort()
    peer.close()

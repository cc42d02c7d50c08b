"""The loop did not turn for a while: no deadline passes before what came meanwhile was seen."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tremolo.loop import Reactor, spawn
from tremolo.loop.patience import call_patiently
from tremolo.polling.pauses import Pauses


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reactor(clock: Clock) -> Any:
    with Reactor(clock=clock) as reactor:
        yield reactor


def stop_in_poll(reactor: Reactor, clock: Clock, seconds: float) -> None:
    """Do a turn as after SIGSTOP and SIGCONT: the poll wakes late, and says nothing is ready."""
    poll = reactor._poll

    def late(timeout: float | None) -> list[tuple[int, int]]:
        clock.now += seconds
        return []

    reactor._poll = late
    reactor.step(0)
    reactor._poll = poll


def test_after_a_pause_reads_come_before_timers(reactor, clock):
    said = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        def read() -> None:
            ours.recv(10)
            said.append('read')
            reactor.call_soon(said.append, 'ran')

        reactor.add_reader(ours.fileno(), read)
        reactor.call_later(5, said.append, 'timer')
        reactor.step(0)
        theirs.send(b'x')
        stop_in_poll(reactor, clock, 60)
        assert said == []
        for _ in range(3):
            reactor.step(0)
        assert said == ['read', 'ran', 'timer']


@pytest.mark.parametrize('held', [0.5, 60.0])
def test_a_loop_that_is_always_late_fires_its_timers_all_the_same(reactor, clock, held):
    fired = []

    def hold() -> None:
        clock.now += held
        reactor.call_soon(hold)

    def again() -> None:
        fired.append(reactor.turns)
        reactor.call_later(0.01, again)

    hold()
    again()
    for _ in range(60):
        reactor.step(0)
    assert len(fired) > 15
    assert max(later - sooner for sooner, later in zip(fired, fired[1:])) <= 4


def test_a_deadline_that_is_moved_into_the_past_is_not_late(reactor, clock):
    reactor.step(0)
    said = []
    reactor.call_at(clock.now - 50, said.append, 'timer')
    reactor.step(0)
    assert said == ['timer'] and reactor.pauses.missed == 0


def test_what_was_missed_is_counted_but_no_more_than_the_loop_turned():
    pauses = Pauses()
    pauses.hold_back(10, 160.0, 100.0, 90.0)
    # (It may have begun 5 seconds before the deadline.)
    assert pauses.missed == 65 and pauses.until == 160
    # The next one comes after 7 seconds, so 7 seconds are given back.
    pauses.hold_back(20, 227.0, 150.0, 167.0)
    assert pauses.missed == 72
    # A short one holds the timers back, and counts as time.
    assert pauses.hold_back(30, 300.5, 300.0, 299.0)
    assert pauses.missed == 72


def test_a_patient_deadline_does_not_count_a_pause(reactor, clock):
    said = []
    call_patiently(reactor, 10, said.append, 'patient')
    reactor.call_later(10, said.append, 'timer')
    clock.now += 9
    reactor.step(0)
    stop_in_poll(reactor, clock, 61)
    for _ in range(3):
        reactor.step(0)
    assert said == ['timer'] and reactor.pauses.missed == 61
    clock.now += 0.99
    reactor.step(0)
    assert said == ['timer']
    clock.now += 0.02
    reactor.step(0)
    assert said == ['timer', 'patient']


def test_a_patient_deadline_can_be_cancelled_and_has_no_cycle_afterwards(reactor, clock):
    said = []
    timer = call_patiently(reactor, 1, said.append, 'never')
    timer.cancel()
    other = call_patiently(reactor, 1, said.append, 'fired')
    clock.now += 1.05
    reactor.step(0)
    assert said == ['fired'] and timer.callback is other.callback is None


def test_a_timeout_of_a_handler_sees_what_came_in_time(reactor, clock):
    """`timeout` around a read: the bytes came while the process was stopped."""
    from tremolo.loop import Stream, timeout
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(reactor, ours)
    stream.start()
    said = []

    def job() -> Any:
        said.append((yield timeout(5, stream.read(10))))

    with theirs:
        reactor.call_soon(lambda: spawn(job()))
        reactor.step(0)
        theirs.send(b'in time')
        stop_in_poll(reactor, clock, 60)
        for _ in range(4):
            reactor.step(0)
        assert said == [b'in time']
        stream.abort()

"""Calls that may take long: few in a turn."""

from __future__ import annotations

from collections import Counter

import pytest
from simulated import World

from tremolo.fair.few import Few


@pytest.fixture
def world():
    return World()


@pytest.fixture
def reactor(world):
    with world.reactor() as reactor:
        yield reactor


class Calls:
    """Calls that take so many seconds each, and the turns in which they are made."""

    def __init__(self, reactor, world, seconds):
        self.reactor, self.world, self.seconds = reactor, world, seconds
        self.few = Few(reactor)
        self.turns = []

    def make(self, count):
        for _ in range(count):
            self.few.call(self.called)

    def called(self):
        self.turns.append(self.reactor.turns)
        # (It shows later what they take: a task goes on.)
        self.reactor.call_soon(self.work)

    def work(self):
        self.world.now += self.seconds

    def counts(self):
        return list(Counter(self.turns).values())


def run(reactor, calls, count):
    while len(calls.turns) < count:
        reactor.step(0)


def test_the_first_are_called_at_once_and_long_ones_have_a_turn_each(reactor, world):
    calls = Calls(reactor, world, 0.05)
    reactor.call_soon(calls.make, 6)
    reactor.step(0)
    assert calls.turns == [1, 1]
    run(reactor, calls, 6)
    assert max(calls.counts()) == 2 and calls.counts()[:2] == [2, 1]
    assert not calls.few.waiting


def test_short_ones_are_more_and_more_until_turns_are_long_again(reactor, world):
    calls = Calls(reactor, world, 0.0001)
    reactor.call_soon(calls.make, 100)
    run(reactor, calls, 100)
    assert calls.counts() == [2, 4, 8, 16, 32, 38]
    calls.seconds = 0.03
    calls.turns.clear()
    reactor.call_soon(calls.make, 70)
    run(reactor, calls, 70)
    assert calls.counts()[:2] == [64, 1] and max(calls.counts()[1:]) <= 4


def test_one_that_raises_costs_no_other(reactor, logged):
    few, called = Few(reactor), []

    def begin():
        for number in range(8):
            few.call((lambda: 1 / 0) if number == 4 else (lambda number=number:
                                                          called.append(number)))

    reactor.call_soon(begin)
    for _ in range(5):
        reactor.step(0)
    assert called == [0, 1, 2, 3, 5, 6, 7]
    assert logged.count('failed') == 1


def test_one_that_calls_another_does_not_wait_for_ever(reactor):
    few, called = Few(reactor), []

    def again(left):
        called.append(reactor.turns)
        if left:
            few.call(lambda: again(left - 1))

    reactor.call_soon(again, 9)
    for _ in range(9):
        reactor.step(0)
    assert len(called) == 10
    assert max(Counter(called).values()) <= 5


def test_who_comes_while_others_wait_waits_behind_them(reactor, world):
    calls = Calls(reactor, world, 0.05)
    reactor.call_soon(calls.make, 3)
    reactor.step(0)
    # These come before the ready queue of their turn, as the bytes of a client do.
    here, there = reactor.network.socketpair()
    reactor.add_reader(here.fileno(), lambda: (here.recv(1), calls.make(2)))
    there.send(b'x')
    for _ in range(9):
        reactor.step(0)
    reactor.remove_fd(here.fileno())
    here.close()
    there.close()
    assert calls.counts()[:2] == [2, 1] and len(calls.turns) == 5

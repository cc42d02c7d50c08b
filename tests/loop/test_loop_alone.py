"""Calls that may take long: one in a turn."""

from __future__ import annotations

import socket

from tremolo.loop.alone import Alone


def test_the_first_of_a_turn_is_called_at_once_and_each_other_in_a_turn_of_its_own(reactor):
    alone, called = Alone(reactor), []

    def note(name):
        called.append((name, reactor.turns))

    def begin():
        for name in 'abc':
            alone.call(lambda name=name: note(name))
        note('after')

    reactor.call_soon(begin)
    reactor.step(0)
    first = reactor.turns
    assert called == [('a', first), ('after', first)]
    reactor.step(0)
    reactor.step(0)
    assert called[2:] == [('b', first + 1), ('c', first + 2)]
    assert not alone.waiting
    # A later one finds its turn free.
    reactor.call_soon(alone.call, lambda: note('d'))
    reactor.step(0)
    assert called[4:] == [('d', first + 3)]


def test_one_that_raises_costs_no_other(reactor, logged):
    alone, called = Alone(reactor), []

    def begin():
        alone.call(lambda: called.append('a'))
        alone.call(lambda: 1 / 0)
        alone.call(lambda: called.append('c'))

    reactor.call_soon(begin)
    for _ in range(3):
        reactor.step(0)
    assert called == ['a', 'c']
    assert logged.count('failed') == 1


def test_one_that_calls_another_does_not_wait_for_ever(reactor):
    alone, called = Alone(reactor), []

    def again(left):
        called.append(reactor.turns)
        if left:
            alone.call(lambda: again(left - 1))

    reactor.call_soon(again, 3)
    for _ in range(4):
        reactor.step(0)
    assert len(called) == 4
    assert called[1:] == [called[0], called[0] + 1, called[0] + 2]


def test_no_turn_makes_two_though_more_come_while_others_wait(reactor):
    alone, called = Alone(reactor), []

    def more(count):
        for _ in range(count):
            alone.call(lambda: called.append(reactor.turns))

    reactor.call_soon(more, 3)
    reactor.step(0)
    # These come before the ready queue of their turn, as the bytes of a client do.
    here, there = socket.socketpair()
    with here, there:
        there.send(b'x')
        reactor.add_reader(here.fileno(), lambda: (here.recv(1), more(2)))
        for _ in range(8):
            reactor.step(0)
        reactor.remove_fd(here.fileno())
    assert len(called) == len(set(called)) == 5

"""More is ready than one poll shows: a deadline does not pass before the bytes were seen."""

from __future__ import annotations

import math
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from loop_support import make_reactor

from tremolo.loop import Reactor
from tremolo.polling.full_polls import MANY, FullPolls
from tremolo.polling.poller import MOST_EVENTS


class Crowd:
    """Sockets that are all ready, and what happens: 'read' for each, and 'timer'."""

    def __init__(self, reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
        self.reactor = reactor
        self.pairs = pairs
        self.said: list[str] = []

    def watch(self, reads: bool = True) -> None:
        for ours, theirs in self.pairs:
            def reader(ours: socket.socket = ours) -> None:
                if reads:
                    ours.recv(10)
                self.said.append('read')

            self.reactor.add_reader(ours.fileno(), reader)
            theirs.send(b'x')
        self.reactor.call_later(0, self.said.append, 'timer')

    def turn_until_the_timer(self) -> int:
        turns = 0
        while 'timer' not in self.said:
            self.reactor.step(0)
            turns += 1
        return turns


# (On macOS and BSD a process may have few descriptors; `select` takes 1,024 numbers.)
COUNTS = (10, MANY, 300)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no turn be late, however slow the machine is: a late one waits longer (pauses.py)."""
    monkeypatch.setattr('tremolo.loop.reactor.LATE', math.inf)


@pytest.fixture(params=['epoll', 'kqueue', 'select'])
def reactor(request: pytest.FixtureRequest) -> Iterator[Reactor]:
    with make_reactor(request.param) as made:
        yield made


@pytest.fixture(params=COUNTS)
def crowd(request: pytest.FixtureRequest, reactor: Reactor) -> Iterator[Crowd]:
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(request.param)]
        for each in pairs:
            for end in each:
                stack.enter_context(end)
        yield Crowd(reactor, pairs)


def show_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a poll show 8 events at most, so that a small crowd fills some polls."""
    for module in ('poller', 'pollers'):
        monkeypatch.setattr(f'tremolo.polling.{module}.MOST_EVENTS', 8)
    for module in ('loop.reactor', 'polling.full_polls'):
        monkeypatch.setattr(f'tremolo.{module}.MANY', 4)


def test_the_timers_come_after_all_that_is_ready(crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    show_few(monkeypatch)
    crowd.watch()
    crowd.turn_until_the_timer()
    assert crowd.said == ['read'] * len(crowd.pairs) + ['timer']


def test_the_timers_come_even_if_all_are_ready_for_ever(
        crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    show_few(monkeypatch)
    for _ in range(3):
        crowd.said.clear()
        crowd.watch(reads=False)
        assert crowd.turn_until_the_timer() <= (len(crowd.pairs) + 1) // 4 + 2


@pytest.mark.skipif(sys.platform != 'linux', reason='so many descriptors')
def test_it_holds_with_the_real_numbers():
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 2 * MOST_EVENTS + 100
    if before[1] not in (resource.RLIM_INFINITY, -1) and before[1] < 2 * count + 100:
        pytest.skip('the system gives too few descriptors')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * count + 100), before[1]))
    try:
        with make_reactor('epoll') as reactor, ExitStack() as stack:
            pairs = [socket.socketpair() for _ in range(count)]
            for each in pairs:
                for end in each:
                    stack.enter_context(end)
            crowd = Crowd(reactor, pairs)
            crowd.watch()
            assert crowd.turn_until_the_timer() == 3
            assert crowd.said == ['read'] * count + ['timer']
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_only_full_polls_in_a_row_count():
    polls = FullPolls()
    watched = 3 * MANY
    assert [polls.hold_back(turn, watched) for turn in (1, 2, 3)] == [True, True, False]
    assert [polls.hold_back(turn, watched) for turn in (4, 5, 9, 10, 11)] == [
        True, True, True, True, False]
    assert not polls.hold_back(20, MANY)

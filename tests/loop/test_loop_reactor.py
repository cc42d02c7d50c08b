"""The reactor: a turn, its four parts, hosting, waking, signals, the end."""

from __future__ import annotations

import gc
import os
import platform
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tremolo.loop import Cancelled, Future, InvalidState, Reactor, Task, sleep, spawn
from tremolo.polling.pollers import SelectPoller


@pytest.fixture
def sockets(any_reactor: Reactor) -> Iterator[Any]:
    one, other = any_reactor.network.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    yield one, other
    any_reactor.remove_fd(one.fileno())
    one.close()
    other.close()


def test_a_ready_fd_calls_its_reader_and_its_writer(any_reactor: Reactor, sockets: Any) -> None:
    one, other = sockets
    called = []
    any_reactor.add_reader(one.fileno(), lambda: called.append('read'))
    any_reactor.step(0)
    assert called == []
    other.send(b'x')
    any_reactor.step(0)
    assert called == ['read']
    any_reactor.add_writer(one.fileno(), lambda: called.append('write'))
    any_reactor.step(0)
    assert called == ['read', 'read', 'write']
    any_reactor.remove_reader(one.fileno())
    any_reactor.step(0)
    assert called[3:] == ['write']
    any_reactor.remove_writer(one.fileno())
    any_reactor.step(0)
    assert called[4:] == []
    assert len(any_reactor.watchers) == 1


def test_a_paused_reader_is_not_called_until_it_is_resumed(
        any_reactor: Reactor, sockets: Any) -> None:
    one, other = sockets
    called = []
    any_reactor.add_reader(one.fileno(), lambda: called.append('read'))
    any_reactor.pause_reader(one.fileno())
    other.send(b'x')
    any_reactor.step(0)
    assert called == []
    any_reactor.add_reader(one.fileno(), lambda: called.append('read'))
    any_reactor.step(0)
    assert called == ['read']


def test_removing_what_is_not_watched_is_harmless(any_reactor: Reactor) -> None:
    any_reactor.remove_reader(9999)
    any_reactor.remove_writer(9999)
    any_reactor.remove_fd(9999)
    any_reactor.remove_fd(-1)


def test_a_closed_fd_gets_no_event_of_the_same_turn(any_reactor: Reactor) -> None:
    net = any_reactor.network
    pairs = [net.socketpair() for _ in range(2)]
    called = []

    def close_the_other(mine: int) -> None:
        called.append(mine)
        theirs = pairs[1 - mine][0]
        any_reactor.remove_fd(theirs.fileno())
        theirs.close()
        any_reactor.remove_fd(pairs[mine][0].fileno())

    for n, (one, other) in enumerate(pairs):
        any_reactor.add_reader(one.fileno(), lambda n=n: close_the_other(n))
        other.send(b'x')
    any_reactor.step(0)
    any_reactor.step(0)
    assert len(called) == 1
    for one, other in pairs:
        one.close()
        other.close()


def test_the_event_of_an_fd_closed_and_used_again_in_the_same_turn_is_harmless(
        any_reactor: Reactor) -> None:
    """The new one is called once for nothing, and finds EAGAIN."""
    net = any_reactor.network
    pairs = [net.socketpair() for _ in range(2)]
    fresh: list[Any] = []
    received = []

    def fresh_reader() -> None:
        try:
            received.append(fresh[0].recv(10))
        except BlockingIOError:
            received.append(None)

    def replace(mine: int) -> None:
        any_reactor.remove_fd(pairs[mine][0].fileno())
        if fresh:
            return
        theirs = pairs[1 - mine][0]
        fd = theirs.fileno()
        any_reactor.remove_fd(fd)
        theirs.close()
        fresh.extend(net.socketpair())
        if fresh[0].fileno() != fd:
            fresh.reverse()
        assert fresh[0].fileno() == fd
        fresh[0].setblocking(False)
        any_reactor.add_reader(fd, fresh_reader)

    for n, (one, other) in enumerate(pairs):
        any_reactor.add_reader(one.fileno(), lambda n=n: replace(n))
        other.send(b'x')
    any_reactor.step(0)
    assert received == [None]
    fresh[1].send(b'm')
    any_reactor.step(0)
    assert received == [None, b'm']
    any_reactor.remove_fd(fresh[0].fileno())
    for sock in [sock for pair in [*pairs, fresh] for sock in pair]:
        sock.close()


def test_a_reader_that_raises_costs_only_itself(
        any_reactor: Reactor, sockets: Any, logged: Any) -> None:
    one, other = sockets
    net = any_reactor.network
    healthy, peer = net.socketpair()
    called = []

    def broken() -> None:
        raise ValueError('broken reader')

    any_reactor.add_reader(one.fileno(), broken)
    any_reactor.add_reader(healthy.fileno(), lambda: called.append(1))
    other.send(b'x')
    peer.send(b'x')
    any_reactor.step(0)
    any_reactor.step(0)
    assert called == [1, 1]
    assert logged.count('it is no longer watched') == 1
    assert 'ValueError: broken reader' in logged.text
    any_reactor.remove_fd(healthy.fileno())
    healthy.close()
    peer.close()


def test_a_callback_or_timer_that_raises_costs_only_itself(virtual: Reactor, logged: Any) -> None:
    called = []
    virtual.call_soon(lambda: 1 / 0)
    virtual.call_soon(called.append, 'soon')
    virtual.call_later(0, lambda: 1 / 0)
    virtual.call_later(0, called.append, 'later')
    virtual.step(0)
    virtual.step(0)
    assert sorted(called) == ['later', 'soon']
    assert logged.text.count('ZeroDivisionError') == 2


def test_the_result_of_a_cancelled_future_does_not_end_the_loop(
        virtual: Reactor, logged: Any) -> None:
    future = Future(virtual)
    future.cancel()
    one, other = virtual.network.socketpair()
    virtual.add_reader(one.fileno(), future.result)
    other.send(b'x')
    virtual.call_soon(future.result)
    virtual.step(0)
    one.close()
    other.close()
    assert logged.text.count('\ntremolo.loop.errors.Cancelled') == 2


def test_what_is_added_to_the_ready_queue_waits_for_the_next_turn(virtual: Reactor) -> None:
    order = []

    def again() -> None:
        order.append('again')
        virtual.call_soon(again)

    one, other = virtual.network.socketpair()
    virtual.add_reader(one.fileno(), lambda: order.append('reader'))
    virtual.call_soon(again)
    virtual.step(0)
    other.send(b'x')
    for _ in range(3):
        virtual.step(0)
    assert order == ['again', *['reader', 'again'] * 3]
    virtual.remove_fd(one.fileno())
    one.close()
    other.close()


def test_the_parts_of_a_turn_come_in_order(virtual: Reactor) -> None:
    order = []
    one, other = virtual.network.socketpair()
    other.send(b'x')
    virtual.add_reader(one.fileno(), lambda: order.append('fd'))
    virtual.call_soon(order.append, 'ready')
    virtual.call_at(0, order.append, 'timer')
    virtual.step(0)
    assert order == ['fd', 'timer', 'ready']
    virtual.remove_fd(one.fileno())
    one.close()
    other.close()


def test_stop_ends_run_after_the_turn(virtual: Reactor) -> None:
    order = []
    virtual.call_soon(virtual.stop)
    virtual.call_soon(order.append, 'same turn')
    virtual.call_soon(lambda: virtual.call_soon(order.append, 'next turn'))
    virtual.run()
    assert order == ['same turn']
    virtual.step(0)
    assert order == ['same turn', 'next turn']


def test_an_idle_reactor_sleeps(reactor: Reactor) -> None:
    reactor.call_later(0.05, reactor.stop)
    reactor.run()
    assert reactor.turns <= 3


def test_a_step_with_a_negative_timeout_does_not_wait(any_reactor: Reactor) -> None:
    # For epoll a negative timeout means 'for ever'.
    any_reactor.step(-0.5)
    any_reactor.call_later(60, print).cancel()
    any_reactor.step(-0.5)


def test_a_poll_that_fails_leaves_no_current_reactor(virtual: Reactor) -> None:
    from simulated import Deadlock

    from tremolo.loop import current_reactor
    with pytest.raises(Deadlock):
        virtual.step()
    with pytest.raises(RuntimeError):
        current_reactor()


# -- hosting by another loop ----------------------------------------------------------------------


def host(reactor: Reactor, until: Any) -> int:
    """Drive a reactor the way a foreign loop does; return how often that loop woke."""
    wakes = 0
    while not until():
        deadline = reactor.next_deadline()
        timeout = 5.0 if deadline is None else max(0.0, deadline - reactor.time())
        ready = select.select([reactor.fileno()], [], [], timeout)[0]
        assert ready or deadline is not None, 'the host slept although something was to be done'
        reactor.step(0)
        wakes += 1
        assert wakes < 1000
    return wakes


def test_a_plain_select_loop_can_host_it(reactor: Reactor) -> None:
    done = []

    def work() -> Any:
        for _ in range(3):
            yield sleep(0.005)
        done.append(1)

    reactor.call_soon(lambda: spawn(work()))
    assert host(reactor, lambda: done) < 20


def test_call_soon_and_call_later_outside_a_turn_wake_a_host(reactor: Reactor) -> None:
    assert reactor.next_deadline() is None
    host(reactor, lambda: True)
    reactor.call_soon(int)
    assert select.select([reactor.fileno()], [], [], 0)[0]
    assert reactor.next_deadline() is not None
    reactor.step(0)
    reactor.step(0)
    assert not select.select([reactor.fileno()], [], [], 0)[0]
    timer = reactor.call_later(30, int)
    assert select.select([reactor.fileno()], [], [], 0)[0]
    timer.cancel()


def test_a_select_reactor_has_no_fd_to_host_it_by() -> None:
    with Reactor(poller=SelectPoller()) as reactor:
        assert reactor.fileno() == -1


# -- threads and signals --------------------------------------------------------------------------


@pytest.mark.parametrize('poller', ['epoll', 'select'])
def test_another_thread_wakes_it(poller: str) -> None:
    with Reactor(poller) as reactor:
        wake_from_afar(reactor)


def wake_from_afar(any_reactor: Reactor) -> None:
    threads = []

    def far() -> None:
        threads.append(threading.get_ident())
        any_reactor.call_soon_threadsafe(any_reactor.stop)

    thread = threading.Thread(target=far)
    any_reactor.call_soon(thread.start)
    any_reactor.run()
    thread.join()
    assert threads != [threading.get_ident()]
    assert any_reactor.in_loop_thread()


def test_a_call_from_another_thread_while_a_turn_goes_on_comes_in_the_next(
        reactor: Reactor) -> None:
    def meet() -> None:
        thread = threading.Thread(target=reactor.call_soon_threadsafe, args=(reactor.stop,))
        thread.start()
        thread.join()

    reactor.call_soon(meet)
    reactor.run()
    assert reactor.turns == 2


def test_ten_thousand_wake_ups_neither_block_nor_get_lost(reactor: Reactor) -> None:
    count = []

    def far() -> None:
        for _ in range(10000):
            reactor.call_soon_threadsafe(count.append, 1)
        reactor.call_soon_threadsafe(reactor.stop)

    thread = threading.Thread(target=far)
    thread.start()
    reactor.run()
    thread.join()
    assert len(count) == 10000


def test_a_signal_calls_back_from_the_ready_queue(reactor: Reactor) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    called = []
    reactor.add_signal(signal.SIGUSR1, lambda: called.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert called == []
    while not called:
        reactor.step(5)
    reactor.remove_signal(signal.SIGUSR1)
    reactor.remove_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_ends_a_poll_that_waits(reactor: Reactor) -> None:
    reactor.add_signal(signal.SIGALRM, reactor.stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    reactor.run()
    assert reactor.turns <= 3


@pytest.mark.skipif(platform.python_implementation() == 'PyPy',
                    reason='its signals go to the main thread only')
def test_a_signal_that_another_thread_gets_ends_the_poll(reactor: Reactor) -> None:
    reactor.add_signal(signal.SIGUSR1, reactor.stop)
    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    reactor.call_soon(thread.start)
    reactor.run()
    thread.join()


def test_a_signal_is_heard_after_somebody_else_took_the_wake_up_fd(reactor: Reactor) -> None:
    reactor.add_signal(signal.SIGALRM, reactor.stop)
    # As asyncio does when the last handler of an application is removed.
    signal.set_wakeup_fd(-1)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    reactor.run()
    reactor.remove_signal(signal.SIGALRM)
    assert signal.set_wakeup_fd(-1) == -1


def test_the_wake_up_fd_of_a_host_comes_back(reactor: Reactor) -> None:
    mine, other = socket.socketpair()
    mine.setblocking(False)
    signal.set_wakeup_fd(mine.fileno())
    reactor.add_signal(signal.SIGUSR1, int)
    reactor.add_signal(signal.SIGUSR2, int)
    reactor.remove_signal(signal.SIGUSR1)
    reactor.remove_signal(signal.SIGUSR2)
    assert signal.set_wakeup_fd(-1) == mine.fileno()
    mine.close()
    other.close()


def test_closing_puts_the_signal_handlers_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with Reactor() as reactor:
        reactor.add_signal(signal.SIGUSR1, int)
        reactor.add_signal(signal.SIGUSR1, str)
    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1


# -- the end --------------------------------------------------------------------------------------


def test_closing_twice_is_harmless_and_inside_a_turn_refused(logged: Any) -> None:
    reactor = Reactor()
    seen = []

    def close() -> None:
        with pytest.raises(InvalidState, match='stop it first'):
            reactor.close()
        seen.append(1)

    reactor.call_soon(close)
    reactor.step(0)
    assert seen == [1]
    reactor.close()
    reactor.close()
    assert logged.records == []


def test_what_is_called_on_a_closed_reactor_is_harmless() -> None:
    reactor = Reactor()
    reactor.close()
    reactor.call_soon(int)
    reactor.call_soon_threadsafe(int)
    reactor.wake()
    reactor.remove_fd(5)


@pytest.mark.skipif(platform.python_implementation() == 'PyPy', reason='no reference counts')
def test_a_closed_reactor_is_freed_at_once() -> None:
    class Marked(Reactor):
        freed = False

        def __del__(self) -> None:
            Marked.freed = True

    def work() -> Any:
        yield sleep(100)

    reactor = Marked()
    Task(work(), reactor=reactor, later=True)
    reactor.call_later(100, reactor.stop)
    reactor.step(0)
    reactor.add_signal(signal.SIGUSR1, reactor.stop)
    gc.collect()
    gc.disable()
    try:
        reactor.close()
        del reactor
        assert Marked.freed
    finally:
        gc.enable()


def test_a_keyboard_interrupt_ends_run_and_the_reactor_can_be_closed() -> None:
    reactor = Reactor()

    def work() -> Any:
        yield sleep(0.001)
        raise KeyboardInterrupt

    reactor.call_soon(lambda: spawn(work()))
    with pytest.raises(KeyboardInterrupt):
        reactor.run()
    reactor.close()
    with pytest.raises(Cancelled):
        raise Cancelled


def test_the_clock_of_a_turn_is_the_time_it_began(reactor: Reactor) -> None:
    reactor.step(0)
    assert 0 <= time.monotonic() - reactor.now < 5

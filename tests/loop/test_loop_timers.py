"""Timers: what is due when, moved later and earlier, cancelled and swept."""

from __future__ import annotations

import gc
import random
from typing import Any

from tremolo.loop import Reactor
from tremolo.loop.timers import NEVER, Timer, Timers


def fire(timers: Timers, now: float) -> None:
    while True:
        timer = timers.pop_due(now)
        if timer is None:
            break
        assert timer.callback is not None
        timer.callback(*timer.args)


def armed(timers: Timers, deadline: float, callback: Any, *args: Any) -> Timer:
    timer = timers.new(callback, *args)
    timer.move(deadline)
    return timer


def test_timers_fire_in_order_and_ties_first_in_first_out() -> None:
    timers, fired = Timers(), []
    for name, deadline in (('c', 3), ('a', 1), ('b', 2), ('b2', 2), ('d', 4)):
        armed(timers, deadline, fired.append, name)
    fire(timers, 0.5)
    assert fired == []
    fire(timers, 3)
    assert fired == ['a', 'b', 'b2', 'c']
    assert timers.next_deadline() == 4


def test_pushing_back_is_an_assignment_that_leaves_the_heap_alone() -> None:
    timers, fired = Timers(), []
    timer = armed(timers, 1, fired.append, 'x')
    for deadline in range(2, 1000):
        timer.move(deadline)
    assert len(timers) == 1
    fire(timers, 998)
    assert fired == []
    fire(timers, 999)
    assert fired == ['x']


def test_moving_earlier_fires_early_and_once() -> None:
    timers, fired = Timers(), []
    timer = armed(timers, 10, fired.append, 'x')
    timer.move(5)
    assert timers.next_deadline() == 5
    fire(timers, 5)
    fire(timers, 100)
    assert fired == ['x']
    assert len(timers) == 0


def test_moving_earlier_and_back_again_fires_once() -> None:
    timers, fired = Timers(), []
    timer = armed(timers, 10, fired.append, 'x')
    timer.move(5)
    timer.move(10)
    fire(timers, 9)
    assert fired == []
    fire(timers, 10)
    fire(timers, 11)
    assert fired == ['x']


def test_a_timer_that_fired_can_be_armed_again() -> None:
    timers, fired = Timers(), []
    timer = armed(timers, 1, fired.append, 'x')
    fire(timers, 1)
    assert timer.deadline == NEVER
    timer.move(2)
    fire(timers, 2)
    assert fired == ['x', 'x']


def test_a_timer_moved_to_never_does_not_fire_but_may_come_back() -> None:
    timers, fired = Timers(), []
    timer = armed(timers, 1, fired.append, 'x')
    timer.move(NEVER)
    fire(timers, 100)
    assert fired == []
    assert timers.next_deadline() == NEVER
    timer.move(101)
    fire(timers, 101)
    assert fired == ['x']


def test_a_cancelled_timer_lets_go_of_its_callback_at_once() -> None:
    class Thing:
        alive = 0

        def __init__(self) -> None:
            Thing.alive += 1

        def __del__(self) -> None:
            Thing.alive -= 1

        def due(self) -> None:
            raise AssertionError

    timers = Timers()
    timer = armed(timers, 1, Thing().due)
    assert Thing.alive == 1
    timer.cancel()
    timer.cancel()
    gc.collect()
    assert Thing.alive == 0
    fire(timers, 2)


def test_cancelled_timers_are_swept_when_they_are_the_most() -> None:
    timers, fired = Timers(), []
    kept = [armed(timers, 1000 + n, fired.append, n) for n in range(100)]
    for n in range(10000):
        armed(timers, 10 + n, fired.append, -n).cancel()
        assert len(timers) < 400
    fire(timers, 2000)
    assert fired == list(range(len(kept)))


def test_a_sweep_while_timers_fire_loses_none() -> None:
    timers, fired = Timers(), []
    many = [armed(timers, 5, fired.append, n) for n in range(1000)]
    armed(timers, 1, lambda: [timer.cancel() for timer in many[:900]])
    fire(timers, 5)
    assert fired == list(range(900, 1000))


def test_random_moves_fire_exactly_as_a_plain_table_says() -> None:
    rng = random.Random(5)
    timers = Timers()
    fired: list[tuple[int, float]] = []
    now = 0.0
    table: dict[int, float] = {}
    made = [timers.new(lambda n=n: fired.append((n, now))) for n in range(30)]
    for _ in range(3000):
        n = rng.randrange(30)
        deadline = rng.choice((NEVER, now + rng.randrange(20)))
        made[n].move(deadline)
        table[n] = deadline
        now += rng.choice((0, 0, 1))
        fired.clear()
        fire(timers, now)
        due = {key for key, when in table.items() if when <= now}
        assert {key for key, _ in fired} == due
        assert len(fired) == len(due)
        for key in due:
            table[key] = NEVER
    assert len(timers) < 300


def test_a_timer_that_arms_itself_at_once_starves_nobody(virtual: Reactor) -> None:
    fired = []
    timer = virtual.timers.new(lambda: (fired.append(1), timer.move(virtual.now)))
    timer.move(0)
    virtual.call_later(0, fired.append, 2)
    virtual.call_soon(fired.append, 3)
    virtual.step(0)
    virtual.step(0)
    timer.cancel()
    assert fired.count(1) <= 3
    assert 2 in fired
    assert 3 in fired


def test_deadlines_are_met_to_the_moment_on_the_virtual_clock(virtual: Reactor) -> None:
    times = []
    for delay in (0.1, 0.25, 7, 3600 * 24):
        virtual.call_later(delay, lambda: times.append(virtual.time()))
    virtual.call_later(3600 * 24, virtual.stop)
    virtual.run()
    assert times == [0.1, 0.25, 7, 3600 * 24]
    # A wait longer than any poller takes is cut into hours.
    assert virtual.turns < 40


def test_ten_thousand_connections_cost_one_heap_entry_each(virtual: Reactor) -> None:
    timers = [virtual.timers.new(print) for _ in range(10000)]
    for second in range(5):
        for timer in timers:
            timer.move(second + 30)
    assert len(virtual.timers) == 10000
    for timer in timers:
        timer.cancel()
    # What they leave goes when as many have come after them, at the latest.
    for _ in range(10000):
        virtual.call_later(1, print).cancel()
    assert len(virtual.timers) < 200


def test_a_timer_moved_near_and_far_again_leaves_little() -> None:
    timers, fired = Timers(), []
    timer = armed(timers, 1e6, fired.append, 'x')
    for now in range(10000):
        timer.move(now)
        fire(timers, now)
        timer.move(1e6)
        assert len(timers) < 200
    assert fired == ['x'] * 10000

"""Fair turns, the mechanism alone: readers that cost simulated time, and a reactor that turns."""

from __future__ import annotations

import gc
import socket
from collections import deque
from contextlib import nullcontext
from contextvars import Context
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from simulated import World

from tremolo.fair import be_fair
from tremolo.fair.accounts import Account, Usual, heavy_until
from tremolo.fair.fairness import LONG_TURN
from tremolo.fair.few import Few
from tremolo.fair.line import Line
from tremolo.fair.rationing import COLLECTOR, Rationing
from tremolo.loop import Future, Reactor, Task
from tremolo.polling.poller import MOST_EVENTS, READ
from tremolo.server import Server
from tremolo.settings import Settings

HELLO = 0.0001    # Seconds of a light step.
FIRST = 1000    # The first client's fd.


class AlwaysReady:
    """A poller of fds that are readable as long as they are watched.

    As epoll it shows a bounded number, and the others first the next time.
    """

    def __init__(self) -> None:
        self._masks: dict[int, int] = {}
        self._last = -1

    def modify(self, fd: int, mask: int) -> None:
        self._masks[fd] = mask

    register = modify

    def unregister(self, fd: int) -> None:
        del self._masks[fd]

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        ready = sorted(fd for fd, mask in self._masks.items() if mask & READ and fd >= FIRST)
        shown = [fd for fd in ready if fd > self._last] + [fd for fd in ready if fd <= self._last]
        shown = shown[:MOST_EVENTS]
        if shown:
            self._last = shown[-1]
        return [(fd, READ) for fd in shown]

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._masks.clear()


class Client:
    """An fd that is always readable; its reader takes `cost` seconds, and notes when it ran."""

    def __init__(self, scene: Scene, cost: float) -> None:
        self.scene = scene
        self.cost = cost
        self.served: list[float] = []
        self.does: Callable[[], Any] = lambda: None    # What its reader does besides.
        self.fd = next(fd for fd in range(FIRST, 10000) if fd not in scene.reactor.watchers)
        self.come_back()

    def read(self) -> None:
        self.scene.world.now += self.cost
        self.served.append(self.scene.world.now)
        self.does()

    def come_back(self) -> None:
        self.scene.reactor.add_reader(self.fd, self.read)

    def leave(self) -> None:
        self.scene.reactor.remove_fd(self.fd)


class Scene:
    """A fair reactor and its clients."""

    def __init__(self) -> None:
        self.world = World(seed=5)
        self.reactor = Reactor(poller=AlwaysReady(), clock=self.world.clock,
                               wall_clock=self.world.wall_clock, network=self.world.network)
        be_fair(self.reactor)
        # (A server always has a timer, so each turn reads the clock.)
        self.reactor.call_later(1e9, print)

    def clients(self, count: int, cost: float = HELLO) -> list[Client]:
        return [Client(self, cost) for _ in range(count)]

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.reactor.step(0)

    def turn_until_all_are_known(self, heavy: list[Client]) -> None:
        """In the first turns all are served, as many in a turn as there is time for."""
        for _ in range(1000):
            if all(len(client.served) > 1 for client in heavy):
                return
            self.turn()

    def turn_for(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self.world.now < end:
            before = self.world.now
            self.turn()
            # (A poll takes its time.)
            self.world.wait_until(max(self.world.now, before + 0.000005))

    def server(self) -> Any:
        """What makes contexts and tells the ends of bodies, and knows no client by its tasks."""
        server = SimpleNamespace(
            ends=Few(self.reactor), new_context=Context, stream_of=lambda payer: None)
        be_fair(self.reactor, server)
        return server

    @property
    def rationing(self) -> Rationing | None:
        return self.reactor.fairness.rationing


@pytest.fixture
def scene() -> Any:
    scene = Scene()
    yield scene
    scene.reactor.close()


class Owner:
    """Who gets what a task yields: it notes when."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.steps: list[float] = []

    def emit(self, value: Any) -> None:
        self.steps.append(self.scene.world.now)

    def pausing(self) -> None:
        pass


def seconds_of(clients: list[Client]) -> float:
    return sum(client.cost * len(client.served) for client in clients)


def forget(*groups: list[Client]) -> None:
    for client in (client for group in groups for client in group):
        client.served.clear()


@pytest.mark.parametrize(('count', 'cost'), [(20, 0.0006), (20, 0.005), (16, 0.01), (600, 0.0006)])
def test_light_ones_are_served_in_each_turn_and_keep_most_of_the_time(scene, count, cost):
    light = scene.clients(64)
    heavy = scene.clients(count, cost)
    scene.turn_until_all_are_known(heavy)
    forget(light, heavy)
    begun, turns = scene.world.now, scene.reactor.turns
    scene.turn_for(min(10 * count * cost, 4))
    turns = scene.reactor.turns - turns
    assert all(len(client.served) == turns for client in light)
    assert seconds_of(light) / (scene.world.now - begun) > 0.6
    # The heavy ones have their share, and each of them the same.
    served = [len(client.served) for client in heavy]
    assert seconds_of(heavy) / (scene.world.now - begun) > 0.1
    assert min(served) > 0 and max(served) - min(served) <= 2


def test_heavy_ones_are_all_served_when_nobody_else_is_there(scene):
    light, heavy = scene.clients(10), scene.clients(5, 0.01)
    scene.turn(3)
    for client in light:
        client.leave()
    scene.turn()
    forget(heavy)
    begun = scene.world.now
    scene.turn_for(1)
    assert seconds_of(heavy) / (scene.world.now - begun) > 0.98


def test_newcomers_do_not_wait_for_each_other_where_no_light_one_is_there(scene):
    """(The first answers of 700 took half a second.)"""
    heavy = scene.clients(3, 0.002)
    scene.turn_until_all_are_known(heavy)
    assert scene.rationing is not None
    new = scene.clients(700)
    for client in new:
        client.does = client.leave
    begun = scene.world.now
    scene.turn_for(0.5)
    assert max(client.served[0] for client in new) - begun < 0.2


def test_a_heavy_step_waits_a_moment_for_light_ones_that_were_just_answered(scene):
    light, heavy = scene.clients(64), scene.clients(20, 0.01)
    scene.turn(3)
    # From now on each of them asks again 0.1 ms after its answer.
    forget(light, heavy)

    def away(client: Client) -> None:
        scene.reactor.pause_reader(client.fd)
        scene.world.later(scene.world.now + 0.0001, client.come_back)

    for client in light:
        client.does = lambda client=client: away(client)
    begun = scene.world.now
    scene.turn_for(0.5)
    assert seconds_of(light) / (scene.world.now - begun) > 0.5


def test_six_hundred_heavy_ones_do_not_hide_a_light_one(scene):
    heavy = scene.clients(600, 0.025)
    light, = scene.clients(1)    # The poller shows it in every second poll.
    scene.turn_until_all_are_known(heavy)
    forget([light], heavy)
    scene.turn(50)
    assert len(light.served) == 50


def test_who_was_heavy_once_is_forgiven_and_the_rationing_ends(scene):
    light = scene.clients(30)
    once, = scene.clients(1, 0.005)
    scene.turn(3)
    once.cost = HELLO
    assert scene.rationing is not None
    scene.turn_for(1)
    assert scene.rationing is None
    assert scene.reactor.choose is None
    forget(light, [once])
    scene.turn(20)
    assert len(once.served) == 20


def test_when_all_are_equally_slow_nobody_is_heavy(scene):
    clients = scene.clients(20, 0.0003)
    scene.turn(4)
    assert scene.rationing is not None
    scene.turn(10)
    assert scene.rationing is None
    assert {len(client.served) for client in clients} == {14}
    # For a while only a turn that is much longer is too long.
    assert scene.reactor.long_turn == pytest.approx(2 * 20 * 0.0003)
    scene.turn(50)
    assert scene.rationing is None
    scene.world.now += 10
    scene.turn(3)    # (After such a pause the timers wait for two turns.)
    assert scene.reactor.long_turn == LONG_TURN


def test_when_all_are_very_slow_each_is_served_as_often(scene):
    clients, (light,) = scene.clients(20, 0.025), scene.clients(1)
    scene.turn(4)
    forget(clients, [light])
    begun = scene.world.now
    scene.turn_for(4)
    served = [len(client.served) for client in clients]
    assert max(served) - min(served) <= 1
    # One that is light is served after each of them, and not after all.
    assert len(light.served) > sum(served)
    assert seconds_of(clients) / (scene.world.now - begun) > 0.1


def test_a_host_that_steps_now_and_then_charges_nobody(scene):
    clients = scene.clients(10)
    for _ in range(30):
        scene.world.now += 100
        scene.turn()
    assert {len(client.served) for client in clients} == {30}


def test_a_newcomer_is_served_although_the_heavy_ones_owe_much(scene):
    scene.clients(20), scene.clients(20, 0.2)
    scene.turn(4)
    scene.turn_for(1)
    newcomers = scene.clients(10)
    scene.turn(20)
    assert all(client.served for client in newcomers)
    scene.turn()
    forget(newcomers)
    scene.turn(10)
    assert {len(client.served) for client in newcomers} == {10}


def test_newcomers_without_end_leave_the_others_their_time(scene):
    light = scene.clients(64)
    scene.clients(1, 0.005)
    scene.turn(3)
    forget(light)
    gone: list[Client] = []
    begun = scene.world.now

    def come() -> None:
        for client in scene.clients(20, 0.001):
            client.does = lambda client=client: (client.leave(), gone.append(client), come_one())

    def come_one() -> None:
        client, = scene.clients(1, 0.001)
        client.does = lambda: (client.leave(), gone.append(client), come_one())

    come()
    scene.turn_for(1)
    assert seconds_of(light) / (scene.world.now - begun) > 0.5
    assert len(gone) > 100


def test_an_fd_that_is_used_again_begins_anew(scene):
    scene.clients(20)
    heavy, = scene.clients(1, 0.05)
    scene.turn(4)
    fd = heavy.fd
    heavy.leave()
    other, = scene.clients(1)
    assert other.fd == fd
    scene.turn(3)
    forget([other])
    scene.turn(10)
    assert len(other.served) == 10


def test_what_a_heavy_client_wants_done_later_waits_with_it(scene):
    light, (heavy,) = scene.clients(64), scene.clients(1, 0.005)
    ran: list[str] = []

    def later() -> None:
        scene.world.now += 0.01
        ran.append('later')

    heavy.does = lambda: scene.reactor.call_soon(later)
    light[0].does = lambda: scene.reactor.call_soon(ran.append, 'light')
    scene.turn(2)
    forget(light, [heavy])
    ran.clear()
    begun = scene.world.now
    scene.turn_for(1)
    assert seconds_of(light) / (scene.world.now - begun) > 0.6
    assert ran.count('later') > 5
    assert abs(ran.count('later') - len(heavy.served)) <= 1
    assert abs(ran.count('light') - len(light[0].served)) <= 1


def test_a_callback_that_waits_ends_a_poll(scene):
    heavy, = scene.clients(1, 0.005)
    light = scene.clients(8)
    ran: list[int] = []
    scene.turn(3)
    heavy.does = lambda: (scene.reactor.pause_reader(heavy.fd),
                          scene.reactor.call_soon(ran.append, 1))
    scene.turn_for(0.1)
    for client in light:
        client.leave()
    # (A poll that waited would wait for the timer of this scene.)
    for _ in range(10):
        scene.reactor.step()
        if ran:
            break
        scene.world.now += 0.001
    assert ran == [1] and scene.world.now < 10


def test_callbacks_that_raise_are_told_and_cost_nobody_else(scene, logged):
    scene.clients(20)
    heavy, = scene.clients(1, 0.005)
    ran: list[int] = []

    def fail() -> None:
        raise ValueError('this callback')

    heavy.does = lambda: (scene.reactor.call_soon(fail), scene.reactor.call_soon(ran.append, 1))
    scene.turn_for(1)
    assert ran
    assert 'this callback' in logged.text


def test_all_that_waits_goes_on_at_the_end(scene):
    scene.clients(20)
    heavy, = scene.clients(1, 0.005)
    ran: list[int] = []
    scene.turn(4)
    heavy.does = lambda: (scene.reactor.call_soon(ran.append, 1), scene.reactor.fairness.end())
    scene.turn_for(0.2)
    heavy.does = lambda: scene.reactor.call_soon(ran.append, 1)
    scene.turn_for(0.2)
    assert len(ran) >= len(heavy.served) - 5
    scene.reactor.fairness.end()
    assert not {'call_soon', 'guard', 'slice_end'} & set(vars(scene.reactor))
    scene.turn(2)
    assert len(ran) >= len(heavy.served) - 5


@pytest.mark.parametrize('at', [4, 8, 9, 10])
def test_the_ends_of_long_bodies_that_wait_are_not_all_told_when_a_rationing_ends(scene, at):
    ends, told = scene.server().ends, []
    light = scene.clients(12)

    def tell_end(fd: int, cost: float) -> Callable[[], Any]:
        def work() -> None:
            scene.world.now += cost

        class Body:
            connection = SimpleNamespace(stream=SimpleNamespace(fd=fd, closed=False))

            def tell_end(self) -> None:
                told.append(scene.reactor.turns)
                scene.reactor.call_soon(work)

        return Body().tell_end

    # The first one costs little: the rationing may end in vain.
    bodies = [tell_end(client.fd, 0.01 if number else HELLO)
              for number, client in enumerate(scene.clients(12))]
    scene.turn(2)
    while scene.rationing is not None and scene.rationing._turns < at:
        scene.turn()
    for each in bodies:
        ends.call(each)
    longest = 0.0
    while len(told) < len(bodies):
        begun = scene.world.now
        scene.turn()
        longest = max(longest, scene.world.now - begun)
    assert longest < 0.05 and all(client.served for client in light)


def test_timers_come_up_while_others_wait(scene):
    scene.clients(20), scene.clients(200, 0.003)
    scene.turn(3)
    due: list[float] = []
    scene.reactor.call_later(0.1, lambda: due.append(scene.world.now))
    begun = scene.world.now
    scene.turn_for(0.2)
    assert due and due[0] - begun < 0.15


def test_a_task_that_goes_on_and_on_has_short_slices_and_waits_for_its_turn(scene):
    light, (heavy,), owner = scene.clients(64), scene.clients(1, 0.003), Owner(scene)

    def endless() -> Any:
        while True:
            scene.world.now += 0.0001
            yield b'x'

    scene.turn(3)
    heavy.does = lambda: (scene.reactor.pause_reader(heavy.fd), tasks.append(
        Task(endless(), owner=owner, reactor=scene.reactor)))
    tasks: list[Task] = []
    scene.turn_for(0.5)
    assert tasks
    forget(light)
    owner.steps.clear()
    begun = scene.world.now
    scene.turn_for(1)
    assert seconds_of(light) / (scene.world.now - begun) > 0.6
    assert len(owner.steps) > 500


def test_an_exit_in_a_reader_leaves_all_in_order(scene):
    light, heavy = scene.clients(20), scene.clients(3, 0.01)
    scene.turn(4)
    exits = [SystemExit()]

    def leave() -> None:
        if exits:
            raise exits.pop()

    light[3].does = leave
    with pytest.raises(SystemExit):
        scene.turn(2)
    scene.turn()
    assert scene.rationing is not None and scene.rationing.current is None
    forget(light, heavy)
    scene.turn(10)
    assert {len(client.served) for client in light} == {10}


def test_time_that_other_processes_had_is_no_cost(scene):
    # The processor was given to another process in the middle of a step.
    used = [0.0, 0]
    scene.reactor.fairness.usage = lambda: (scene.world.now - used[0], used[1])
    light, (often,) = scene.clients(20), scene.clients(1)
    scene.clients(1, 0.005)
    scene.turn(4)
    often.cost = 0.02
    often.does = lambda: used.__setitem__(0, used[0] + 0.02)
    forget(light, [often])
    scene.turn(10)
    assert len(often.served) == 10
    # A step in which the thread waits holds up the others, though it computes nothing.
    often.does = lambda: used.__setitem__(1, used[1] + 1)
    scene.turn(2)
    forget([often])
    scene.turn(10)
    assert len(often.served) < 5


def test_a_wait_for_the_lock_of_busy_threads_is_no_cost(scene):
    waits = [0]
    scene.reactor.fairness.usage = lambda: (scene.world.now - 0.008 * waits[0], waits[0])
    pool = SimpleNamespace(busy=True)
    scene.reactor.pools.append(pool)
    light, (often,) = scene.clients(20), scene.clients(1)
    scene.clients(1, 0.005)
    scene.turn(4)
    often.cost = 0.008
    often.does = lambda: waits.__setitem__(0, waits[0] + 1)
    forget(light, [often])
    scene.turn(10)
    assert len(often.served) == 10
    # A longer wait is for something else, and without busy threads nobody has the lock.
    pool.busy = False
    scene.turn(2)
    forget([often])
    scene.turn(10)
    assert len(often.served) < 5


def test_who_has_gone_is_forgotten(scene):
    heavy = scene.clients(3, 0.005)
    for client in (one for _ in range(10) for one in scene.clients(100)):
        scene.turn()
        client.leave()
    scene.turn()
    assert scene.rationing is not None
    assert len(scene.rationing.accounts) < 350
    assert all(client.served for client in heavy)


@pytest.mark.parametrize('cost', [HELLO, 0.001])
def test_who_is_idle_is_forgotten_and_is_no_newcomer_later(scene, cost):
    """Each account takes 200 bytes, and thousands of WebSockets may be idle."""
    scene.clients(3, 0.005), scene.clients(20)
    scene.turn(4)
    idle: list[Client] = []
    for _ in range(50):
        idle += scene.clients(20, cost)
        for client in idle[-20:]:
            client.does = lambda fd=client.fd: scene.reactor.pause_reader(fd)
        scene.turn_for(0.4)
    assert all(client.served for client in idle) and scene.rationing is not None
    accounts = scene.rationing.accounts
    assert len(accounts) < 350 and all(accounts.of(client.fd).known for client in idle)


def test_the_task_of_a_client_makes_it_heavy_in_the_next_rationing_too(scene):
    """It was charged to the account of the first one, of which nobody knew any more."""
    server = scene.server()

    def compute() -> Any:
        while True:
            scene.world.now += 0.003
            yield b'x'

    scene.clients(64), scene.clients(1, 0.002)    # (The heavy one lets turns be rationed.)
    first, = scene.clients(1, 0.002)
    tasks: list[Task] = []

    def begin() -> None:
        first.does = lambda: None
        tasks.append(Task(compute(), owner=Owner(scene), context=server.new_context(),
                          reactor=scene.reactor))
        first.cost = HELLO

    scene.turn(3)
    first.does = begin
    scene.turn_for(0.1)
    assert tasks and scene.rationing is not None
    scene.reactor.fairness.end()
    scene.turn_for(0.1)
    assert scene.rationing is not None and scene.rationing.accounts.of(first.fd).heavy


def test_who_was_forgotten_does_not_come_before_who_waits(scene):
    """All steps are long, one client always has something to do, and hundreds ask now and then."""
    seldom = scene.clients(600, 0.003)
    always, = scene.clients(1, 0.003)
    scene.clients(8, 0.003)
    idle = deque(seldom)
    for client in seldom:
        scene.reactor.pause_reader(client.fd)
        client.does = lambda client=client: (
            scene.reactor.pause_reader(client.fd), idle.append(client))
    scene.turn(3)
    begun = scene.world.now
    forget([always])
    while scene.world.now < begun + 20:
        for _ in range(min(7, len(idle))):
            idle.popleft().come_back()
        scene.turn_for(0.000001)
    times = [begun, *always.served, scene.world.now]
    assert max(after - before for before, after in zip(times, times[1:])) < 3


def test_the_tasks_of_clients_that_have_gone_stay_heavy(scene):
    """They were light again whenever the accounts had been looked through."""
    server = scene.server()
    light, leaving = scene.clients(32), scene.clients(20, 0.0005)
    tasks: list[Task] = []
    steps: list[float] = []

    def job() -> Any:
        while True:
            future = Future(scene.reactor)
            scene.reactor.call_later(0.3, future.set_result)
            yield future
            scene.world.now += 0.01
            steps.append(0.01)

    def begin(client: Client) -> None:
        tasks.append(Task(job(), context=server.new_context(), reactor=scene.reactor))
        client.leave()

    scene.turn(3)
    for client in leaving:
        client.does = lambda client=client: begin(client)
    scene.turn_for(1)
    assert len(tasks) == 20 and steps
    forget(light)
    steps.clear()
    begun = scene.world.now
    while scene.world.now < begun + 3:
        for client in scene.clients(4, 0.00005):    # (Newcomers: the accounts are many.)
            client.does = client.leave
        scene.turn()
    assert sum(steps) / (scene.world.now - begun) < 0.3
    assert seconds_of(light) / (scene.world.now - begun) > 0.6


@pytest.mark.parametrize('how', ['stop', 'exit'])
def test_who_is_forgiven_in_the_turn_that_ends_all_loses_nothing(scene, how):
    """It had left its line, and nobody knew of its callbacks any more."""
    light, (ending,), heavy = scene.clients(10), scene.clients(1, 0.0012), scene.clients(4, 0.01)
    scene.turn(30)
    rationing = scene.rationing
    assert rationing is not None
    for client in heavy:
        scene.reactor.pause_reader(client.fd)
    account, called = rationing.accounts.of(heavy[0].fd), []
    rationing.hold(account, lambda: called.append(True))
    account.until, account.served = 0.0, scene.reactor.turns    # It is forgiven, and comes last.

    def end() -> None:
        ending.does = lambda: None
        scene.world.now += 0.03
        if how == 'exit':
            raise SystemExit
        scene.reactor.stop()

    ending.does = end
    first = rationing.accounts.of(ending.fd)
    first.cost = first.until = 0.0
    first.served = 0
    with pytest.raises(SystemExit) if how == 'exit' else nullcontext():
        scene.turn()
    assert ending.does is not end
    for client in [*light, ending]:
        scene.reactor.pause_reader(client.fd)
    scene.turn(300)
    assert called == [True]


def test_what_a_reactor_has_of_its_own_is_there_again_afterwards(scene):
    plain = scene.reactor.call_soon
    own = scene.reactor.call_soon = lambda *args: plain(*args)
    scene.clients(10, 0.005)
    scene.turn(3)
    assert scene.rationing is not None and scene.reactor.call_soon is not own
    scene.reactor.fairness.end()
    assert scene.reactor.call_soon is own


def test_an_fd_that_nobody_watches_is_no_newcomer(scene):
    """As in the child of a fork, whose reactor has ended: to look for one there ends the child."""
    scene.clients(10, 0.005)
    scene.turn(3)
    assert scene.rationing is not None
    before = len(scene.rationing.accounts)
    scene.rationing.accounts.note_newcomer(9999)
    assert len(scene.rationing.accounts) == before


def test_a_rationing_makes_no_dictionary_of_a_servers_attributes(scene):
    """CPython 3.11 to 3.13 find what is in such a dictionary more slowly: 2 % of a request."""
    def has_dictionary() -> bool:
        return any(isinstance(each, dict) and 'new_context' in each
                   for each in gc.get_referents(server))

    server = Server(scene.reactor, Settings(), lambda request, response: None)
    be_fair(scene.reactor, server)
    new_context, before = server.new_context, has_dictionary()
    scene.clients(3, 0.005), scene.clients(20)
    scene.turn(4)
    assert scene.rationing is not None and server.new_context is not new_context
    scene.reactor.fairness.end()
    assert server.new_context is new_context and has_dictionary() == before


def note(usual: Usual, cost: float, times: int = 2) -> bool:
    """Note some steps of a new client; return whether it is heavy."""
    account = Account(None)
    return [usual.note(account, cost) for _ in range(times)][-1]


def test_what_is_usual_is_what_light_steps_take():
    usual = Usual()
    for _ in range(50):
        for _ in range(64):
            note(usual, HELLO, 1)
        for _ in range(600):
            note(usual, 0.03, 1)
            note(usual, 0.000001, 1)    # (No request: what is kept, or asyncio's own fds.)
        usual.settle()
    assert usual.cost == pytest.approx(HELLO)
    assert not note(usual, HELLO) and note(usual, 5 * HELLO)
    # All are slower from now on.
    for _ in range(1000):
        note(usual, 0.0005, 1)
        usual.settle()
    assert not note(usual, 0.0019) and note(usual, 0.0021)


def test_a_single_step_that_takes_longer_makes_nobody_heavy():
    usual, account = Usual(), Account(None)
    for _ in range(100):
        note(usual, 0.00002)
    usual.settle()
    assert not any(usual.note(account, 0.00002) for _ in range(5))
    assert not usual.note(account, 0.00015)
    # Again and again it does, also between short ones; and one that takes very long.
    assert any(usual.note(account, 0.00015) for _ in range(20))
    usual, account = Usual(), Account(None)
    assert not any(usual.note(account, cost) for cost in (0.00002, 0.0002) * 2)
    assert any(usual.note(account, cost) for cost in (0.00002, 0.0002) * 20)
    assert usual.note(account, 0.03)


def test_a_step_that_is_long_once_is_paid_for_by_being_light_before():
    account = Account(None)
    assert heavy_until(account, 0.0015, 100, 80) < 100
    account.until = heavy_until(account, 0.0015, 100, 80)
    assert heavy_until(account, 0.0015, 100, 80) > 100
    # What was long is paid for at last: as many seconds per second as if it had been heavy.
    assert heavy_until(account, 0.0015, 101, 80) < 101
    assert heavy_until(Account(None), 0.03, 100, 80) == pytest.approx(108.96)
    # A client that has just come has been light for no time.
    assert heavy_until(Account(None, 100.0), 0.003, 100, 80) == pytest.approx(100.96)


def test_what_the_collector_takes_in_a_step_is_not_the_clients(scene):
    light, heavy = scene.clients(20), scene.clients(2, 0.01)
    scene.turn_for(0.3)
    rationing = scene.rationing
    assert rationing is not None and all(rationing.accounts.of(one.fd).heavy for one in heavy)

    def collects():
        rationing._note_collection('start', {})
        scene.world.now += 0.05
        rationing._note_collection('stop', {})

    light[0].does = collects
    scene.turn()
    light[0].does = lambda: None
    assert not rationing.accounts.of(light[0].fd).heavy
    assert rationing.accounts.of(light[0].fd).cost < 0.001
    # Garbage of a client that is known to be heavy is its own.
    heavy[0].does = collects
    served = len(heavy[0].served)
    while len(heavy[0].served) == served:
        scene.turn_for(0.01)
    assert rationing.accounts.of(heavy[0].fd).until - scene.world.now > 4 * 0.05 * 20


def test_a_collection_outside_a_step_is_taken_off_no_step(scene):
    light = scene.clients(20)
    scene.clients(1, 0.01)    # So turns are rationed.
    scene.turn_for(0.1)
    rationing = scene.rationing
    light[1].cost = 0.01

    def collects():
        rationing._collected += 0.01

    light[0].does = collects    # (It is served before.)
    scene.turn_for(0.15)
    assert rationing.accounts.of(light[1].fd).heavy


def test_the_collector_is_watched_as_long_as_turns_are_rationed():
    with Reactor() as reactor:
        be_fair(reactor)
        watches = list(COLLECTOR)
        reactor.fairness.begin()
        (watch,) = [each for each in COLLECTOR if each not in watches]
        rationing = reactor.fairness.rationing
        gc.collect()
        for phase in 'start', 'stop':    # (As it does; PyPy's tells nobody.)
            watch(phase, {'generation': 2})
        assert 0 < rationing._collected < 10
        reactor.fairness.end()
        assert watches == COLLECTOR


def test_short_steps_do_not_hide_what_a_long_one_in_a_line_takes():
    line = Line()
    line.pay(0.03)
    took = line.cost
    for _ in range(30):
        line.pay(0.00005)
    assert 0.9 * took < line.cost < took


def test_heavy_steps_that_take_next_to_no_time_are_no_reason_to_ration(scene):
    light = scene.clients(64)
    now_and_then = scene.clients(1, 0.0006)[0]

    def away() -> None:
        scene.reactor.pause_reader(now_and_then.fd)
        scene.world.later(scene.world.now + 0.1, now_and_then.come_back)

    now_and_then.does = away
    scene.turn_for(1)
    assert now_and_then.served
    turns = scene.reactor.turns
    rationed = 0
    while scene.world.now < 4:
        scene.turn()
        rationed += scene.rationing is not None
    assert rationed < 20
    assert min(len(client.served) for client in light) == scene.reactor.turns
    # Whose steps take a tenth of the time is one.
    now_and_then.does = lambda: None
    scene.reactor.long_turn = LONG_TURN
    scene.turn_for(0.5)
    assert scene.rationing is not None and scene.rationing.found
    assert scene.reactor.turns > turns


def test_a_credit_is_bounded_and_one_step_at_most_is_owed():
    line = Line()
    line.earn(100)
    assert line.credit == 0.005
    line.pay(0.03)
    assert line.credit == pytest.approx(-0.025)
    line.pay(0.03)
    assert line.credit == pytest.approx(-0.03)
    line.earn(0.09)
    assert line.credit == pytest.approx(-0.03 + 0.09 / 8)


def test_what_waits_for_its_client_is_called_before_the_reactor_stops():
    """The last line of a worker that gave its connections away was lost."""
    with Reactor() as reactor:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            be_fair(reactor)
            reactor.add_reader(ours.fileno(), lambda: None)
            reactor.fairness.begin()
            rationing = reactor.fairness.rationing
            called = []

            def last():
                rationing.hold(rationing.accounts.of(ours.fileno()), lambda: called.append('held'))
                reactor.stop()

            reactor.call_soon(last)
            reactor.run()
            assert called == ['held']
            reactor.remove_fd(ours.fileno())


class Strange:
    """An object of an application of which nothing can be asked."""

    def __bool__(self) -> bool:
        raise TypeError('no bool')

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f'no {name}')

    def __call__(self, *args: Any) -> None:
        args[-1].append('called')


def test_a_callback_may_be_any_object_and_have_any_argument(scene):
    """An application's Future without a truth ended the thread of its server."""
    scene.clients(20), scene.clients(1, 0.005)
    scene.turn(3)
    assert scene.rationing is not None
    server = Server(scene.reactor, Settings(), lambda request, response: None)
    be_fair(scene.reactor, server)
    called: list[str] = []
    scene.reactor.call_soon(Strange(), called)
    scene.reactor.call_soon(Strange().__call__, Strange(), called)
    scene.reactor.call_soon(lambda strange: called.append('called'), Strange())
    scene.turn(2)
    assert called == ['called'] * 3


def test_an_error_of_the_rationing_ends_it_alone(scene, logged):
    light = scene.clients(20)
    scene.clients(1, 0.005)
    scene.turn(3)
    scene.rationing.usual = None    # (So that the next turn fails.)
    scene.turn()
    assert 'turns are rationed no more' in logged.text
    assert scene.rationing is None
    forget(light)
    scene.turn(3)
    assert all(len(client.served) == 3 for client in light)

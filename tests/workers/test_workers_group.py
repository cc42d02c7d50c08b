"""The states of slots and workers, and the fork, without a supervisor around them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from worker_group import PATIENCE, ROOT

from tremolo.loop import Reactor
from tremolo.loop.timers import NEVER
from tremolo.settings import Address, Settings
from tremolo.workers import group as group_module
from tremolo.workers.channel import HAND_OVER, LISTENER, READY, RETURN
from tremolo.workers.group import (
    ENDING,
    FILLED,
    FIRST_PAUSE,
    HUNG,
    LONGEST_PAUSE,
    OUTDATED,
    PAUSED,
    SERVING,
    SPARE,
    STARTING,
    WANTED,
    Group,
    SlotState,
    Worker,
)
from tremolo.workers.program import Program
from tremolo.workers.slot import Slot
from tremolo.workers.supervisor import Supervisor

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='there is no fork on Windows')


class Line:
    """A channel whose other end is the test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, kind: bytes, sock: socket.socket | None = None) -> None:
        self.sent.append(kind)
        if sock is not None:
            sock.close()


def worker(slot: Slot, pid: int = 1, state: str = STARTING) -> Worker:
    made = Worker(pid, slot, 0.0)
    made.channel = Line()
    made.state = state
    return made


# -- a worker -----------------------------------------------------------------------------------


def test_a_sign_of_life_is_expected_after_ready_and_until_a_worker_hangs():
    it = worker(Slot([]))
    assert it.beat == NEVER
    it.heard(5.0)
    it.state = SERVING
    assert it.beat == 5.0
    it.hang()
    assert (it.state, it.beat) == (HUNG, NEVER)
    # What it sent before is read later: it changes nothing.
    it.heard(6.0)
    assert it.beat == NEVER


def test_a_worker_that_was_told_to_end_stays_so_when_it_hangs():
    it = worker(Slot([]), state=SERVING)
    it.hand_over()
    assert it.channel.sent == [HAND_OVER]
    it.hang()
    assert (it.state, it.beat) == (ENDING, NEVER)


def test_a_process_that_is_gone_can_be_told_to_end():
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait(PATIENCE)
    it = worker(Slot([]), process.pid)
    it.end(signal.SIGTERM)
    assert it.state is ENDING


# -- a slot -------------------------------------------------------------------------------------


def wait(world, reactor: Reactor, slot: SlotState) -> float:
    """Return how long it pauses."""
    began = world.now
    world.run(lambda: slot.state is WANTED)
    return world.now - began


def test_a_new_worker_follows_the_old_one():
    slot = SlotState(Slot([]))
    assert slot.state is WANTED
    old, new = worker(slot.slot, 1), worker(slot.slot, 2)
    slot.fill(old)
    assert (slot.state, slot.worker, old.predecessor) == (FILLED, old, None)
    slot.want()
    slot.fill(new)
    assert (slot.state, slot.worker, new.predecessor) == (FILLED, new, old)


@pytest.mark.parametrize(('outdated', 'then'), [(False, FILLED), (True, WANTED)])
def test_the_old_worker_goes_on_when_the_new_one_fails(outdated, then):
    slot = SlotState(Slot([]))
    old = worker(slot.slot, 1)
    slot.fill(old)
    slot.want()
    slot.fill(worker(slot.slot, 2))
    if outdated:
        slot.outdate()
        assert slot.state is OUTDATED
    slot.fall_back(old)
    assert (slot.state, slot.worker) == (then, old)


def test_pauses_grow_and_the_sockets_are_lent_in_the_long_ones(world, virtual):
    slot = SlotState(Slot([]))
    pauses, states = [], []
    for _ in range(11):
        slot.pause(virtual)
        states.append(slot.state)
        assert slot.lent == (len(pauses) > 0)
        pauses.append(wait(world, virtual, slot))
    assert pauses[:3] == pytest.approx([FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE])
    assert pauses[-2:] == pytest.approx([LONGEST_PAUSE] * 2)
    assert states == [PAUSED] * 11
    slot.ready()
    assert not slot.lent
    slot.forget_crashes()
    slot.pause(virtual)
    assert slot.state is PAUSED
    assert wait(world, virtual, slot) == pytest.approx(FIRST_PAUSE)


def test_a_worker_that_is_wanted_in_a_pause_is_wanted_once(world, virtual):
    slot = SlotState(Slot([]))
    slot.pause(virtual)
    slot.want()
    slot.fill(worker(slot.slot))
    world.now += 10
    virtual.step(0)
    assert slot.state is FILLED


def test_a_slot_that_is_dismissed_lets_both_workers_go(world, virtual):
    slot = SlotState(Slot([]))
    old, new = worker(slot.slot, 1, SERVING), worker(slot.slot, 2)
    for each in (old, new):
        slot.fill(each)
    assert slot.dismiss() == [new, old]
    assert (slot.state, slot.lent, slot.worker) == (SPARE, True, None)
    # Nor does it come back after a pause.
    slot.want()
    slot.pause(virtual)
    assert slot.dismiss() == []
    world.now += 10
    virtual.step(0)
    assert slot.state is SPARE


# -- all of them --------------------------------------------------------------------------------


@pytest.fixture
def two():
    """Two slots, each with a worker that serves."""
    group = Group(Settings())
    group.open([Address('127.0.0.1', 0)], 2)
    for pid, slot in enumerate(group.slots, 1):
        slot.fill(worker(slot.slot, pid, SERVING))
        group.workers[pid] = slot.worker
    yield group
    group.stop_listening()
    os.close(group.slots[0].slot.locks)


def test_each_slot_has_a_socket_of_its_own_for_the_same_address(two):
    one, other = ([sock.getsockname() for sock in slot.slot] for slot in two.slots)
    assert one == other
    assert len({sock.fileno() for slot in two.slots for sock in slot.slot}) == 2


def test_the_heir_is_of_the_same_slot_if_possible(two):
    first, second = two.slots
    assert two.heir(second.slot) is second.worker
    second.worker.state = HUNG
    assert two.heir(second.slot) is first.worker
    first.worker.state = STARTING
    assert two.heir(second.slot) is None


def test_a_slot_that_leaves_is_lent_until_its_heir_leaves_too(two):
    first, second = two.slots
    leaving = second.worker
    assert two.remove() == [leaving]
    two.lend([leaving])
    assert two.slots == [first]
    assert second.heir is first.worker
    leaving.hand_over()
    assert leaving.channel.sent == [HAND_OVER]
    assert first.worker.channel.sent == [LISTENER]
    two.lend()
    assert first.worker.channel.sent == [LISTENER]
    # It is lent to the next worker as soon as the heir is told to end.
    follows = worker(first.slot, 3, SERVING)
    two.workers[3] = follows
    first.worker.hand_over()
    first.fill(follows)
    two.lend()
    assert second.heir is follows
    assert follows.channel.sent == [LISTENER]


def test_what_was_lent_goes_back_and_the_rest_is_lent_again(two):
    first, second = two.slots
    two.add()
    third = two.slots[2]
    for slot in second, third:
        slot.worker = None
        slot.lent = True
    two.workers = {1: first.worker}
    two.lend()
    assert first.worker.channel.sent == [LISTENER, LISTENER]
    # A new worker of the second slot: as long as it starts, nothing changes.
    second.fill(worker(second.slot, 4))
    two.workers[4] = second.worker
    two.lend()
    assert first.worker.channel.sent == [LISTENER, LISTENER]
    second.worker.state = SERVING
    second.ready()
    two.lend()
    assert (second.heir, second.lent) == (None, False)
    assert third.heir in (first.worker, second.worker)
    assert third.heir.channel.sent[-1] == LISTENER
    assert first.worker.channel.sent[:3] == [LISTENER, LISTENER, RETURN]


def test_a_worker_that_has_ended_before_its_ready_is_read_takes_no_place():
    supervisor = Supervisor(Settings(port=0), (), Program(lambda slot: 0))
    slot = SlotState(Slot([]))
    supervisor._group.slots = [slot]
    old, new = worker(slot.slot, 1, SERVING), worker(slot.slot, 2)
    supervisor._group.workers[1] = old
    slot.fill(old)
    slot.fill(new)
    slot.lent = True
    with supervisor._reactor:
        supervisor._heard(new, READY, None)
        assert (slot.worker, slot.lent, old.channel.sent) == (new, True, [])
        supervisor._group.workers[2] = new
        supervisor._announced = True
        supervisor._heard(new, READY, None)
        assert (slot.lent, old.channel.sent) == (False, [HAND_OVER])


def test_who_waits_for_a_worker_that_crashed_gets_another_at_once(two, logged):
    """Its successor may import for seconds."""
    supervisor = Supervisor(Settings(port=0), (), Program(lambda slot: 0))
    supervisor._group, supervisor._announced = two, True
    first, second = two.slots
    crashed = two.workers.pop(second.worker.pid)
    crashed.channel.finish = lambda: None
    with supervisor._reactor:
        supervisor._reactor.time = lambda: 1.0
        supervisor._ended(crashed, 7)
        assert (second.state, second.lent, second.heir) == (PAUSED, True, first.worker)
        assert first.worker.channel.sent == [LISTENER]
        # The next one takes its place when it is ready, and not before.
        follows = worker(second.slot, 5)
        two.workers[5] = follows
        second.fill(follows)
        supervisor._lend_unserved(second)
        assert first.worker.channel.sent == [LISTENER]
        supervisor._heard(follows, READY, None)
        assert first.worker.channel.sent == [LISTENER, RETURN]
        # One that is killed when it has served for long is lent as soon.
        supervisor._reactor.time = lambda: 100.0
        follows.channel.finish = lambda: None
        del two.workers[5]
        supervisor._ended(follows, -9)
        assert (second.state, second.heir) == (WANTED, first.worker)
        assert logged.count('ended with status 7') == logged.count('was ended by signal 9') == 1
        assert first.worker.channel.sent == [LISTENER, RETURN, LISTENER]


def test_the_last_slot_does_not_leave_and_a_spare_one_comes_back(two):
    two.remove()
    two.remove()
    assert len(two.slots) == 1
    sockets = {sock.fileno() for slot in two.slots for sock in slot.slot}
    two.add()
    assert [slot.state for slot in two.slots] == [FILLED, WANTED]
    assert len({sock.fileno() for slot in two.slots for sock in slot.slot} - sockets) == 1


def test_a_slot_that_the_system_refuses_is_reported(two, monkeypatch, logged):
    def refuse(*_):
        raise OSError(24, 'Too many open files')

    monkeypatch.setattr(group_module, 'open_next', refuse)
    two.add()
    assert len(two.slots) == 2
    assert logged.count('no socket for another worker: Too many open files') == 1


# -- the fork -----------------------------------------------------------------------------------


FORKING = '''
import os, signal, sys
from tremolo.workers.fork import fork_worker
from tremolo.workers.slot import Slot

def end(code):
    raise SystemExit(code)

class Foreign:
    def close(self):
        raise BrokenPipeError('in the child')

signal.signal(signal.SIGTERM, lambda *_: print('never'))
for work, foreign in (
        (lambda slot: 0, ()), (lambda slot: 7, ()), (lambda slot: end(None), ()),
        (lambda slot: end(5), ()), (lambda slot: end('words'), ()), (lambda slot: end(1 << 40), ()),
        (lambda slot: 1 / 0, ()), (lambda slot: os.kill(os.getpid(), signal.SIGINT), ()),
        (lambda slot: os.kill(os.getpid(), signal.SIGTERM), ()), (lambda slot: 0, (Foreign(),)),
        (lambda slot: slot.channel_end.send(b'hello'), ())):
    print('once')
    pid, sock = fork_worker(Slot([]), work, foreign)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, sock.recv(100), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    sock.close()
'''


def test_a_child_ends_and_never_returns():
    ended = subprocess.run(
        [sys.executable, '-c', FORKING], env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True, text=True, timeout=PATIENCE, check=True)
    lines = ended.stdout.splitlines()
    # (What was buffered is not written by both.)
    assert lines[::2] == ['once'] * 11
    statuses = [0, 7, 0, 5, 1, 0, 1, 128 + signal.SIGINT, -signal.SIGTERM, 1]
    assert lines[1::2] == [*(f"{status} b'' set()" for status in statuses), "5 b'hello' set()"]
    assert ended.stderr.count('words\n') == 1
    assert ended.stderr.count('ZeroDivisionError') == 1
    assert ended.stderr.count('\nBrokenPipeError') == 1


def test_a_fork_that_fails_leaves_nothing_open(monkeypatch):
    from tremolo.workers.fork import fork_worker

    def refuse():
        raise OSError(11, 'Resource temporarily unavailable')

    monkeypatch.setattr(os, 'fork', refuse)
    with pytest.raises(OSError, match='temporarily'):
        fork_worker(Slot([]), lambda slot: 0, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()

"""`--drain-delay` with workers: they serve on, are replaced, and end together."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from simulated import World
from worker_group import APPLICATION, TWO, wait_until

from tremolo.settings import Settings
from tremolo.systemd.manager import Manager
from tremolo.workers.delay import DrainDelay
from tremolo.workers.group import SERVING, STARTING, Group, Worker

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='/proc is on Linux')

HEALTH = (*TWO, '--health', '/healthz')


def health(workers) -> set[str]:
    return {workers.get('/healthz') for _ in range(10)}


def test_workers_serve_on_and_are_replaced(group):
    # (The delay is longer than all below takes; a SIGINT ends it.)
    workers = group(*HEALTH, '--drain-delay', '60')
    first = workers.wait_for(2)
    assert health(workers) == {'ok\n'}
    # As systemd does: to each process.
    for pid in first:
        os.kill(pid, signal.SIGTERM)
    workers.signal('SIGTERM')
    wait_until(lambda: health(workers) == {'stopping\n'})
    workers.signal('SIGTERM')
    workers.signal('SIGHUP')
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    second = wait_until(lambda: victim not in workers.pids and workers.wait_for(2))
    assert len(first & second) == 1
    wait_until(lambda: health(workers) == {'stopping\n'})
    assert workers.log.count('everything is served for 60 s more') == 1
    assert workers.end('SIGINT') == 128 + signal.SIGINT


def test_workers_stop_together_when_the_delay_is_over(group):
    workers = group(*HEALTH, '--drain-delay', '300ms')
    workers.wait_for(2)
    workers.signal('SIGTERM')
    wait_until(workers.refuses)
    assert workers.end() == 0
    assert workers.log.count('everything is served for 0.3 s more') == 1
    assert workers.log.count('the workers finish what is in flight') == 1
    # (Each worker tells for what it waits.)
    assert len(re.findall('stopping: (?:nothing|waiting)', workers.log)) == 2


def test_a_worker_whose_import_has_caught_its_sigterm_ends_when_it_serves(group):
    """As a callback of Python's import lock may lose it: it was killed 50 s later, with clients."""
    workers = group('--workers', '1', '--port', '0')
    old = workers.wait_for(1)
    file = workers.folder / 'example.py'
    file.write_text("""
import pathlib, time
try:
    pathlib.Path('imports').touch()
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    pass
""" + APPLICATION)
    workers.signal('SIGHUP')
    wait_until((workers.folder / 'imports').exists)
    file.write_text(APPLICATION.replace('first', 'second'))
    workers.signal('SIGHUP')
    wait_until(lambda: not old & workers.pids and workers.wait_for(1))
    assert workers.get().endswith('second')
    assert 'did not end' not in workers.log


def test_the_manager_is_told_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(Manager, '_send', lambda self, message: told.append(message))
    told: list[str] = []
    workers = [Told(1, SERVING), Told(2, STARTING), Told(3, SERVING)]
    settings = Settings(drain_delay=5, shutdown_timeout=20)
    with World().reactor() as reactor:
        group = Group(settings)
        group.workers = {each.pid: each for each in workers}
        delay = DrainDelay(reactor, group, Manager({}), settings)
        delay.tell(workers[0])
        ended: list[float] = []
        for _ in range(2):
            assert delay.begin(lambda _: ended.append(reactor.time()))
        assert told == ['STOPPING=1\nSTATUS=stopping: finishing what is in flight\n'
                        'EXTEND_TIMEOUT_USEC=31000000']
        # One that starts is told when it serves.
        assert [each.left for each in workers] == [1, 0, 1]
        workers[1].state = SERVING
        delay.tell(workers[1])
        assert workers[1].left == 1
        reactor.call_later(10, reactor.stop)
        reactor.run()
        assert ended == [5.0]
        assert not DrainDelay(reactor, group, Manager({}), Settings()).begin(ended.append)


class Told(Worker):
    """A worker that counts how often it is told to leave."""

    left = 0

    def __init__(self, pid: int, state: str) -> None:
        super().__init__(pid, None, 0.0)
        self.state = state

    def leave(self) -> None:
        self.left += self.state == SERVING

"""`--drain-delay` with workers: they serve on, are replaced, and end together."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from worker_group import TWO, wait_until

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

"""A signal that comes twice: the application's shutdown is finished all the same.

A terminal sends SIGINT to workers and supervisor, and the supervisor sends SIGTERM to the workers.
"""

from __future__ import annotations

import os
import signal

import pytest
from worker_group import PATIENCE, wait_until

PROGRAM = '''
import asyncio, os, sys

def note(text):
    with open('events', 'a') as file:
        file.write(f'{os.getpid()} {text}\\n')

async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        await receive()
        note('startup')
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        note('shutdown')
        while not os.path.exists('go'):
            await asyncio.sleep(0.01)
        note('ended')
        await send({'type': 'lifespan.shutdown.complete'})
'''

ONE = ('example:app', '--port', '0')


@pytest.fixture
def start(group, tmp_path):
    """Start the program with options, and let its shutdown begin by a signal."""
    def begin(first, *options):
        (tmp_path / 'example.py').write_text(PROGRAM)
        started = group('--port', '0', *options)
        if options:
            worker, = wait_until(lambda: started.pids)
            os.kill(worker, getattr(signal, first))
        else:
            started.signal(first)
        wait_until(lambda: count(started, 'shutdown'))
        return started
    return begin


def count(group, text):
    path = group.folder / 'events'
    return path.read_text().count(f' {text}\n') if path.exists() else 0


def go(group):
    (group.folder / 'go').touch()


@pytest.mark.parametrize('second', ['SIGTERM', 'SIGHUP'])
def test_a_second_signal_does_not_cut_the_shutdown(start, second):
    group = start('SIGTERM')
    group.signal(second)
    go(group)
    assert group.process.wait(PATIENCE) == 0
    assert count(group, 'ended') == 1


def test_a_second_renewal_does_not_end_the_program(start):
    group = start('SIGHUP')
    group.signal('SIGHUP')
    go(group)
    wait_until(lambda: count(group, 'startup') == 2)
    assert count(group, 'ended') == 1
    assert group.process.stdout.readline().startswith('running on ')
    assert group.end() == 0


@pytest.mark.parametrize('second', ['SIGTERM', 'SIGINT'])
def test_an_end_counts_more_than_a_renewal(start, second):
    group = start('SIGHUP')
    group.signal(second)
    go(group)
    assert group.process.wait(PATIENCE) == 0
    assert (count(group, 'startup'), count(group, 'ended')) == (1, 1)


def test_an_interrupt_of_workers_and_supervisor_is_one(start):
    group = start('SIGINT', '--workers', '1')
    group.signal('SIGINT')
    wait_until(lambda: 'the workers finish' in group.log)
    go(group)
    assert group.process.wait(PATIENCE) == 0
    # (The one that has begun in place of the first may have started before it was told to end.)
    assert count(group, 'ended') == count(group, 'startup') >= 1


def test_an_interrupt_ends_the_shutdown_at_once(start):
    group = start('SIGTERM')
    group.signal('SIGINT')
    assert group.process.wait(PATIENCE) == 128 + signal.SIGINT
    assert count(group, 'ended') == 0

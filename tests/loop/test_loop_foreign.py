"""A bare reactor runs what asyncio can await, though the loop's room knows no asyncio.

Each test has a process of its own: this one has imported asyncio already.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BARE = '''
import sys
from tremolo.loop import Reactor, sleep, spawn

async def double(number):
    await sleep(0.001)
    return 2 * number

def work(awaitable):
    try:
        got.append((yield awaitable))
    finally:
        reactor.stop()

got = []
with Reactor() as reactor:
    reactor.call_soon(lambda: spawn(work(sleep(0.001, 'ours'))))
    reactor.run()
    assert got == ['ours'] and 'asyncio' not in sys.modules and 'tremolo.bridge' not in sys.modules
    reactor.call_soon(lambda: spawn(work(double(21))))
    reactor.run()
    assert got == ['ours', 42] and 'asyncio' in sys.modules
'''


def test_a_bare_reactor_runs_what_asyncio_can_await_and_imports_asyncio_only_then():
    done = subprocess.run([sys.executable, '-c', BARE], cwd=ROOT, capture_output=True, text=True,
                          timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, '')


ALONE = """
from tremolo.loop import Reactor, foreign, spawn

async def nothing():
    pass

def work(coroutine):
    try:
        yield coroutine
    except TypeError as error:
        print(error)
    coroutine.close()
    reactor.stop()

foreign._adopt = None
with Reactor() as reactor:
    reactor.call_soon(lambda: spawn(work(nothing())))
    reactor.run()
"""


def test_without_an_adopter_the_mistake_is_named():
    done = subprocess.run([sys.executable, '-c', ALONE], cwd=ROOT, capture_output=True, text=True,
                          timeout=30, check=False)
    assert (done.stdout, done.stderr) == ('yielded coroutine, which is not a Future\n', '')

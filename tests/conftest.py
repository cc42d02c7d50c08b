"""Fixtures of all tests, and what every test must leave behind: nothing.

A test fails when a `tremolo` logger says something at WARNING or above that it did not expect (by
the fixture `logged`), or when it leaves an open file descriptor or a suspended task on the
`reactor` fixture.
"""

from __future__ import annotations

import compileall
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hosts
import pytest
from beside import Beside
from forked import ForkServer
from simulated import World

import tremolo
from tremolo.loop import Reactor

# The programs that tests start begin as in a terminal. (Where tests run in the background, or under
# `nohup`, these two are ignored, and what is ignored stays so in a program that is started.)
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, 'SIGHUP'):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# These check as tests do: under `python -O`, too, where a plain `assert` does nothing.
pytest.register_assert_rewrite('asgi_sockets', 'control_scene', 'deployment', 'each_case',
                               'http_forms', 'managed', 'prometheus_text', 'server_support',
                               'tls_support', 'web_sockets', 'websocket_peer',
                               'websocket_support', 'websocket_wire', 'worker_group')

if 'TEST_HOST' in os.environ:
    hosts.use(os.environ['TEST_HOST'])


# (While the tests are read, next to nothing becomes garbage; see `pytest_collection_finish`.)
gc.disable()

_KNOWS_FDS = os.path.isdir('/proc/self/fd')


class _Watchdog:
    """Prints where all threads stand when a test takes about a minute.

    pytest's own (`faulthandler_timeout`) starts a thread for each test, and waits for its end.
    """

    SECONDS = 60.0
    LATE = 10.0    # It may be so much later.

    def __init__(self) -> None:
        self._stderr = os.dup(2)
        self._set = -self.LATE

    def pytest_runtest_logstart(self) -> None:
        now = time.monotonic()
        if now - self._set >= self.LATE:
            self._set = now
            faulthandler.dump_traceback_later(self.SECONDS + self.LATE, file=self._stderr)

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        os.close(self._stderr)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Watchdog())
    config.pluginmanager.register(Beside(config))
    # Each of the many programs that tests start would compile all anew where no bytecode is written
    # (PYTHONDONTWRITEBYTECODE): more than half of its start.
    compileall.compile_dir(
        Path(tremolo.__file__).parent, quiet=2, optimize=[*{0, sys.flags.optimize}])


class _Records(logging.Handler):
    """Keeps what the tremolo loggers said, from WARNING on."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.expected = False

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Logged:
    """What was logged so far, as text: `logged.text` and `logged.count('EMFILE')`."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        self.records = records

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def text(self) -> str:
        formatter = logging.Formatter()
        return '\n'.join(formatter.format(record) for record in self.records)

    def count(self, part: str) -> int:
        return sum(part in message for message in self.messages)


def _target(fd: str) -> tuple[str, str]:
    try:
        return fd, os.readlink(f'/proc/self/fd/{fd}')
    except OSError:
        # It listed the directory, and is gone.
        return '', ''


def _open_fds() -> set[tuple[str, str]]:
    if not _KNOWS_FDS:
        return set()
    return set(map(_target, os.listdir('/proc/self/fd')))


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[_Records]:
    """Fail the test that logs a warning or worse, or leaves an open descriptor."""
    before = _open_fds()
    handler = _Records()
    logger = logging.getLogger('tremolo')
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    left = _open_fds() - before
    if left:
        # What only the collector frees is no leak (PyPy frees nothing at once).
        gc.collect()
        left = _open_fds() - before
    if left:
        pytest.fail(f'left open: {sorted(left)}')
    if handler.records and not handler.expected:
        pytest.fail('logged what no test expected:\n' + Logged(handler.records).text)


@pytest.fixture
def logged(nothing_left_behind: _Records) -> Logged:
    """Give what the tremolo loggers say, warnings and errors, and so expect them."""
    nothing_left_behind.expected = True
    return Logged(nothing_left_behind.records)


@pytest.fixture(scope='session')
def fork_servers() -> Iterator[dict[bool, ForkServer]]:
    """Give what forks programs, by whether these import asyncio; nothing where it may not work."""
    if sys.platform != 'linux':
        yield {}
        return
    servers = {False: ForkServer(), True: ForkServer('asyncio')}
    yield servers
    for each in servers.values():
        each.close()


def closed_without_tasks(reactor: Reactor) -> None:
    tasks = [task.where() for task in reactor.tasks]
    reactor.close()
    if tasks:
        pytest.fail(f'left suspended tasks: {tasks}')


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """Give a reactor on the real network and clock."""
    reactor = Reactor()
    yield reactor
    closed_without_tasks(reactor)


@pytest.fixture
def world() -> World:
    """Give a simulated world whose network works in pieces and takes its time."""
    return World(seed=1, latency=0.01, jitter=0.005, buffer_size=20000, largest_piece=7000)


@pytest.fixture
def virtual(world: World) -> Iterator[Reactor]:
    """Give a reactor of the simulated world."""
    reactor = world.reactor()
    yield reactor
    closed_without_tasks(reactor)


def _freeze() -> None:
    if hasattr(gc, 'freeze'):
        gc.collect()
        gc.freeze()


def pytest_collection_finish() -> None:
    """Take what the tests are made of from the collector: many tests collect, each in 0.1 s."""
    gc.enable()
    _freeze()


@pytest.fixture(scope='module', autouse=True)
def reports_are_not_looked_through() -> Iterator[None]:
    """Take the reports on the tests of a file from the collector, too."""
    yield
    _freeze()

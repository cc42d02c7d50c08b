"""In debug mode, code that blocks the loop is named; nobody else is."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from server_support import PATIENCE, Client, request

from tremolo import Tremolo, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.loop import Reactor, Task
from tremolo.service import monitor
from tremolo.service.log import JsonFormatter, TextFormatter
from tremolo.service.monitor import Monitor

# Seconds between two looks that are made by hand: one is no long turn, two are.
STEP = 1 / 16


def line_here() -> int:
    return sys._getframe(1).f_lineno


def monitors() -> int:
    return sum(thread.name == 'tremolo-monitor' for thread in threading.enumerate())


# -- in a time of its own, where every look is made by hand ---------------------------------------


class Watched:
    """A reactor and its monitor; time passes when somebody lets it."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, 'tremolo')
        self._caplog = caplog
        self.now = 0.0
        self.reactor = Reactor(clock=lambda: self.now)
        self.monitor = Monitor(self.reactor)

    def turn(self, *callbacks: Callable[[], Any]) -> None:
        for callback in callbacks:
            self.reactor.call_soon(callback)
        self.reactor.step(0)

    def told(self) -> list[str]:
        """What was told since the last time, without the stacks."""
        records = [record for record in self._caplog.records if record.name == 'tremolo.error']
        self._caplog.clear()
        return [record.getMessage().partition('\n')[0] for record in records]

    def wait(self, looks: int) -> None:
        """Let time pass, in which the monitor looks so often."""
        for _ in range(looks):
            self.now += STEP
            self.line = line_here() + 1
            self.monitor.look()


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture, logged: Any) -> Iterator[Watched]:
    # (Each of these tests says all that is to be told.)
    watched = Watched(caplog)
    yield watched
    watched.reactor.close()


def test_a_turn_is_told_once_and_so_is_the_next(watched):
    def slow():
        watched.wait(1)
        assert watched.told() == []
        watched.wait(1)
        assert watched.told() == [
            f'the loop did not poll for 0.12 s; now at {__file__}:{watched.line} in wait']
        watched.wait(16)
        assert watched.told() == []

    for _ in range(2):
        watched.turn(slow)
        watched.wait(1)
        assert watched.told() == []


def test_the_stack_is_shown_line_by_line_and_is_no_part_of_the_message(watched, caplog):
    watched.turn(lambda: watched.wait(6))
    record, = caplog.records
    first, second, *_, last = TextFormatter('%(message)s').format(record).splitlines()
    assert first.startswith('the loop did not poll for 0.12 s; now at ')
    assert second.startswith('      File ') and last.startswith('        ')
    entry = json.loads(JsonFormatter().format(record))
    assert entry['message'] == first
    assert entry['stack'].splitlines()[0] == second[4:]


def test_many_fast_callbacks_of_one_turn_are_told_together(watched):
    watched.turn(*[lambda: watched.wait(1)] * 2)
    assert [text[:34] for text in watched.told()] == ['the loop did not poll for 0.12 s; ']


def test_many_turns_are_no_long_one(watched):
    for _ in range(10):
        watched.turn(lambda: watched.wait(1))
    assert watched.told() == []


def test_what_a_host_does_between_two_turns_is_its_own_affair(watched):
    watched.turn()
    watched.wait(9)
    watched.turn(lambda: watched.wait(1))
    watched.wait(9)
    assert watched.told() == []


def test_a_process_that_stood_still_accuses_nobody(watched):
    def stopped():
        watched.now += 100
        watched.monitor.look()
        assert watched.told() == []

    watched.turn(stopped)


def test_who_waits_in_a_debugger_is_left_alone(watched):
    names: dict[str, Any] = {'__name__': 'bdb', 'watched': watched}
    exec('def interact(): watched.wait(9)', names)
    watched.turn(names['interact'])
    watched.wait(1)
    assert watched.told() == []


def test_where_no_application_is_at_work_the_innermost_line_is_named(watched, caplog):
    def look() -> float:
        watched.now += 0.06
        return watched.now

    watched.reactor.time = look
    watched.turn(*[watched.monitor.look] * 3)
    message = caplog.records[0].getMessage()
    assert 'monitor.py' in message.partition('\n')[0]
    assert ', in step\n' not in message
    watched.reactor.time = lambda: watched.now


def test_a_reactor_that_closes_is_not_late(watched):
    began = watched.now

    def handler():
        try:
            yield sleep(1000)
        finally:
            watched.wait(9)

    watched.turn(lambda: Task(handler(), reactor=watched.reactor))
    watched.reactor.close()
    assert watched.now > began
    assert watched.told() == []


# -- in a server ----------------------------------------------------------------------------------


# Seconds that a turn may take here.
LIMIT = 0.3


class Blocking(logging.Handler):
    """Blocks until that is told, and then a little longer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told = threading.Event()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))
        self._told.set()

    def begin(self) -> Callable[[float], bool]:
        """Return what blocks: a function of the standard library."""
        self._told.clear()
        return self._told.wait

    def end(self, line: int, function: str) -> None:
        """Expect that exactly this was told."""
        message, = self.messages
        first, *stack = message.splitlines()
        assert re.match(r'the loop did not poll for \d+\.\d\d s; now at ', first)
        assert first.endswith(f'; now at {__file__}:{line} in {function}')
        # From the application to the innermost, which is in the standard library.
        assert stack[0] == f'  File "{__file__}", line {line}, in {function}'
        assert stack[1].strip().startswith('block(')
        assert 'threading.py' in stack[-2] or 'threading.py' in stack[-3]
        assert 'tremolo/loop' not in message
        self.messages.clear()


@pytest.fixture
def blocking(monkeypatch: pytest.MonkeyPatch, logged: Any) -> Iterator[Blocking]:
    # A turn of a busy machine may well take 0.1 s; how long it may, is told above.
    monkeypatch.setattr(monitor, 'LIMIT', LIMIT)
    handler = Blocking()
    logger = logging.getLogger('tremolo')
    level = logger.level
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    assert not monitors()
    # What was told, a test took by `end`; and nothing else was said.
    assert handler.messages == []
    assert all(each.startswith('the loop did not poll for ') for each in logged.messages)


def make_app(blocking: Blocking) -> Tremolo:
    """Make an application of which everything blocks; `app.context.line` is where."""
    app = Tremolo()

    @app.route('/plain')
    def plain(globals):
        block, globals.line = blocking.begin(), line_here() + 1
        block(PATIENCE)
        # Nothing more is told of this turn.
        time.sleep(0.12)
        return 'plain'

    @app.route('/generator')
    def generator(globals):
        yield b'gener'
        yield sleep(0.01)
        block, globals.line = blocking.begin(), line_here() + 1
        block(PATIENCE)
        yield b'ator'

    @app.route('/coroutine')
    async def coroutine(globals):
        await asyncio.sleep(0.01)
        block, globals.line = blocking.begin(), line_here() + 1
        block(PATIENCE)
        return 'coroutine'

    @app.route('/fast')
    def fast():
        yield sleep(0.01)
        yield b'fast'

    return app


def get(address: Any, name: str) -> None:
    client = Client(address)
    client.send(request(f'/{name}'))
    assert client.take().body.decode() == name
    client.close()


def test_each_handler_that_blocks_is_named(blocking):
    app = make_app(blocking)
    with app.start(debug=True) as server:
        assert monitors() == 1
        for name in ('plain', 'generator', 'coroutine', 'plain'):
            get(server.address, name)
            blocking.end(app.context.line, name)


def test_an_asgi_application_that_blocks_is_named(blocking):
    line = 0

    async def application(scope, receive, send):
        nonlocal line
        await asyncio.sleep(0)
        block, line = blocking.begin(), line_here() + 1
        block(PATIENCE)
        await send({'type': 'http.response.start', 'status': 200})
        await send({'type': 'http.response.body', 'body': b'application'})

    with AsgiApplication(application).start(debug=True, lifespan='off') as server:
        get(server.address, 'application')
        blocking.end(line, 'application')


@pytest.mark.parametrize('name', ['generator', 'coroutine'])
def test_a_server_that_its_host_steps_is_watched_in_its_steps_alone(blocking, name):
    app = make_app(blocking)
    with app.start(thread=False, debug=True) as server:
        client = Client(server.address)
        client.send(request(f'/{name}'))
        while not blocking.messages:
            server.step(0.05)
        blocking.end(app.context.line, name)
        time.sleep(LIMIT + 0.1)
        server.step(0)
        client.close()
    assert blocking.messages == []


def test_run_watches_too(blocking, tmp_path, capsys):
    app = make_app(blocking)
    path = tmp_path / 'socket'

    def ask() -> None:
        # The path is there before anybody listens.
        answered = False
        while not answered:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                get(str(path), 'plain')
                answered = True
        app.stop()

    thread = threading.Thread(target=ask)
    thread.start()
    app.run(bind=f'unix:{path}', debug=True)
    thread.join()
    blocking.end(app.context.line, 'plain')


def test_without_debug_nobody_watches(blocking):
    with make_app(blocking).start() as server:
        get(server.address, 'fast')
        assert not monitors()


def test_fast_handlers_and_an_idle_loop_are_not_told(blocking):
    with make_app(blocking).start(debug=True) as server:
        for _ in range(30):
            get(server.address, 'fast')
        time.sleep(LIMIT + 0.1)
    assert blocking.messages == []


def test_a_reactor_has_one_monitor_as_long_as_it_lives(blocking):
    with Reactor() as reactor:
        for _ in range(2):
            make_app(blocking).start(reactor, thread=False, debug=True).stop()
            assert monitors() == 1


# -- names that are written as text ---------------------------------------------------------------


@pytest.mark.parametrize(('module', 'function'), monitor.DRIVERS)
def test_what_drives_a_turn_is_where_the_monitor_looks_for_it(module, function):
    """A module or function that was moved or renamed would silence the monitor."""
    found = importlib.import_module(module)
    assert any(isinstance(value, type) and value.__module__ == module
               and inspect.isfunction(vars(value).get(function)) for value in vars(found).values())

"""A log says the same ten times a second, then it counts; what is not the same is never hidden."""

from __future__ import annotations

import gc
import logging
import os
import threading
from typing import Any

import pytest
from server_support import request
from server_support import virtual as hosted

from tremolo import Forbidden, Tremolo, pace, sleep
from tremolo.pace import Paces
from tremolo.wsgi.input import Errors


@pytest.fixture
def app(logged: Any) -> Tremolo:
    app = Tremolo()

    def helper(kind: type[Exception]) -> None:
        raise kind('a mistake')

    @app.route('/value')
    def value() -> None:
        helper(ValueError)

    @app.route('/key')
    def key() -> None:
        helper(KeyError)

    @app.route('/other')
    def other() -> None:
        helper(ValueError)

    @app.route('/caused/<int:which>')
    def caused(which: int) -> None:
        try:
            1 / 0 if which else [][0]
        except (ZeroDivisionError, IndexError) as error:
            raise ValueError from error

    @app.route('/deep/<int:depth>')
    def deep(depth: int) -> None:
        deep(depth - 1) if depth else helper(ValueError)

    @app.route('/late')
    def late():
        yield b'x' * 100_000
        raise Forbidden('too late')

    @app.route('/late/too')
    def late_too():
        yield b'x' * 100_000
        raise Forbidden('too late')

    return app


def ask(host: Any, path: str, times: int) -> None:
    for _ in range(times):
        host.connect(request(path))
    host.settle()


def test_errors_of_one_place_are_written_ten_times_a_second_and_counted(app, logged):
    with hosted(app) as host:
        ask(host, '/value', 25)
        assert logged.count("failed on GET '/value'") == 10
        assert all(record.exc_info for record in logged.records)
        host.advance(1.5)
        ask(host, '/value', 12)
        assert len(logged.records) == 20
        host.advance(9)
        count = logged.records[20]
        assert count.name == 'tremolo.error' and count.levelno == logging.ERROR
        assert count.getMessage().startswith('app.<locals>.value() at ')
        assert f" failed on GET '/value' (ValueError at {__file__}:" in count.getMessage()
        assert count.getMessage().endswith('): 17 more in the last 10 s')
        # It is told once, and then there is nothing to tell.
        host.advance(100)
        assert len(logged.records) == 21
        ask(host, '/value', 1)
        assert len(logged.records) == 22


def test_other_errors_are_not_hidden_by_them(app, logged):
    """Not those of another class, handler, cause or place; a recursion of any depth is the same."""
    with hosted(app) as host:
        ask(host, '/value', 20)
        for path in ('/key', '/other', '/caused/0', '/caused/1', '/late', '/late/too'):
            before = len(logged.records)
            ask(host, path, 20)
            assert len(logged.records) == before + 10, path
        before = len(logged.records)
        for depth in range(1, 21):
            ask(host, f'/deep/{depth}', 1)
        assert len(logged.records) == before + 10


def test_the_counts_are_told_when_the_server_ends(app, logged):
    with hosted(app, backlog=2000) as host:
        ask(host, '/value', 134)
        host.advance(3)
        host.server.close()
        assert logged.messages[10].endswith(': 124 more in the last 3 s')
        assert len(logged.records) == 11
        # Nobody counts now, so all is written.
        for _ in range(20):
            logging.getLogger('tremolo.error').error('it ends')
        assert logged.count('it ends') == 20


def test_clients_that_leave_a_handler_that_minds_are_counted(logged):
    app = Tremolo()

    @app.route('/')
    def index():
        try:
            yield sleep(1000)
        finally:
            raise ValueError('the client has left')

    with hosted(app) as host:
        clients = [host.connect(request()) for _ in range(50)]
        host.settle()
        for client in clients:
            client.reset()
        host.settle()
        host.advance(11)
    assert len(logged.records) == 11 and 'more in the last 1' in logged.messages[-1]


def test_lines_of_the_application_are_never_left_out(app, logged):
    with hosted(app):
        stream = Errors()
        for _ in range(30):
            stream.write('the same\n')
            logging.getLogger('tremolo.app').error('of the application')
    assert logged.count('wsgi.errors: the same') == logged.count('of the application') == 30


def test_of_the_supervisor_and_the_start_only_the_very_same_is_counted(app, logged):
    logger = logging.getLogger('tremolo')
    with hosted(app):
        for number in range(20):
            logger.error('worker %d died', number)
            logger.error('a connection is lost: no descriptor is left for it')
        assert logged.count('died') == 20
        assert logged.count('is lost') == 10
    assert logged.messages[-1] == (
        'a connection is lost: no descriptor is left for it: 10 more in the last 1 s')


def test_a_thread_may_be_the_one_that_is_counted(app, logged):
    def work():
        for _ in range(15):
            logging.getLogger('tremolo.loop').error('in a thread')

    with hosted(app) as host:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert logged.count('in a thread') == 10
        host.advance(10.1)
        assert logged.messages[10:] == ['in a thread: 5 more in the last 10 s']


def test_memory_is_bounded_and_no_count_is_lost(virtual, logged):
    paces = Paces(virtual)
    for number in range(2500):
        for _ in range(pace.MOST_LINES + 1 + number % 2):
            paces.may_write(number, lambda: ('tremolo.error', logging.ERROR, 'said', ''))
    paces.close()
    told = [int(message.split()[1]) for message in logged.messages]
    assert sum(told) == 3750 and len(told) == 2500
    assert len(vars(paces)['_paces']) <= 1000


def test_who_is_forked_or_forgotten_counts_nothing(reactor, logged):
    paces = Paces(reactor)
    paces.watch()
    paces.process = os.getpid() + 1    # (What a child has of its parent.)
    for _ in range(20):
        logging.getLogger('tremolo.error').error('of a child')
    paces.process -= 1
    del paces
    gc.collect()
    for _ in range(20):
        logging.getLogger('tremolo.error').error('of a server that nobody closed')
    assert len(logged.records) == 40


def test_a_record_of_odd_parts_has_a_pace_too(app, logged):
    class Strange(type):
        __hash__ = None    # type: ignore[assignment]
        __name__ = property(lambda self: 1 / 0)    # type: ignore[assignment]

    class Odd(Exception, metaclass=Strange):
        def __str__(self) -> str:
            raise RuntimeError

    logger = logging.getLogger('tremolo.error')
    with hosted(app):
        for _ in range(20):
            logger.error('%s of %s', Odd(), 'x', exc_info=Odd())
            logger.error(['a list'])
            logger.error({})
    assert len(logged.records) == 33

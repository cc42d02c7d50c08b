"""The report on SIGUSR2: each request in hand with its age and the place of its handler."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from server_support import PATIENCE, Client, request

from tremolo import Tremolo, sleep, spawn
from tremolo.asgi_app import AsgiApplication
from tremolo.server import Server
from tremolo.service import Service
from tremolo.service.report import report


def line_here() -> int:
    return sys._getframe(1).f_lineno


class Place:
    """Where a handler stands, as it says itself."""

    line = 0

    def next_line(self) -> None:
        self.line = sys._getframe(1).f_lineno + 1

    def __str__(self) -> str:
        return f'{__file__}:{self.line}'


@pytest.fixture
def place() -> Place:
    return Place()


@contextmanager
def asked(service: Service, path: str = '/', **options: Any) -> Iterator[Server]:
    """Ask for a page; go on when its handler waits."""
    with service.start(thread=False, **options) as running:
        server = running.server
        client = Client(running.address)
        client.send(request(path))
        while not any(each.task for each in server.connections):
            running.step(PATIENCE)
        yield server
        # (A client that only ends its side might still read.)
        client.reset()
        while server.connections:
            running.step(PATIENCE)


def check(server: Server, place: Place, path: str = '/') -> None:
    """Expect one line, and that the report imports nothing."""
    modules = set(sys.modules)
    found = re.fullmatch(r"GET '(.*)': \d+\.\d s, (.*)", report(server))
    assert found is not None, report(server)
    assert found.groups() == (path, str(place))
    assert set(sys.modules) == modules


def test_a_generator(place):
    app = Tremolo()

    @app.route('/shop')
    def handler():
        yield b'begun'
        place.next_line()
        yield sleep(3600)

    with asked(app, '/shop') as server:
        check(server, place, '/shop')


def test_an_async_def(place):
    app = Tremolo()

    async def wait():
        place.next_line()
        await asyncio.sleep(3600)

    @app.route('/')
    async def handler():
        await wait()

    with asked(app) as server:
        check(server, place)


def test_an_async_def_that_waits_for_a_future_of_ours(place):
    app = Tremolo()

    @app.route('/')
    async def handler():
        place.next_line()
        await sleep(3600)

    with asked(app) as server:
        check(server, place)


def test_an_async_def_with_yield(place):
    app = Tremolo()

    @app.route('/')
    async def handler():
        yield b'begun'
        place.next_line()
        await asyncio.sleep(3600)

    with asked(app) as server:
        check(server, place)


def test_a_handler_on_a_thread(place):
    app = Tremolo()
    begun, end = threading.Event(), threading.Event()

    @app.route('/')
    def handler(thread=True):
        place.line = line_here() + 2
        begun.set()
        end.wait(PATIENCE)
        return 'done'

    with asked(app) as server:
        assert begun.wait(PATIENCE)
        try:
            # The thread goes on to the next line when it likes.
            while str(place) not in report(server):
                pass
            check(server, place)
        finally:
            end.set()


def test_an_asgi_application(place):
    async def inner(receive):
        await receive()
        place.next_line()
        await receive()

    async def application(scope, receive, send):
        await inner(receive)

    with asked(AsgiApplication(application), lifespan='off') as server:
        check(server, place)


def test_an_asgi_application_that_waits_for_the_client(place):
    async def application(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200})
        while True:
            place.next_line()
            await send({'type': 'http.response.body', 'body': bytes(1 << 20), 'more_body': True})

    with asked(AsgiApplication(application), lifespan='off') as server:
        check(server, place)


def test_a_handler_that_runs_at_this_moment_is_in_the_stack_of_its_thread():
    app = Tremolo()
    told = []

    @app.route('/')
    def handler(request):
        told.append(report(request.connection.server))
        return 'done'

    with app.start() as running:
        client = Client(running.address)
        client.send(request())
        assert client.take().body == b'done'
        client.close()
    assert re.fullmatch(r"GET '/': 0\.\d s, running", told[0])


def test_a_task_that_belongs_to_no_request_is_listed(place):
    app = Tremolo()
    job_place = Place()

    def job():
        job_place.next_line()
        yield sleep(3600)

    @app.route('/')
    def handler():
        task = spawn(job())
        try:
            place.next_line()
            yield sleep(3600)
        finally:
            task.cancel()

    with asked(app) as server:
        first, second = report(server).splitlines()
        assert first.startswith("GET '/': ") and first.endswith(f' s, {place}')
        assert second == f'waiting: {job_place}'


def test_what_cannot_tell_where_it_stands_spoils_no_report():
    class Mute:
        def cancel(self) -> None:
            """Be stopped."""

        def where(self) -> str:
            raise RuntimeError

    class Held(Service):
        def handle_on(self, reactor, settings):
            def hold(request, response):
                response.connection.task = Mute()

            return hold

    with asked(Held()) as server:
        assert re.fullmatch(r"GET '/': \d+\.\d s, \?", report(server))


def test_a_connection_without_a_request_is_not_in_it():
    with Tremolo().start(thread=False) as running:
        client = Client(running.address)
        while not running.server.connections:
            running.step(PATIENCE)
        assert report(running.server) == ''
        client.close()

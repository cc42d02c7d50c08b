"""Fair turns in ASGI applications, with asyncio's real loop and a clock that the application moves.

The good clients and the hostile ones are sockets of this process; each step is one turn of both
loops.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from server_support import request

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.bridge.bridge import bridge_to
from tremolo.loop import Reactor
from tremolo.settings import Settings

HELLO = 0.0001    # Seconds that a page for good clients takes.
POLL = 0.000005    # Seconds of a turn itself.
_NOTED: contextvars.ContextVar[str] = contextvars.ContextVar('noted', default='')


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


async def body_of(receive: Any) -> bytes:
    data, more = b'', True
    while more:
        message = await receive()
        data += message.get('body', b'')
        more = message.get('more_body', False)
    return data


class Application:
    """An ASGI application with a page for each way to cost much."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.contexts: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope['path'][1:]
        _NOTED.set(name)
        if name == '':
            self.clock.work(HELLO)
        else:
            await getattr(self, name)(receive, send)
        self.contexts.add(_NOTED.get())
        await send({'type': 'http.response.start', 'status': 200,
                    'headers': [(b'content-length', b'6')]})
        await send({'type': 'http.response.body', 'body': b'worked' if name else b'hello.'})

    async def plain(self, receive: Any, send: Any) -> None:
        self.clock.work(0.01)

    async def json(self, receive: Any, send: Any) -> None:
        await body_of(receive)
        self.clock.work(0.01)

    async def waits(self, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        self.clock.work(0.01)
        await asyncio.sleep(0.000001)
        self.clock.work(0.01)

    async def tasks(self, receive: Any, send: Any) -> None:
        async def part() -> None:
            await asyncio.sleep(0.000001)
            self.clock.work(0.005)

        await asyncio.gather(part(), part())

    async def endless(self, receive: Any, send: Any) -> None:
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        while True:
            self.clock.work(0.0002)
            await send({'type': 'http.response.body', 'body': b'x' * 100, 'more_body': True})


def native(clock: Clock) -> Tremolo:
    """The same as coroutines of our own framework."""
    app = Tremolo()

    @app.route('/')
    async def hello():
        clock.work(HELLO)
        return 'hello.'

    @app.route('/plain')
    async def plain():
        clock.work(0.01)
        return 'worked'

    @app.route('/endless')
    async def endless():
        while True:
            clock.work(0.0002)
            yield b'x' * 100

    @app.route('/json', methods=['POST'])
    async def json(request):
        await request.body()
        clock.work(0.01)
        return 'worked'

    return app


class Host:
    """A server that is stepped, and its clients."""

    def __init__(self, app: Any, clock: Clock) -> None:
        self.clock = clock
        self.reactor = Reactor(clock=clock)
        self.bridge = bridge_to(self.reactor)
        self.server = app.serve_on(self.reactor, Settings(port=0, lifespan='off'))
        self.server.start()
        self.reactor.fairness.usage = None    # (The clock is not that of the processor.)
        self.address = self.server.listeners[0].address
        self.sockets: list[socket.socket] = []
        self.hostile: list[tuple[socket.socket, bytes]] = []
        self.answered = 0

    def connect(self) -> socket.socket:
        sock = socket.create_connection(self.address)
        sock.setblocking(False)
        self.sockets.append(sock)
        return sock

    def turn(self) -> None:
        self.clock.work(POLL)
        self.bridge.step(0)
        for sock, sent in self.hostile:
            with suppress(BlockingIOError):
                while sock.recv(65536):
                    pass
            with suppress(BlockingIOError):
                sock.send(sent)

    def share(self, good: list[socket.socket], seconds: float) -> float:
        """Let good clients ask for so long; return the part of the time that they had."""
        begun, answered = self.clock.now, 0
        while self.clock.now < begun + seconds:
            self.turn()
            for sock in good:
                with suppress(BlockingIOError):
                    if b'hello' in sock.recv(65536):
                        answered += 1
                        sock.send(request('/'))
        return answered * HELLO / (self.clock.now - begun)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.server.close()
        for _ in range(5):
            self.turn_alone()
        self.reactor.close()

    def turn_alone(self) -> None:
        self.clock.work(POLL)
        self.bridge.step(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def hosting(app: Any, clock: Clock) -> Iterator[Host]:
    host = Host(app, clock)
    try:
        yield host
    finally:
        host.close()


CASES = {
    'plain': request('/plain'), 'json': request('/json', 'POST', body=b'x' * 10_000),
    'long json': request('/json', 'POST', body=b'x' * 30_000),
    'waits': request('/waits'), 'tasks': request('/tasks'), 'endless': request('/endless'),
}


# (A step of asyncio never waits in a line. What waits is the next request, the end of a long body,
# and who has used up its slice in `send`.)
@pytest.mark.parametrize(('kind', 'name', 'before'), [
    *(('asgi', name, False) for name in CASES), ('asgi', 'json', True), ('asgi', 'endless', True),
    ('native', 'plain', False), ('native', 'json', True), ('native', 'endless', False),
])
def test_good_clients_keep_half_beside_hostile_ones(clock, kind, name, before):
    app = AsgiApplication(Application(clock)) if kind == 'asgi' else native(clock)
    for host in hosting(app, clock):
        hostile = [(host.connect(), CASES[name]) for _ in range(5)]
        good = [host.connect() for _ in range(10)]
        if before:
            # They have begun when turns are rationed.
            host.hostile = hostile
            for _ in range(5):
                host.turn()
        for sock in good:
            sock.send(request('/'))
        host.share(good, 0.02)
        host.hostile = hostile
        host.share(good, 0.3)    # They are found out.
        assert host.share(good, 0.2) > 0.5


def test_bodies_of_a_known_length_that_end_together_are_few_in_a_turn(clock):
    """Who counts knows the end with the last piece: twelve pages were made in one turn."""
    turns: list[int] = []

    async def counts(scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] == 'http':
            body = await body_of(receive)
            turns.append(host.reactor.turns)
            clock.work(0.05)
            await send({'type': 'http.response.start', 'status': 200, 'headers': []})
            await send({'type': 'http.response.body', 'body': b'%d' % len(body)})

    for host in hosting(AsgiApplication(counts), clock):
        clients = [host.connect() for _ in range(6)]
        for _ in range(2):
            for sock in clients:
                sock.send(request('/', 'POST', body=b'x' * 30_000))
            for _ in range(400):
                clock.work(0.005)    # (There is time for those that wait.)
                host.turn()
            assert all(b'\r\n\r\n30000' in sock.recv(65536) for sock in clients)
        assert len(turns) == 12 and max(Counter(turns).values()) <= 2


@pytest.fixture
def application(clock: Clock) -> Application:
    return Application(clock)


def test_callbacks_that_wait_run_in_their_context_and_can_be_cancelled(clock, application):
    ran: list[str] = []

    async def handles(receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        clock.work(0.01)
        loop.call_soon(lambda: ran.append(_NOTED.get()))
        cancelled = loop.call_soon(ran.append, 'cancelled')
        await asyncio.sleep(0)
        late = loop.call_soon(ran.append, 'late')
        loop.call_soon(late.cancel)
        await asyncio.sleep(0)
        cancelled.cancel()

    def fails(receive: Any, send: Any) -> Any:
        asyncio.get_running_loop().call_soon(ran.append, 'begun')
        return asyncio.sleep(0)

    application.handles = handles    # type: ignore[attr-defined]
    application.fails = fails    # type: ignore[attr-defined]
    for host in hosting(AsgiApplication(application), clock):
        good = [host.connect() for _ in range(10)]
        hostile = host.connect()
        for sock in good:
            sock.send(request('/'))
        hostile.send(request('/handles') * 5)
        host.share(good, 0.2)
        hostile.send(request('/fails'))
        host.share(good, 0.4)
        assert ran.count('handles') == ran.count('cancelled') == ran.count('late') == 5
        assert ran.count('begun') == 1
        assert application.contexts == {'', 'handles', 'fails'}
        host.reactor.fairness.end()
        call_soon = vars(host.bridge.loop)['call_soon']
        assert call_soon.__name__ == 'noted_soon'    # (What a host of the loop needs.)


def test_errors_and_ends_of_tasks_that_wait_are_theirs(clock, application, logged):
    async def raises(receive: Any, send: Any) -> None:
        clock.work(0.01)
        await asyncio.sleep(0)
        clock.work(0.01)
        raise ValueError('of this page')

    application.raises = raises    # type: ignore[attr-defined]
    for host in hosting(AsgiApplication(application), clock):
        good = [host.connect() for _ in range(10)]
        for sock in good:
            sock.send(request('/'))
        hostile, leaves = host.connect(), host.connect()
        hostile.send(request('/raises') * 3)
        host.share(good, 0.1)
        leaves.send(request('/waits'))
        host.share(good, 0.02)
        leaves.close()
        host.share(good, 0.8)
        assert hostile.recv(65536).count(b'HTTP/1.1 500') == 3
        assert logged.text.count('of this page') >= 3
        assert not host.server.jobs and len(host.server.connections) == 11

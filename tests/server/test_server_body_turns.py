"""Bodies of many tiny chunks: parsed some at a time, so that others have their turn in between.

(tests/http/test_http_chunks.py has what is parsed, and how it is counted.)
"""

from __future__ import annotations

import pytest
from server_support import answers, bodies, request, serving, virtual
from simulated import World

from tremolo import Tremolo
from tremolo.asgi_app import AsgiApplication
from tremolo.http import RequestParser
from tremolo.http.chunked import ChunkedBody

TINY = 20_000    # Chunks of five bytes; one read of 64 KiB holds 6,500 of them.
# Chunks of one turn: a read and a look at the ready queue, each of three pieces of at most 512.
AT_ONCE = 2 * 3 * 512


def app() -> Tremolo:
    app = Tremolo()

    @app.route('/body', methods=['POST'])
    def body(request):
        yield str(len((yield request.body())))

    @app.route('/read', methods=['POST'])
    def read(request):
        size = 0
        while data := (yield request.read(65536)):
            size += len(data)
        yield str(size)

    @app.route('/thread', methods=['POST'])
    def thread(request, thread=True):
        return str(len(request.body().result()))

    @app.route('/ignore', methods=['POST'])
    def ignore():
        return 'ignored'

    @app.route('/hello')
    def hello():
        return 'hello'

    return app


async def asgi(scope, receive, send):
    assert scope['type'] == 'http'
    size, more = 0, True
    while more:
        event = await receive()
        size += len(event.get('body', b''))
        more = event.get('more_body', False)
    body = b'%d' % size
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-length', b'%d' % len(body))]})
    await send({'type': 'http.response.body', 'body': body})


def tiny(count: int, path: str = '/body') -> bytes:
    return (request(path, 'POST', 'Transfer-Encoding: chunked')
            + b'5\r\nhello\r\n' * count + b'0\r\n\r\n')


@pytest.fixture
def steps(monkeypatch):
    """How many chunks each step of a body has taken."""
    steps, take = [], ChunkedBody.take

    def noted(self, data, pos):
        before = self._count
        try:
            return take(self, data, pos)
        finally:
            steps.append(self._count - before)

    monkeypatch.setattr(ChunkedBody, 'take', noted)
    return steps


def in_turns(host, steps, client, answer: bytes) -> dict[int, int]:
    """How many chunks each turn of a reactor parsed until the answer came."""
    turns: dict[int, int] = {}
    seen = 0

    def done() -> bool:
        nonlocal seen
        turn = host.reactor.turns
        turns[turn] = turns.get(turn, 0) + sum(steps[seen:])
        seen = len(steps)
        return client.received.endswith(answer)

    host.until(done)
    return turns


@pytest.mark.parametrize('path', ['/body', '/read'])
def test_a_turn_parses_a_bounded_number_of_chunks(steps, path):
    # (All of it is in the socket at once, and is read in pieces of 64 KiB.)
    with virtual(app(), World(buffer_size=8 << 20)) as host:
        client = host.connect(tiny(TINY, path))
        turns = in_turns(host, steps, client, b'%d' % (5 * TINY))
        assert sum(turns.values()) >= TINY
        assert max(turns.values()) <= AT_ONCE, turns


def test_what_has_come_is_parsed_though_nothing_more_comes(steps):
    # A head with all chunks behind it in one read, and then silence.
    with virtual(app(), World(buffer_size=8 << 20), pipeline_size=8 << 20) as host:
        data = tiny(6000)
        client = host.connect(data)
        assert client.take().body == b'%d' % (5 * 6000)
        client.send(request('/hello', 'GET', 'Connection: close'))
        client.until_ended()
        assert bodies(client.received) == [b'hello']


@pytest.mark.parametrize('path', ['/body', '/read', '/thread', '/async', 'ASGI'])
def test_every_kind_of_handler_gets_all_of_it(path):
    application = AsgiApplication(asgi) if path == 'ASGI' else app()
    if path == '/async':    # (No asyncio in a simulated world.)
        @application.route('/async', methods=['POST'])
        async def coroutine(request):
            return str(len(await request.body()))

    with serving(application, lifespan='off') as host:
        client = host.connect(tiny(TINY, '/' + path.strip('/')) + request('/hello'))
        assert client.take().body == b'%d' % (5 * TINY)
        assert client.take().status == 200


def test_others_are_answered_in_between(steps):
    with virtual(app(), World(buffer_size=8 << 20)) as host:
        slow = host.connect(tiny(TINY))
        host.until(lambda: steps)
        good = host.connect(request('/hello'))
        good.until(b'hello')
        assert slow.received == b''
        slow.until(b'%d' % (5 * TINY))


@pytest.mark.parametrize('count', [100, 3000, 10_000])
def test_an_unread_body_of_tiny_chunks_is_thrown_away_in_turns(steps, count):
    with virtual(app(), World(buffer_size=8 << 20), discard_size=8 << 20) as host:
        client = host.connect(tiny(count, '/ignore')
                              + request('/hello', 'GET', 'Connection: close'))
        turns = in_turns(host, steps, client, b'')
        client.until_ended()
        got = bodies(client.received)
        # (It goes on if the end had come with the head; else the connection ends.)
        assert got in ([b'ignored', b'hello'], [b'ignored'])
        assert not turns or max(turns.values()) <= AT_ONCE


def test_a_fault_behind_tiny_chunks_is_found_in_its_turn(steps):
    data = tiny(TINY)[:-5] + b'zz\r\n'
    with virtual(app(), World(buffer_size=8 << 20)) as host:
        client = host.connect(data)
        client.until_ended()
        assert answers(client.received)[0].status == 400


def test_a_client_that_leaves_meanwhile_leaves_nothing(steps):
    with virtual(app(), World(buffer_size=8 << 20)) as host:
        client = host.connect(tiny(TINY))
        host.until(lambda: len(steps) > 3)
        client.reset()
        host.settle()
        assert not host.server.connections


def test_empty_lines_before_a_request_are_passed_over_in_one_step(monkeypatch):
    calls, event = [], RequestParser.next_event

    def counted(self):
        calls.append(self)
        return event(self)

    monkeypatch.setattr(RequestParser, 'next_event', counted)
    with virtual(app()) as host:
        client = host.connect(b'\r\n' * 8 + request('/hello', 'GET', 'Connection: close'))
        client.until_ended()
        assert bodies(client.received) == [b'hello']
    assert len(calls) <= 3

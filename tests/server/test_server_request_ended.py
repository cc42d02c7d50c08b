"""`Server.request_ended`: each answer's end is told once, with its reason, and harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, NamedTuple

import pytest
from server_support import Client, answers, request, serving, virtual

from tremolo import HTTPError, Tremolo, pace, sleep
from tremolo.asgi_app import AsgiApplication
from tremolo.server import REASONS

UPGRADE = ('Connection: upgrade', 'Upgrade: echo')


class Ended(NamedTuple):
    """What an observer saw of an answer that had ended."""

    target: str
    status: int
    framing: str
    reason: str


class Observer:
    """Records what it is told, and that nothing of it is in hand any more."""

    def __init__(self) -> None:
        self.told: list[Ended] = []

    def __call__(self, response: Any, reason: str) -> None:
        assert reason in ('', *REASONS)
        assert not response.live
        assert response.connection.response is not response
        self.told.append(Ended(response.request.target.decode(), response.status,
                               response.framing, reason))


def fails(response: Any, reason: str) -> None:
    raise RuntimeError('this observer fails')


def make_app() -> Tremolo:
    app = Tremolo()

    @app.route('/whole', methods=['GET', 'POST'])
    def whole():
        return b'hello'

    @app.route('/nothing')
    def nothing():
        return None

    @app.route('/unchanged')
    def unchanged(response):
        response.status = 304
        return b''

    @app.route('/stream', methods=['GET', 'POST'])
    def stream():
        yield b'one'
        yield sleep(1)
        yield b'two'

    @app.route('/late')
    def late():
        yield sleep(1)
        yield b'late'

    @app.route('/long')
    def long():
        return b'x' * 1_000_000

    @app.route('/endless')
    def endless():
        while True:
            yield b'x' * 10_000

    @app.route('/read', methods=['POST'])
    def read(request):
        data = yield request.body()
        yield data

    @app.route('/wait', methods=['GET', 'POST'])
    def wait():
        yield sleep(1000)

    @app.route('/begun')
    def begun():
        yield b'begun'
        yield sleep(1000)

    @app.route('/error')
    def error():
        raise HTTPError(409, 'no')

    @app.route('/fails')
    def fails():
        raise ValueError

    @app.route('/fails/late')
    def fails_late():
        yield b'begun'
        yield sleep(1)
        raise ValueError

    @app.route('/short')
    def short(response):
        response.headers['Content-Length'] = '10'
        yield b'begun'
        yield sleep(1)

    @app.route('/upgrade')
    def upgrade(response):
        stream = response.upgrade('echo')
        data = yield stream.read()
        stream.write(data)

    @app.route('/upgrade/fails')
    def upgrade_fails(response):
        stream = response.upgrade('echo')
        yield stream.read()
        raise ValueError

    @app.route('/ends/<how>')
    def ends(request, how):
        connection = request.connection
        if how == 'abort':
            connection.abort('failed')
        else:
            getattr(connection.stream, how)()
        return b'x'

    return app


def ask(host: Any, *requests: bytes) -> None:
    """Send requests on one connection and take all that comes until it ends."""
    client = host.connect(b''.join(requests))
    client.until_ended()


def then(action: str, *requests: bytes, after: float = 0.5) -> Callable[[Any], None]:
    """Send requests, and do something with the client a moment later."""
    def run(host: Any) -> None:
        client = host.connect(b''.join(requests))
        host.advance(after)
        getattr(client, action)()
        host.advance(100)
    return run


def unread(host: Any) -> None:
    client = host.connect()
    client.reading = False
    client.send(request('/endless'))
    host.advance(100)


def vanished(host: Any) -> None:
    client = host.connect(request('/begun'))
    client.reading = False
    host.advance(1)
    host.world.network.vanished.add(client.sock)
    host.advance(400)


def drained(host: Any) -> None:
    host.connect(request('/wait'))
    host.connect(request('/begun'))
    host.advance(1)
    host.server.drain()
    host.advance(100)


def closed(host: Any) -> None:
    host.connect(request('/wait'))
    host.advance(1)
    host.server.close()
    host.advance(1)


def limited(host: Any) -> None:
    host.connect(request('/wait'))
    host.advance(1)
    ask(host, request('/whole'))
    host.server.close()
    host.advance(1)


def plain(*requests: bytes) -> Callable[[Any], None]:
    return lambda host: ask(host, *requests)


CLOSE = 'Connection: close'

# A name; what the clients do; what is told; and the options.
CASES: list[tuple[str, Callable[[Any], None], list[Ended], dict[str, Any]]] = [
    ('whole', plain(request('/whole')), [Ended('/whole', 200, 'sized', '')], {}),
    ('pipelined', plain(request('/whole') * 2 + request('/late') + request('/whole?last')),
     [Ended('/whole', 200, 'sized', ''), Ended('/whole', 200, 'sized', ''),
      Ended('/late', 200, 'sized', ''), Ended('/whole?last', 200, 'sized', '')], {}),
    ('many pipelined', plain(request('/whole') * 100), [Ended('/whole', 200, 'sized', '')] * 100,
     {}),
    ('close', plain(request('/whole', 'GET', CLOSE)), [Ended('/whole', 200, 'sized', '')], {}),
    ('HEAD', plain(request('/whole', 'HEAD')), [Ended('/whole', 200, 'none', '')], {}),
    ('HEAD of a stream', plain(request('/stream', 'HEAD')), [Ended('/stream', 200, 'none', '')],
     {}),
    ('HEAD and close', plain(request('/stream', 'HEAD', CLOSE)),
     [Ended('/stream', 200, 'none', '')], {}),
    ('204', plain(request('/nothing')), [Ended('/nothing', 204, 'none', '')], {}),
    ('304', plain(request('/unchanged')), [Ended('/unchanged', 304, 'none', '')], {}),
    ('chunked', plain(request('/stream')), [Ended('/stream', 200, 'chunked', '')], {}),
    ('1.0', plain(request('/stream', version='1.0')), [Ended('/stream', 200, 'close', '')], {}),
    ('long', plain(request('/long')), [Ended('/long', 200, 'sized', '')], {}),
    ('rate', plain(request('/long')), [Ended('/long', 200, 'sized', '')],
     {'download_rate': 100_000}),
    ('body', plain(request('/read', 'POST', body=b'body')), [Ended('/read', 200, 'sized', '')], {}),
    ('unread body', plain(request('/whole', 'POST', body=b'body')),
     [Ended('/whole', 200, 'sized', '')], {}),
    ('unread body and next', plain(request('/stream', 'POST', body=b'body') + request('/whole')),
     [Ended('/stream', 200, 'chunked', ''), Ended('/whole', 200, 'sized', '')], {}),
    ('body that stalls after the answer',
     plain(request('/whole', 'POST', 'Content-Length: 100')), [Ended('/whole', 200, 'sized', '')],
     {}),
    ('too much of an unread body', plain(request('/whole', 'POST', 'Content-Length: 100000000')),
     [Ended('/whole', 200, 'sized', '')], {}),
    ('body too large', plain(request('/read', 'POST', 'Content-Length: 100000000')),
     [Ended('/read', 413, 'sized', '')], {}),
    ('body too slow', plain(request('/read', 'POST', 'Content-Length: 10')),
     [Ended('/read', 408, 'sized', '')], {}),
    ('body that ends', then('fin', request('/read', 'POST', 'Content-Length: 10')),
     [Ended('/read', 400, 'sized', '')], {}),
    ('404', plain(request('/none')), [Ended('/none', 404, 'sized', '')], {}),
    ('405', plain(request('/read')), [Ended('/read', 405, 'sized', '')], {}),
    ('error', plain(request('/error')), [Ended('/error', 409, 'sized', '')], {}),
    ('fails', plain(request('/fails')), [Ended('/fails', 500, 'sized', '')], {}),
    ('fails late', plain(request('/fails/late')),
     [Ended('/fails/late', 200, 'chunked', 'failed')], {}),
    ('fails late, and then', plain(request('/fails/late') + request('/whole')),
     [Ended('/fails/late', 200, 'chunked', 'failed')], {}),
    ('short', plain(request('/short')), [Ended('/short', 200, 'sized', 'failed')], {}),
    ('no request', plain(b'nonsense\r\n\r\n'), [], {}),
    ('no request after one', plain(request('/whole') + b'nonsense\r\n\r\n'),
     [Ended('/whole', 200, 'sized', '')], {}),
    ('no head in time', plain(b'GET /whole'), [], {}),
    ('nothing', plain(), [], {}),
    ('refused by the limit', limited,
     [Ended('/whole', 503, 'sized', ''), Ended('/wait', 200, '', 'shutdown')],
     {'limit_concurrency': 1}),
    ('reset', then('reset', request('/wait')), [Ended('/wait', 200, '', 'reset')], {}),
    ('reset, and then', then('reset', request('/wait') + request('/whole')),
     [Ended('/wait', 200, '', 'reset')], {}),
    ('reset late', then('reset', request('/begun')),
     [Ended('/begun', 200, 'chunked', 'reset')], {}),
    ('reset in a body', then('reset', request('/read', 'POST', 'Content-Length: 10')),
     [Ended('/read', 200, '', 'reset')], {}),
    ('half-closed', then('fin', request('/wait')), [Ended('/wait', 200, '', 'half_closed')], {}),
    ('half-closed late', then('fin', request('/begun')),
     [Ended('/begun', 200, 'chunked', 'half_closed')], {}),
    ('half-closed, but answered', then('fin', request('/late')),
     [Ended('/late', 200, 'sized', '')], {}),
    ('handler too slow', plain(request('/wait')), [Ended('/wait', 503, '', 'handler_timeout')],
     {'handler_timeout': 5}),
    ('handler with a body too slow', plain(request('/wait', 'POST', body=b'x')),
     [Ended('/wait', 503, '', 'handler_timeout')], {'handler_timeout': 5}),
    ('handler too slow and late', plain(request('/begun')),
     [Ended('/begun', 200, 'chunked', 'handler_timeout')], {'handler_timeout': 5}),
    ('taken too slowly', unread, [Ended('/endless', 200, 'chunked', 'min_download_rate')],
     {'connections': 1}),
    ('not taken', unread, [Ended('/endless', 200, 'chunked', 'stall_timeout')], {}),
    ('vanished', vanished, [Ended('/begun', 200, 'chunked', 'vanished')], {}),
    ('shutdown_timeout', drained,
     [Ended('/begun', 200, 'chunked', 'shutdown'), Ended('/wait', 200, '', 'shutdown')],
     {'shutdown_timeout': 5}),
    ('server.close', closed, [Ended('/wait', 200, '', 'shutdown')], {}),
    ('upgrade', then('fin', request('/upgrade', 'GET', *UPGRADE)),
     [Ended('/upgrade', 101, 'upgraded', '')], {}),
    ('upgrade and reset', then('reset', request('/upgrade', 'GET', *UPGRADE)),
     [Ended('/upgrade', 101, 'upgraded', 'upgraded')], {}),
    ('upgrade that fails', then('fin', request('/upgrade/fails', 'GET', *UPGRADE)),
     [Ended('/upgrade/fails', 101, 'upgraded', 'upgraded')], {}),
    ('own abort', plain(request('/ends/abort')), [Ended('/ends/abort', 200, '', 'failed')], {}),
    ('own close', plain(request('/ends/close')), [Ended('/ends/close', 200, '', 'hang-up')], {}),
    ('own shutdown', plain(request('/ends/shutdown')),
     [Ended('/ends/shutdown', 200, 'sized', 'failed')], {}),
]


@pytest.mark.parametrize('failing', [False, True], ids=['', 'failing'])
@pytest.mark.parametrize(('run', 'told', 'options'), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])
def test_each_answer_ends_once_with_its_reason(run, told, options, failing, logged, monkeypatch):
    monkeypatch.setattr(pace, 'MOST_LINES', 100)    # (More would be counted: tests/test_pace.py.)
    observer = Observer()
    with virtual(make_app(), **options) as host:
        if failing:
            host.server.request_observers.append(fails)
        host.server.request_observers.append(observer)
        run(host)
        assert sorted(observer.told) == sorted(told)
        if run is not drained:
            assert observer.told == told
        if failing:
            assert logged.text.count('RuntimeError: this observer fails') == len(told)
    assert sorted(observer.told) == sorted(told)


def test_every_reason_that_can_cut_an_answer_is_in_the_table():
    never = {
        # The connection ends between two requests, within a head, or after the last answer.
        'done', 'client', 'first_byte_timeout', 'idle_timeout', 'head_timeout', 'truncated',
        'refused', 'unread', 'handed over',
        # The body's reader is told, or the request is refused; the answer is complete.
        'min_upload_rate', 'limit_concurrency',
        # (The answer of a WebSocket is complete with its 101.)
        'websocket', 'ws_slow', 'ws_ping_timeout', 'ws_close_timeout',
        # They come before the first request.
        'tls_handshake', 'tls_timeout', 'tls_plain', 'proxy_header', 'stranger',
        'connections_per_client'}
    told = {ended.reason for case in CASES for ended in case[2]}
    assert told == {'', *REASONS} - never


def test_the_end_is_told_before_the_next_request_begins():
    events: list[str] = []
    app = Tremolo()

    @app.route('/<name>', methods=['GET', 'POST'])
    def index(name):
        events.append(f'begin {name}')
        if name in 'bd':
            yield sleep(1)
        yield name

    def observe(response: Any, reason: str) -> None:
        events.append(f'end {response.request.path[1:]}')

    with virtual(app) as host:
        host.server.request_observers.append(observe)
        client = host.connect(b''.join(
            request(f'/{name}', 'POST', body=b'x') if name in 'cd' else request(f'/{name}')
            for name in 'abcde'))
        client.until(b'\r\n\r\ne')
        assert events == [f'{what} {name}' for name in 'abcde' for what in ('begin', 'end')]


@pytest.mark.parametrize('path', ['/whole', '/late', '/stream', '/wait', '/upgrade', '/fails/late'])
@pytest.mark.parametrize('method', ['GET', 'HEAD', 'POST'])
def test_an_observer_may_end_the_connection(path, method, logged):
    told = []

    def observe(response: Any, reason: str) -> None:
        told.append(reason)
        response.connection.abort('failed')

    with virtual(make_app(), handler_timeout=5) as host:
        host.server.request_observers.append(observe)
        lines = UPGRADE if path == '/upgrade' else ()
        client = host.connect(request(path, method, *lines, body=b'x' if method == 'POST' else b'')
                              + request('/whole'))
        host.advance(1)
        client.fin()
        client.until_ended()
        host.advance(100)
        assert len(told) == 1
        assert not host.server.connections and not host.reactor.tasks
        assert sum(host.closed.values()) == 1


@pytest.mark.parametrize(('path', 'seconds'), [('/whole', 0), ('/late', 3), ('/endless', 5)])
def test_an_observer_can_tell_how_long_an_answer_took(path, seconds, logged):
    app, took = Tremolo(), []

    @app.route('/<path:rest>')
    def index(rest):
        if rest != 'whole':
            yield sleep(3 if rest == 'late' else 60)
        yield b'done'

    with virtual(app, handler_timeout=5) as host:
        def observe(response: Any, reason: str) -> None:
            connection = response.connection
            took.append(connection.stream.reactor.now - connection.since)

        host.server.request_observers.append(observe)
        host.connect(request(path))
        host.advance(10)
        assert took == [pytest.approx(seconds, abs=0.1)]


def test_nobody_is_told_of_what_ended_before_it_asked():
    observer = Observer()
    with virtual(make_app()) as host:
        client = host.connect(request('/whole'))
        client.take()
        host.server.request_observers.append(observer)
        client.send(request('/nothing'))
        client.take()
        assert [ended.target for ended in observer.told] == ['/nothing']


# -- what only a kernel does ----------------------------------------------------------------------


@contextmanager
def observed(app: Any, **options: Any) -> Iterator[tuple[Any, Observer]]:
    observer = Observer()
    with serving(app, **options) as host:
        host.on_loop(lambda: host.server.request_observers.append(observer))
        yield host, observer


def test_a_unix_client_that_hangs_up(tmp_path):
    with observed(make_app(), bind=f'unix:{tmp_path}/socket') as (host, observer):
        client = Client(f'{tmp_path}/socket')
        client.send(request('/begun'))
        client.until(b'begun')
        client.close()
        host.wait_for(lambda: not host.server.connections)
        ended, = observer.told
        assert ended.reason in ('hang-up', 'reset')


@pytest.mark.parametrize('size', [20_000, 50_000, 100_000, 1_000_000])
@pytest.mark.parametrize('waits', [False, True])
def test_a_client_that_is_found_gone_while_its_answer_is_written(size, waits):
    clients: list[Client] = []
    app = Tremolo()

    @app.route('/now')
    def now():
        clients[-1].reset()
        return b'x' * size

    @app.route('/waits')
    def wait():
        yield sleep(0)
        clients[-1].reset()
        yield b'x' * size

    with observed(app) as (host, observer):
        clients.append(host.connect())
        clients[-1].send(request('/waits' if waits else '/now') * 2)
        host.wait_for(lambda: host.server.closed)
        assert [ended.reason for ended in observer.told] == ['reset']
        assert host.server.closed == {'reset': 1}
        assert not host.on_loop(lambda: host.reactor.tasks)


def test_a_client_that_is_found_gone_while_it_is_refused():
    """The answers before fill what is sent at the end of the turn, and the refusal is too much."""
    clients: list[Client] = []
    app = Tremolo()

    @app.route('/<int:size>')
    def index(size):
        if size:
            clients[-1].reset()
        return b'x' * size

    with observed(app) as (host, observer):
        clients.append(host.connect())
        clients[-1].send(request('/0') + request('/16100') + b'nonsense\r\n\r\n')
        host.wait_for(lambda: host.server.closed)
        assert [ended.reason for ended in observer.told] == ['', '']
        # It was refused before it was found gone.
        assert host.server.closed == {'refused': 1}
        assert host.on_loop(lambda: not host.server.connections)


def test_threads_and_coroutines():
    app = Tremolo()

    @app.route('/thread')
    def thread(thread=True):
        return b'thread'

    @app.route('/coroutine')
    async def coroutine():
        await asyncio.sleep(0)
        return b'coroutine'

    with observed(app) as (host, observer):
        for path in ('/thread', '/coroutine'):
            host.connect(request(path)).take()
        host.wait_for(lambda: len(observer.told) == 2)
        assert observer.told == [Ended('/thread', 200, 'sized', ''),
                                 Ended('/coroutine', 200, 'sized', '')]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    path = scope['path']
    if path == '/fails':
        raise ValueError
    if path == '/leaves':
        return
    if path == '/listens':
        while (await receive())['type'] != 'http.disconnect':
            pass
        return
    await send({'type': 'http.response.start', 'status': 201,
                'headers': [(b'content-length', b'9')] if path == '/short' else []})
    if path == '/whole':
        await send({'type': 'http.response.body', 'body': b'hello'})
        return
    await send({'type': 'http.response.body', 'body': b'hello', 'more_body': True})
    await asyncio.sleep(0)
    if path == '/fails/late':
        raise ValueError
    if path != '/leaves/late':
        await send({'type': 'http.response.body', 'body': b''})


@pytest.mark.parametrize(('path', 'method', 'told'), [
    ('/whole', 'GET', (201, 'sized', '')),
    ('/whole', 'HEAD', (201, 'none', '')),
    ('/stream', 'GET', (201, 'chunked', '')),
    ('/stream', 'HEAD', (201, 'none', '')),
    ('/fails', 'GET', (500, 'sized', '')),
    ('/leaves', 'GET', (500, 'sized', '')),
    ('/fails/late', 'GET', (201, 'chunked', 'failed')),
    ('/leaves/late', 'GET', (201, 'chunked', 'failed')),
    ('/short', 'GET', (201, 'sized', 'failed')),
    ('/listens', 'GET', (200, '', 'reset')),
])
def test_asgi_applications(path, method, told, logged):
    with observed(AsgiApplication(asgi), lifespan='off') as (host, observer):
        client = host.connect(request(path, method))
        if path == '/listens':
            host.wait_for(lambda: any(each.response for each in host.server.connections))
            client.reset()
        host.wait_for(lambda: observer.told)
        host.wait_for(lambda: all(each.response is None for each in host.server.connections))
        assert observer.told == [Ended(path, *told)]
        if not told[2]:
            assert answers(client.take(method).head + b'\r\n\r\n', 'HEAD')[0].status == told[0]

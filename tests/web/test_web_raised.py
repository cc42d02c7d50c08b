"""Whatever a handler raises, wherever: that request's end, one line in the log, and no more.

Each error in each kind of handler and each place: the request gets its 500, or is cut if the head
was sent; another request, which waits meanwhile, is answered, and the server goes on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from contextlib import contextmanager
from typing import Any, Callable

import pytest
from each_case import for_each
from server_support import Incomplete, Real, read_answer, request, serving, virtual
from websocket_frames import frame, handshake

from tremolo import Tremolo, run_in_thread, sleep, spawn
from tremolo.loop import Cancelled, Future, Reactor, current_reactor

CLOSE = 'Connection: close'


class NoClass(Exception):
    """`isinstance` asks for the class of an object that is none by its type."""

    @property
    def __class__(self) -> Any:
        raise SystemExit('no class')


class NoAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise KeyboardInterrupt('no attributes')


class NoText(Exception):
    def __str__(self) -> str:
        raise SystemExit('no text')

    __repr__ = __str__


class OddBase(BaseException):
    pass


def deep(depth: int = 0) -> int:
    return deep(depth + 1) + 1


def raiser(error: type[BaseException]) -> Callable[[], Any]:
    def leave() -> None:
        raise error('on purpose')
    return leave


ERRORS: dict[str, Callable[[], Any]] = {
    **{each.__name__: raiser(each) for each in (
        KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, StopIteration,
        StopAsyncIteration, Cancelled, asyncio.CancelledError, OddBase, NoClass, NoAttributes,
        NoText, ValueError)},
    'RecursionError': deep,
    'real MemoryError': lambda: bytearray(1 << 62),
}
leave: list[Callable[[], Any]] = []


def boom() -> None:
    leave[0]()


def application() -> Tremolo:
    app = Tremolo()
    app.route('/fine')(lambda: 'fine')

    @app.route('/wait')
    def wait() -> Any:
        yield opened()
        yield b'waited'

    app.route('/plain')(lambda: boom())

    @app.route('/thread')
    def thread(thread: bool = True) -> None:
        boom()

    @app.route('/generator')
    def generator() -> Any:
        boom()
        yield b''

    @app.route('/generator/late')
    def late() -> Any:
        yield sleep(0)
        boom()

    @app.route('/generator/finally')
    def cleanup() -> Any:
        try:
            yield sleep(0)
        finally:
            boom()

    @app.route('/generator/thread')
    def in_thread() -> Any:
        yield run_in_thread(boom)

    @app.route('/async')
    async def coroutine() -> None:
        boom()

    @app.route('/async/late')
    async def late_coroutine() -> None:
        await asyncio.sleep(0)
        boom()

    @app.route('/async/ours')
    async def ours() -> None:
        await sleep(0)
        boom()

    @app.route('/async/task')
    async def task() -> None:
        async def job() -> None:
            await asyncio.sleep(0)
            boom()
        await asyncio.create_task(job())

    @app.route('/asyncgen')
    async def asyncgen() -> Any:
        await asyncio.sleep(0)
        boom()
        yield b''

    @app.route('/view')
    class View:
        def get(self) -> None:
            boom()

    other = Tremolo()
    other.route('/')(lambda: boom())
    app.mount('/mount', other)

    wrapped = Tremolo()
    wrapped.route('/')(lambda: 'fine')

    @wrapped.middleware
    def before() -> Any:
        boom()
        yield

    app.mount('/before', wrapped)
    behind = Tremolo()
    behind.route('/')(lambda: 'fine')

    @behind.middleware
    def after() -> Any:
        yield
        boom()

    app.mount('/after', behind)
    inside = Tremolo()

    @inside.middleware
    def around() -> Any:
        yield

    @inside.route('/')
    async def inner() -> None:
        await asyncio.sleep(0)
        boom()

    app.mount('/inside', inside)
    handled = Tremolo()

    @handled.route('/')
    def fails() -> None:
        raise LookupError('first')

    @handled.error(LookupError)
    def answer() -> None:
        boom()

    app.mount('/handler', handled)

    @app.route('/value')
    def value() -> Any:
        class Odd(dict):    # (`json` asks for its items.)
            def items(self) -> Any:
                boom()
        return Odd(a=1)

    @app.route('/chunk')
    def chunk() -> Any:
        class Odd:
            def __await__(self) -> Any:
                boom()
                yield
        yield Odd()

    @app.route('/callback')
    def callback() -> Any:
        current_reactor().call_soon(boom)
        current_reactor().call_later(0, boom)
        yield sleep(0.001)
        return b'fine'

    @app.route('/callback/asyncio')
    async def asyncio_callback() -> str:
        asyncio.get_running_loop().call_soon(boom)
        asyncio.get_running_loop().call_later(0, boom)
        await asyncio.sleep(0.001)
        return 'fine'

    @app.route('/events')
    def events(sse: Any) -> Any:
        boom()
        yield sse.send('x')

    @app.route('/sent')
    def sent() -> Any:
        yield b'begun'
        yield sleep(0)
        boom()

    @app.route('/sent/async')
    async def sent_async() -> Any:
        yield b'begun'
        await asyncio.sleep(0)
        boom()

    return app


waiting: list[Any] = []


def opened() -> Any:
    waiting.append(Future())
    return waiting[-1]


PLACES = ['/plain', '/thread', '/generator', '/generator/late', '/generator/finally',
          '/generator/thread', '/async', '/async/late', '/async/ours', '/async/task', '/asyncgen',
          '/view', '/mount/', '/before/', '/after/', '/inside/', '/handler/', '/value', '/chunk',
          '/events', '/sent', '/sent/async']
CALLBACKS = ['/callback', '/callback/asyncio']


@pytest.fixture(scope='module')
def host() -> Any:
    with serving(application(), port=0, threads=2) as host:
        yield host


def ends(host: Real, path: str) -> str:
    """Ask, and say how it ended: the status, or 'cut'."""
    client = host.connect(request(path, 'GET', CLOSE))
    data = b''
    try:
        while piece := client.sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    client.close()
    host.clients.remove(client)
    try:
        return str(read_answer(data)[0].status)
    except (Incomplete, ValueError):
        return 'cut'


# The asyncio of PyPy is written in Python: its `Future.set_exception` asks the error for its class.
ASKED = {'NoClass', 'NoAttributes'} if sys.implementation.name == 'pypy' else set()
IN_ASYNCIO = ('/async', '/inside', '/sent/async', '/chunk')
# Each error in some places, and some errors in each place.
CASES = [(error, path) for error in ERRORS for path in PLACES
         if (path in ('/plain', '/generator/late', '/async/late')
             or error in ('KeyboardInterrupt', 'SystemExit', 'NoAttributes'))
         and not (error in ASKED and path.startswith(IN_ASYNCIO))]


@for_each('error, path', CASES, ids=[f'{error} {path}' for error, path in CASES])
def test_what_a_handler_raises_is_the_end_of_its_request(host, logged, error, path):
    leave[:] = [ERRORS[error]]
    del logged.records[:]
    other = host.connect(request('/wait', 'GET', CLOSE))
    host.wait_for(lambda: waiting)
    assert ends(host, path) == ('cut' if path.startswith('/sent') else '500')
    host.on_loop(lambda: waiting.pop().set_result())
    assert other.take().body == b'waited'
    other.close()
    host.clients.remove(other)
    assert ends(host, '/fine') == '200'
    assert logged.count('failed on') == 1, logged.messages


ODD = [error for error in ERRORS if error not in ('RecursionError', 'ValueError')]


CALLED = [(error, path) for error in ODD for path in CALLBACKS
          if not (error in ASKED and 'asyncio' in path)]


@for_each('error, path', CALLED, ids=[f'{error} {path}' for error, path in CALLED])
def test_what_a_callback_raises_is_logged(host, logged, caplog, error, path):
    leave[:] = [ERRORS[error]]
    caplog.clear()
    assert ends(host, path) == '200'
    # (With -X dev asyncio tells of callbacks that took 0.1 s, too: a slow machine is no error.)
    told = [each for each in caplog.messages if not each.startswith('Executing <')]
    assert len(told) == 2, caplog.text
    del logged.records[:]


@pytest.fixture
def handled() -> Any:
    """Handle SIGINT by a reactor of ours, as every server does that has the process for itself."""
    with Reactor() as reactor:
        reactor.add_signal(signal.SIGINT, reactor.stop)
        yield


# -- hooks, sockets, tasks that nobody waits for --------------------------------------------------


@for_each('error', ODD)
@pytest.mark.parametrize('kind', ['plain', 'generator', 'async'])
def test_what_a_hook_of_a_connection_raises_is_logged(handled, kind, logged, error):
    leave[:] = [ERRORS[error]]
    app = Tremolo()
    app.route('/')(lambda: 'fine')

    def generator() -> Any:
        yield sleep(0)
        boom()

    async def coroutine() -> None:
        boom()

    hook = {'plain': boom, 'generator': generator, 'async': coroutine}[kind]
    app.on_connect(hook)
    app.on_close(hook)
    del logged.records[:]
    with virtual_or_real(app, kind) as host:
        assert [each.body for each in host.ask(request() + request('/', 'GET', CLOSE))] == [
            b'fine'] * 2
    # (A cancelled hook is no news.)
    quiet = 'ancelled' in error if kind == 'async' else error == 'Cancelled' and kind != 'plain'
    assert logged.count('the hook') == (0 if quiet else 2)


@contextmanager
def virtual_or_real(app: Tremolo, kind: str) -> Any:
    with (serving(app) if kind == 'async' else virtual(app)) as host:
        yield host
        if kind == 'async':
            host.wait_for(lambda: not host.server.connections)


@for_each('error', ODD)
@pytest.mark.parametrize('accepted', [False, True])
def test_what_the_handler_of_a_socket_raises_ends_that_socket(handled, accepted, logged, error):
    leave[:] = [ERRORS[error]]
    app = Tremolo()

    @app.route('/')
    def socket(websocket: Any) -> Any:
        if accepted:
            yield websocket.accept()
            yield websocket.receive()
        boom()
        yield websocket.accept()

    @app.route('/fine')
    def fine() -> Any:
        yield sleep(1)
        yield b'fine'

    with virtual(app) as host:
        other = host.connect(request('/fine'))
        client = host.connect(handshake('/'))
        if accepted:
            client.until(b'\r\n\r\n')
            client.send(frame(1, b'x'))
        client.until_ended()
        if accepted:
            assert (1011).to_bytes(2, 'big') in client.received
        else:
            assert client.received.startswith(b'HTTP/1.1 500 ')
        assert other.take().body == b'fine'
    assert logged.count('failed on') >= 1 or 'raised' in logged.text


@for_each('error', [each for each in ODD if 'ancelled' not in each])
def test_what_a_spawned_task_raises_is_its_own(handled, logged, error):
    leave[:] = [ERRORS[error]]
    app = Tremolo()

    def job() -> Any:
        yield sleep(0.5)
        boom()

    @app.route('/')
    def index() -> Any:
        app.spawn(job())
        spawn(job())
        return 'fine'

    with virtual(app) as host:
        client = host.connect(request())
        assert client.take().body == b'fine'
        host.advance(1)
        gc.collect()
        host.advance(1)
        client.send(request())
        assert client.take().body == b'fine'
        host.advance(1)
        gc.collect()
    assert len(logged.records) >= 2
    del logged.records[:]


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_handler_that_catches_everything_is_closed_in_the_end(logged):
    app = Tremolo()

    @app.route('/')
    def stubborn() -> Any:
        # (Not for ever: PyPy collects it later, when no reactor runs and `sleep` itself raises.)
        for _ in range(100):
            try:
                yield sleep(1)
            except BaseException:
                continue

    app.route('/fine')(lambda: 'fine')
    with virtual(app, handler_timeout=5) as host:
        client = host.connect(request())
        assert client.take().status == 503
        host.advance(20)
        assert not host.reactor.tasks
        assert host.connect(request('/fine')).take().body == b'fine'
    assert logged.count('a cancelled task did not end') == 1
    assert logged.count('closing a task failed') == 1


def simple(place: str) -> Tremolo:
    app = Tremolo()
    app.route('/fine')(lambda: 'fine')

    def generator() -> Any:
        boom()
        yield b''

    def late() -> Any:
        yield sleep(0)
        boom()

    def callback() -> Any:
        current_reactor().call_soon(boom)
        yield sleep(0.001)

    def around() -> Any:
        boom()
        yield

    app.route('/')({'generator': generator, 'late': late, 'callback': callback}.get(
        place, lambda: boom()))
    if place == 'middleware':
        app.middleware(around)
    return app


SIMPLE = ['plain', 'generator', 'late', 'callback', 'middleware']


@for_each('place', SIMPLE)
def test_where_sigint_is_handled_an_interrupt_is_the_handlers_own(handled, logged, place):
    leave[:] = [raiser(KeyboardInterrupt)]
    with virtual(simple(place)) as host:
        client = host.connect(request() + request('/fine'))
        assert client.take().status == (204 if place == 'callback' else 500)
        assert client.take().status == (500 if place == 'middleware' else 200)
    assert logged.count('KeyboardInterrupt') or logged.count('failed')


@for_each('place', SIMPLE)
def test_where_it_is_not_it_goes_on_to_the_host(place):
    leave[:] = [raiser(KeyboardInterrupt)]
    with virtual(simple(place)) as host:
        host.connect(request())
        with pytest.raises(KeyboardInterrupt):
            host.advance(1)


def test_a_log_filter_that_exits_ends_nothing():
    app = Tremolo()
    app.route('/')(lambda: 1 / 0)
    log = logging.getLogger('tremolo.error')

    def exits(record: Any) -> bool:
        raise SystemExit('in a filter')

    log.addFilter(exits)
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        with virtual(app) as host:
            assert [each.status for each in host.ask(request() + request('/', 'GET', CLOSE))] == [
                500] * 2
    finally:
        log.removeFilter(exits)
        logging.raiseExceptions = before


def test_an_observer_that_exits_is_the_end_of_nothing(logged):
    app = Tremolo()
    app.route('/')(lambda: 'fine')
    with virtual(app) as host:
        seen = []

        def exits(response: Any, reason: str) -> None:
            seen.append(1)
            raise SystemExit

        host.server.request_observers.extend((exits, lambda *_: seen.append(2)))
        assert len(host.ask(request() + request('/', 'GET', CLOSE))) == 2
    assert seen == [1, 2] * 2 and logged.count('failed') == 2

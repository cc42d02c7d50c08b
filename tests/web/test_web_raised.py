"""Whatever a handler raises, wherever: that request's end, one line in the log, and no more.

Each error in each kind of handler and each place: the request gets its 500, or is cut if the head
was sent; another request, which waits meanwhile, is answered, and the server goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable

import pytest
from each_case import for_each
from server_support import Incomplete, Real, read_answer, request, serving

from tremolo import Tremolo, run_in_thread, sleep
from tremolo.loop import Cancelled, current_reactor

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
    from tremolo.loop import Future
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


@for_each('error, path', [(error, path) for error in ERRORS for path in PLACES],
          ids=[f'{error} {path}' for error in ERRORS for path in PLACES])
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


@for_each('error, path', [(error, path) for error in ERRORS for path in CALLBACKS],
          ids=[f'{error} {path}' for error in ERRORS for path in CALLBACKS])
def test_what_a_callback_raises_is_logged(host, logged, error, path):
    leave[:] = [ERRORS[error]]
    del logged.records[:]
    assert ends(host, path) == '200'
    assert len(logged.records) == 2, logged.messages

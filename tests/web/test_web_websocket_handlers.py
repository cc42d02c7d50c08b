"""Handlers of WebSockets: each kind of function, what it may ask for, and what is refused."""

from __future__ import annotations

import asyncio
import functools
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from server_support import request, serving, virtual
from web_sockets import TEXT, application, connect, frame, handshake, serve

import tremolo
from tremolo import HandlerError, Tremolo, sleep, timeout
from tremolo.websocket import WebSocketClosed

ROOT = Path(__file__).resolve().parents[2]


def by_yield(websocket):
    yield websocket.accept()
    while True:
        message = yield websocket.receive()
        yield websocket.send(message)


async def by_await(websocket):
    await websocket.accept()
    while True:
        await websocket.send(await websocket.receive())


async def by_async_for(websocket):
    await websocket.accept()
    async for message in websocket:
        await websocket.send(message)


def by_result(websocket, thread=True):
    websocket.accept().result()
    while True:
        websocket.send(websocket.receive().result()).result()


def traced(function):
    """A decorator as programs have them: what it makes is a plain function."""
    @functools.wraps(function)
    def traced_function(*args, **kwargs):
        return function(*args, **kwargs)
    return traced_function


@pytest.mark.parametrize('handler', [
    by_yield, by_await, by_async_for, by_result, traced(by_yield), traced(by_await),
    functools.partial(by_yield)])
def test_each_kind_of_handler_echoes_until_its_client_closes(handler):
    # (A thread has no place in the simulated world.)
    with serving(application(handler)) as host:
        socket = connect(host)
        for message in ('hello', b'\x00\xff', '', 'x' * 70000):
            socket.send(message)
            assert socket.take() == message
        socket.close(1000, 'bye')
        assert socket.closed() == (1000, '')
        socket.client.close()
        host.wait_for(lambda: not host.server.connections)


@pytest.mark.parametrize('handler', [by_yield, by_await, by_async_for, by_result])
def test_each_kind_of_handler_ends_without_a_word_when_its_client_is_gone(handler):
    with serving(application(handler)) as host:
        socket = connect(host)
        socket.send('hello')
        assert socket.take() == 'hello'
        socket.client.reset()
        host.wait_for(lambda: not host.server.connections)


def test_a_method_of_an_instance_is_a_handler():
    class Chat:
        def __call__(self, websocket):
            yield from by_yield(websocket)

        def method(self, websocket):
            yield from by_yield(websocket)

    for handler in Chat(), Chat().method:
        with serve(handler) as host:
            socket = connect(host)
            socket.send('hello')
            assert socket.take() == 'hello'


def test_a_handler_gets_what_it_names():
    app = Tremolo()
    app.context.word = 'globals'

    @app.route('/<room>/<int:number>')
    def handler(websocket, room, number, request, context, globals, app, logger, reactor, loop,
                lock, colour='red'):
        yield websocket.accept()
        assert websocket.request is request and loop is reactor
        context.mine = 1
        yield websocket.send(f'{room} {number} {globals.word} {request.method} '
                             f'{context.options["colour"]} {logger.name} {app.context.word}')

    @app.route('/all/<word>')
    async def all_of_it(websocket, **server):
        await websocket.accept()
        await asyncio.sleep(0)
        assert server['loop'] is asyncio.get_running_loop()
        await websocket.send(' '.join(sorted(server)))

    with serving(app) as host:
        socket = connect(host, '/red/7')
        assert socket.take() == 'red 7 globals GET red tremolo.app globals'
        assert socket.closed() == (1000, '')
        assert connect(host, '/all/x').take() == (
            'app context globals lock logger loop reactor request response word')


def test_a_message_in_the_packet_of_the_handshake_is_not_lost():
    for handler in by_yield, by_await:
        with serve(handler) as host:
            socket = connect(host, more=frame(TEXT, b'at once'))
            assert socket.take() == 'at once'


def test_websocket_none_serves_both():
    def page(websocket=None):
        if websocket is None:
            yield 'a page'
            return
        yield from by_yield(websocket)

    async def coroutine(websocket=None):
        if websocket is None:
            return 'a page'
        return await by_await(websocket)

    def thread(websocket=None, thread=True):
        if websocket is None:
            return 'a page'
        return by_result(websocket)

    def all_of_it(websocket=None, **server):
        assert 'websocket' not in server
        return (yield from page(websocket))

    for handler in page, coroutine, thread, all_of_it:
        with serving(application(handler)) as host:
            client = host.connect(request('/'))
            assert client.take().body == b'a page'
            client.send(request('/', 'HEAD'))
            assert client.take('HEAD').status == 200
            socket = connect(host)
            socket.send('hello')
            assert socket.take() == 'hello'


def test_one_task_reads_and_another_writes():
    def handler(websocket):
        def ticks():
            number = 0
            while True:
                yield sleep(1)
                number += 1
                yield websocket.send(str(number))

        yield websocket.accept()
        writing = tremolo.spawn(ticks())
        try:
            while (yield websocket.receive()) != 'stop':
                pass
        finally:
            writing.cancel()

    with serve(handler) as host:
        socket = connect(host)
        assert [socket.take(), socket.take()] == ['1', '2']
        socket.send('stop')
        assert socket.closed() == (1000, '')


def test_each_handler_has_a_context_of_its_own():
    import contextvars
    name = contextvars.ContextVar('name', default='nobody')

    def handler(websocket):
        yield websocket.accept()
        while True:
            before = name.get()
            name.set((yield websocket.receive()))
            yield websocket.send(before)

    with serve(handler) as host:
        first, second = connect(host), connect(host)
        for socket, said, before in (
                (first, 'a', 'nobody'), (second, 'b', 'nobody'), (first, 'c', 'a')):
            socket.send(said)
            assert socket.take() == before


# -- at registration ------------------------------------------------------------------------------


def plain(websocket):
    return websocket.accept()


def plain_for_both(websocket=None):
    return b'x'


class Plain:
    def __call__(self, websocket):
        return b'x'


@pytest.mark.parametrize('handler', [plain, plain_for_both, traced(plain), Plain(),
                                     Plain().__call__, functools.partial(plain)])
def test_a_plain_function_that_asks_for_a_websocket_is_refused(handler):
    with pytest.raises(HandlerError, match=re.escape('write `yield websocket.accept()`, an `async '
                                                     'def` with `await`, or thread=True')):
        Tremolo().route('/')(handler)


def test_another_default_than_none_is_refused():
    def handler(websocket=True):
        yield websocket

    with pytest.raises(HandlerError, match='the only default of websocket is None'):
        Tremolo().route('/')(handler)


@pytest.mark.parametrize('methods', [['POST'], ['GET', 'POST'], ['HEAD']])
def test_other_methods_than_get_are_refused(methods):
    with pytest.raises(HandlerError, match='leave methods out, or websocket=None'):
        Tremolo().route('/', methods=methods)(by_yield)


def test_a_handler_for_both_may_have_other_methods():
    def handler(request, websocket=None):
        if websocket is not None:
            yield websocket.accept()
        else:
            yield request.method

    with virtual(application(handler, methods=['GET', 'POST'])) as host:
        assert connect(host).closed() == (1000, '')
        # (The fields of a handshake in a POST mean nothing.)
        assert host.connect(handshake(method='POST')).take().body == b'POST'
    with pytest.raises(HandlerError, match=r'leave methods out$'):
        Tremolo().route('/', methods=['POST'])(handler)


def test_two_functions_for_one_path_are_told_how_one_serves_both():
    for first, second in (by_yield, lambda: 'x'), (lambda: 'x', by_yield):
        app = Tremolo()
        app.route('/x')(first)
        with pytest.raises(ValueError, match=r'GET /x is served already; .* websocket=None'):
            app.route('/x')(second)


def test_thread_is_for_plain_functions_here_too():
    def handler(websocket, thread=True):
        yield websocket.accept()

    with pytest.raises(HandlerError, match='thread=True is for plain functions'):
        Tremolo().route('/')(handler)


def test_who_asks_for_what_is_not_there_is_told_of_websocket():
    with pytest.raises(HandlerError, match=r'it may ask for .*websocket'):
        @Tremolo().route('/')
        def handler(web_socket):
            yield b'x'


# -- in threads -----------------------------------------------------------------------------------


def test_the_next_result_of_a_thread_raises_when_its_client_has_left(logged):
    left, told = threading.Event(), []

    def handler(websocket, thread=True):
        websocket.accept().result()
        assert left.wait(30)
        for call in (websocket.receive, lambda: websocket.send('x'), websocket.ping):
            try:
                call().result()
            except WebSocketClosed as error:
                told.append(error.code)
        raise ValueError('a mistake after the end')

    with serving(application(handler)) as host:
        socket = connect(host)
        socket.client.reset()
        host.wait_for(lambda: not host.server.connections)
        left.set()
        host.wait_for(lambda: logged.count('failed'))
    assert told == [1006] * 3
    assert 'a mistake after the end' in logged.text


# -- what goes together ---------------------------------------------------------------------------


def test_a_receive_may_give_up_and_loses_nothing():
    def handler(websocket):
        yield websocket.accept()
        while True:
            try:
                message = yield timeout(5, websocket.receive())
            except TimeoutError:
                message = 'nothing for 5 seconds'
            yield websocket.send(message)

    with serve(handler) as host:
        socket = connect(host)
        assert socket.take() == 'nothing for 5 seconds'
        socket.send('hello')
        assert socket.take() == 'hello'
        host.advance(4.999)
        socket.send('just in time, or a moment later')
        assert socket.take() in ('just in time, or a moment later', 'nothing for 5 seconds')
        socket.send('bye')
        assert 'bye' in (socket.take(), socket.take())


def test_in_debug_mode_nothing_is_told_of_a_handler_that_does_well():
    app = Tremolo()

    @app.route('/')
    def handler(websocket):
        yield websocket.accept()
        app.group('room').add(websocket)
        while True:
            message = yield websocket.receive()
            app.group('room').send(message)
            websocket.send(message)
            websocket.ping()
            if message == 'end':
                websocket.close()

    # (`virtual` has no monitor, which would name a handler that a busy machine holds up.)
    with virtual(app, debug=True) as host:
        for said in 'hello', 'end':
            socket = connect(host)
            socket.send(said)
            assert [socket.take(), socket.take()] == [said] * 2
            socket.close()
        host.advance(5)


def test_a_program_without_sockets_does_not_import_them():
    # (What a measurement of coverage imports is there before.)
    program = ('import sys; before = {*sys.modules}; import tremolo; app = tremolo.Tremolo(); '
               'app.route("/")(lambda: "x");'
               'print(sorted({"tremolo.websocket", "tremolo.ws.parser", "hashlib", "zlib"}'
               '& ({*sys.modules} - before)));'
               'print(tremolo.WebSocketClosed.__name__, tremolo.WebSocket.__name__)')
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True,
                          text=True, timeout=60, check=True)
    assert done.stdout == '[]\nWebSocketClosed WebSocket\n'


def test_the_rate_of_a_signature_holds():
    def handler(websocket, rate=10_000):
        yield websocket.accept()
        for _ in range(50):
            yield websocket.send(bytes(2000))

    with serve(handler) as host:
        socket = connect(host)
        began = host.now
        for _ in range(50):
            assert socket.take() == bytes(2000)
        assert 8 < host.now - began < 12
        assert socket.closed() == (1000, '')


def test_the_rate_may_be_set_before_accept():
    def handler(websocket, response, request):
        response.rate = 10_000 if 'slow' in request.query else None
        yield websocket.accept()
        yield websocket.send(bytes(60_000))

    for path, seconds in ('/', 0), ('/?slow=1', 5):
        with serve(handler) as host:
            socket = connect(host, path)
            assert socket.take() == bytes(60_000)
            assert seconds * 0.8 <= host.now < seconds + 1.5

"""What becomes of a handler of WebSockets: its end, its errors, and its mistakes."""

from __future__ import annotations

import asyncio
import gc
import math
import re
import sys

import pytest
from server_support import request, serving
from web_sockets import CLOSE, Socket, application, connect, frame, handshake, serve

import tremolo
from tremolo import (
    BadRequest,
    Forbidden,
    HTTPError,
    NotFound,
    run_in_thread,
    sleep,
)
from tremolo.fair import fairness
from tremolo.websocket import WebSocketClosed, closing


def refused(handler, *lines):
    """Give the answer to a handshake that is not accepted; the connection goes on."""
    with serve(handler) as host:
        socket = Socket(host.connect(), '/', *lines)
        socket.client.send(handshake('/nothing'))
        assert socket.client.take().status == 404
        return socket.answer


counted = pytest.mark.skipif(sys.implementation.name != 'cpython',
                             reason='counts references')


def ended(handler, *said):
    """Give the code and the reason with which an accepted socket is closed."""
    with serve(handler) as host:
        socket = connect(host)
        for message in said:
            socket.send(message)
        return socket.closed()


# -- before accept --------------------------------------------------------------------------------


async def async_ends(websocket):
    pass


async def async_refuses(websocket):
    raise Forbidden


@pytest.mark.parametrize('waits', [False, True])
def test_the_end_without_accept_is_a_403_and_logged(waits, logged):
    def handler(websocket):
        if waits:
            yield sleep(1)

    assert refused(handler).status == 403
    assert logged.count('write `raise Forbidden()`') == 1
    assert refused(async_ends).status == 403
    assert logged.count('async_ends() at') == 1


@pytest.mark.parametrize('error, status, body', [
    (Forbidden('not you'), 403, b'not you'), (NotFound(), 404, b'404'),
    (BadRequest('no token'), 400, b'no token'),
    (HTTPError(302, headers={'Location': '/login'}), 302, b'302')])
@pytest.mark.parametrize('how', ['raised', 'raised later', 'returned', 'async', 'thread'])
def test_an_http_error_before_accept_is_the_answer(error, status, body, how):
    def generator(websocket, response):
        response.set_cookie('seen', '1')
        if how == 'raised later':
            yield sleep(1)
        if how == 'returned':
            return error
        raise error
        yield

    async def coroutine(websocket, response):
        response.set_cookie('seen', '1')
        raise error

    def thread(websocket, response, thread=True):
        response.set_cookie('seen', '1')
        raise error

    answer = refused({'async': coroutine, 'thread': thread}.get(how, generator))
    assert answer.status == status
    assert body in answer.body
    assert answer.headers['set-cookie'].startswith('seen=1')


def test_another_error_before_accept_is_a_500(logged):
    def handler(websocket):
        yield sleep(1)
        raise ValueError('broken')

    assert refused(handler).status == 500
    assert logged.count("failed on GET '/'") == 1
    assert 'ValueError: broken' in logged.text


def test_a_value_that_is_returned_before_accept_is_a_403(logged):
    def handler(websocket):
        return 'come in'
        yield

    assert refused(handler).status == 403
    assert logged.count('ended without `websocket.accept()`') == 1


def test_a_chunk_before_accept_is_a_500(logged):
    def handler(websocket):
        yield b'come in'

    assert refused(handler).status == 500
    assert 'write `yield websocket.send(...)`' in logged.text


def test_an_answer_by_hand_before_accept_is_one():
    def handler(websocket, response):
        yield response.send('not now')

    def in_pieces(websocket, response):
        yield response.write('not ')
        yield sleep(1)
        yield response.write('now')

    for each in handler, in_pieces:
        answer = refused(each)
        assert (answer.status, answer.body) == (200, b'not now')


def test_accept_after_an_answer_is_told(logged):
    def handler(websocket, response):
        yield response.send('not now')
        yield websocket.accept()

    assert refused(handler).body == b'not now'
    assert 'HandlerError' in logged.text


@pytest.mark.parametrize('call', ['receive', 'send', 'ping', 'close'])
def test_before_accept_other_calls_are_errors_of_the_program(call, logged):
    def handler(websocket):
        yield getattr(websocket, call)(*(['x'] if call == 'send' else []))

    assert refused(handler).status == 500
    assert re.search(r'HandlerError: .*accept', logged.text)


def test_accept_twice_is_told(logged):
    def handler(websocket):
        yield websocket.accept()
        yield websocket.accept()

    assert ended(handler) == (1011, '')
    assert 'HandlerError' in logged.text and 'accepted already' in logged.text


def test_a_subprotocol_that_was_not_offered_is_told(logged):
    def handler(websocket):
        assert websocket.subprotocols == ['a', 'b']
        yield websocket.accept('c')

    answer = refused(handler, 'Sec-WebSocket-Protocol: a, b')
    assert answer.status == 500
    assert 'HandlerError' in logged.text


@pytest.mark.parametrize('name', ['Sec-WebSocket-Accept', 'sec-websocket-extensions', 'Upgrade',
                                  'Connection', 'Sec-WebSocket-Protocol'])
def test_fields_of_the_handshake_itself_are_refused(name, logged):
    def handler(websocket):
        yield websocket.accept(headers={name: 'x'})

    assert refused(handler).status == 500
    assert name.lower() in logged.text.lower()


def test_fields_and_a_subprotocol_are_sent():
    def handler(websocket, response):
        response.set_cookie('seen', '1')
        response.headers['X-Of-Response'] = '1'
        yield websocket.accept('b', {'X-Of-Accept': '2'})

    with serve(handler) as host:
        socket = connect(host, '/', 'Sec-WebSocket-Protocol: a, b')
        headers = socket.answer.headers
        assert headers['sec-websocket-protocol'] == 'b'
        assert (headers['x-of-response'], headers['x-of-accept']) == ('1', '2')
        assert headers['set-cookie'].startswith('seen=1')
        assert socket.closed() == (1000, '')


def test_a_client_that_leaves_before_accept_ends_the_handler_at_once():
    ends = []

    def handler(websocket):
        try:
            yield sleep(100)
        finally:
            ends.append(host.now)

    with serve(handler) as host:
        client = host.connect(handshake())
        host.settle()
        began = host.now
        client.reset()
        host.until(lambda: ends)
        assert host.now - began < 0.1


def test_a_coroutine_ends_at_once_too_when_its_client_leaves_before_accept():
    ends = []

    async def handler(websocket):
        try:
            await asyncio.sleep(100)
        finally:
            ends.append(1)

    with serve(handler) as host:
        client = host.connect(handshake())
        host.wait_for(lambda: host.server.connections)
        client.reset()
        host.wait_for(lambda: ends)


def test_a_handshake_takes_no_longer_than_handler_timeout(logged):
    def handler(websocket):
        yield sleep(100)
        yield websocket.accept()

    with serve(handler, handler_timeout=2) as host:
        client = host.connect(handshake())
        assert client.take().status == 503
        assert host.now < 10
    assert logged.count('handler_timeout')


def test_handler_timeout_and_idle_timeout_end_no_socket():
    def handler(websocket):
        yield websocket.accept()
        yield sleep(1000)
        yield websocket.send('still there')

    with serve(handler, handler_timeout=2, idle_timeout=1, ws_ping_interval=0) as host:
        assert connect(host).take() == 'still there'


# -- after accept ---------------------------------------------------------------------------------


def test_the_end_of_a_handler_closes_with_1000_behind_what_it_has_sent():
    def handler(websocket):
        yield websocket.accept()
        for number in range(3):
            websocket.send(str(number))

    with serve(handler) as host:
        socket = connect(host)
        assert [socket.take() for _ in range(3)] == ['0', '1', '2']
        assert socket.closed() == (1000, '')


def by_generator(what):
    def handler(websocket):
        yield websocket.accept()
        yield websocket.receive()
        yield from what()
    return handler


def by_coroutine(what):
    async def handler(websocket):
        await websocket.accept()
        await websocket.receive()
        for _ in what():
            pass
    return handler


def raising(error):
    def what():
        raise error
        yield
    return what


@pytest.mark.parametrize('made', [by_generator, by_coroutine])
@pytest.mark.parametrize('error', [ValueError('broken'), SystemExit(3), KeyError('x')])
def test_an_error_after_accept_closes_with_1011_and_is_logged(made, error, logged):
    assert ended(made(raising(error)), 'go') == (1011, '')
    assert logged.count("failed on GET '/'") == 1
    assert type(error).__name__ in logged.text
    assert len(logged.records) == 1


@pytest.mark.parametrize('made', [by_generator, by_coroutine])
def test_an_http_error_after_accept_closes_with_1011_and_is_logged(made, logged):
    assert ended(made(raising(Forbidden('not you'))), 'go') == (1011, '')
    assert logged.count('raised 403 not you after websocket.accept()') == 1
    assert 'websocket.close(code, reason)' in logged.text
    assert len(logged.records) == 1


def test_an_error_in_a_thread_closes_with_1011_and_is_logged(logged):
    def handler(websocket, thread=True):
        websocket.accept().result()
        websocket.receive().result()
        raise ValueError('broken')

    assert ended(handler, 'go') == (1011, '')
    assert logged.count("failed on GET '/'") == 1


def test_a_value_that_is_returned_after_accept_closes_with_1011(logged):
    def generator(websocket):
        yield websocket.accept()
        return 'bye'

    async def coroutine(websocket):
        await websocket.accept()
        return {'bye': 1}

    assert ended(generator) == ended(coroutine) == (1011, '')
    assert logged.count('returned str') == logged.count('returned dict') == 1
    assert logged.count('write `yield websocket.send(...)`') == 2


@pytest.mark.parametrize('chunk', [b'hello', 'hello', '', bytearray(b'x')])
def test_a_chunk_that_is_yielded_after_accept_closes_with_1011(chunk, logged):
    def generator(websocket):
        yield websocket.accept()
        yield chunk

    async def asynchronous(websocket):
        await websocket.accept()
        yield chunk

    assert ended(generator) == ended(asynchronous) == (1011, '')
    assert logged.count("failed on GET '/'") == 2
    assert logged.text.count('write `yield websocket.send(...)`') >= 2


def test_a_future_that_an_async_def_yields_is_told(logged):
    async def handler(websocket):
        yield websocket.accept()

    assert ended(handler) == (1011, '')
    assert 'write `await`' in logged.text


def test_other_values_that_are_yielded_are_told(logged):
    def handler(websocket):
        yield websocket.accept()
        yield 7

    assert ended(handler) == (1011, '')
    assert 'yielded int, which is not a Future' in logged.text


def test_a_generator_may_wait_for_asyncio():
    def handler(websocket):
        yield websocket.accept()
        yield asyncio.sleep(0.1)
        yield
        yield websocket.send('waited')

    with serving(application(handler)) as host:
        assert connect(host).take() == 'waited'


@pytest.mark.parametrize('send', ['write', 'send', 'end'])
def test_the_response_is_no_way_to_send_after_accept(send, logged):
    def handler(websocket, response):
        yield websocket.accept()
        yield getattr(response, send)(b'x')

    assert ended(handler) == (1011, '')
    assert 'write `websocket.send(...)`' in logged.text


def test_what_a_handler_closes_with_is_what_its_client_gets():
    def handler(websocket):
        yield websocket.accept()
        websocket.send('last')
        yield websocket.close(4001, 'go away')

    with serve(handler) as host:
        socket = connect(host)
        assert socket.take() == 'last'
        assert socket.closed() == (4001, 'go away')


def test_a_close_that_nobody_waits_for_is_not_spoilt_by_the_end():
    def handler(websocket):
        yield websocket.accept()
        websocket.close(4001)

    assert ended(handler) == (4001, '')


# -- when the client has left ---------------------------------------------------------------------


def test_who_receives_when_its_client_leaves_is_told_how():
    seen = []

    def handler(websocket):
        yield websocket.accept()
        try:
            yield websocket.receive()
        except WebSocketClosed as error:
            seen.append((error.code, error.reason))
            raise

    with serve(handler) as host:
        connect(host).close(4005, 'why not')
        host.settle()
        socket = connect(host)
        socket.client.send(frame(CLOSE))
        host.settle()
        connect(host).client.reset()
        host.advance(1)
    assert seen == [(4005, 'why not'), (1005, ''), (1006, '')]


def test_a_handler_that_waits_for_something_else_is_cancelled_a_second_later():
    ends = []

    def handler(websocket):
        yield websocket.accept()
        try:
            yield sleep(1000)
        finally:
            ends.append(host.now)

    with serve(handler) as host:
        for leave in (lambda socket: socket.close(), lambda socket: socket.client.reset()):
            socket = connect(host)
            host.settle()
            began = host.now
            leave(socket)
            host.until(lambda: ends)
            assert 0.99 < ends.pop() - began < 1.1
            host.advance(5)
            assert ends == []    # Its `finally` runs once.


def test_a_coroutine_that_waits_for_something_else_is_cancelled_too(monkeypatch):
    monkeypatch.setattr(closing, 'GRACE', 0.1)
    ends = []

    async def handler(websocket):
        await websocket.accept()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as error:
            ends.append(str(error))
            raise

    with serve(handler) as host:
        connect(host).client.reset()
        host.wait_for(lambda: ends)
        host.wait_for(lambda: not host.server.connections)
    assert len(ends) == 1 and '1006' in ends[0]


def test_a_close_in_the_packet_of_the_handshake_ends_the_handler_too():
    ends = []

    def handler(websocket):
        yield websocket.accept()
        try:
            yield sleep(1000)
        finally:
            ends.append(host.now)

    with serve(handler) as host:
        connect(host, more=frame(CLOSE))
        host.until(lambda: ends)
        assert host.now < 2


def test_a_handler_may_finish_something_when_its_client_has_left():
    ends = []

    def handler(websocket):
        yield websocket.accept()
        try:
            while True:
                yield websocket.receive()
        finally:
            yield sleep(0.5)
            ends.append('finished')

    with serve(handler) as host:
        connect(host).client.reset()
        host.advance(5)
    assert ends == ['finished']


def test_while_draining_a_handler_has_until_shutdown_timeout(logged):
    ends = []

    def handler(websocket):
        yield websocket.accept()
        try:
            yield sleep(1000)
        finally:
            ends.append(host.now)

    with serve(handler, shutdown_timeout=10) as host:
        socket = connect(host)
        began = host.now
        host.server.drain()
        assert socket.closed()[0] == 1001
        host.until(lambda: ends)
        assert 9.5 < host.now - began < 11


def test_an_error_after_the_client_has_left_is_logged(logged):
    def handler(websocket):
        yield websocket.accept()
        try:
            yield websocket.receive()
        except WebSocketClosed:
            yield sleep(0.1)
            raise ValueError('in the end') from None

    with serve(handler) as host:
        connect(host).client.reset()
        host.advance(1)
    assert logged.count("failed on GET '/'") == 1


def test_the_closed_socket_of_somebody_else_is_told(logged):
    others = []

    def handler(websocket):
        yield websocket.accept()
        others.append(websocket)
        while True:
            yield websocket.receive()
            yield others[0].send('hello')

    with serve(handler) as host:
        first, second = connect(host), connect(host)
        first.client.reset()
        host.settle()
        second.send('go')
        assert second.closed() == (1011, '')
    assert logged.count('was ended by the WebSocketClosed of another socket') == 1
    assert len(logged.records) == 1


def test_no_thread_is_needed_to_wait_for_one():
    def handler(websocket):
        yield websocket.accept()
        yield websocket.send((yield run_in_thread(lambda: 'from a thread')))

    with serving(application(handler)) as host:
        assert connect(host).take() == 'from a thread'


@counted
@pytest.mark.parametrize('long_turn', [math.inf, 0.0])    # Never rationed, and always (room fair).
def test_a_socket_leaves_no_garbage(long_turn, monkeypatch, logged):
    monkeypatch.setattr(fairness, 'LONG_TURN', long_turn)

    def generator(websocket):
        yield websocket.accept()
        while True:
            yield websocket.send((yield websocket.receive()))

    def refusing(websocket):
        raise Forbidden
        yield

    def failing(websocket):
        yield websocket.accept()
        yield websocket.receive()
        raise NotFound

    async def coroutine(websocket):
        await websocket.accept()
        async for message in websocket:
            await websocket.send(message)

    async def catching(websocket):
        await websocket.accept()
        try:
            while True:
                await websocket.send(await websocket.receive())
        except WebSocketClosed:
            pass

    def work(host):
        socket = Socket(host.connect())
        if socket.status == 101:
            socket.send('hello')
            if host.answers:
                assert socket.take() == 'hello'
                socket.close()
            socket.closed()
        socket.client.close()
        host.clients.clear()
        host.wait_for(lambda: not host.server.connections and not host.reactor.tasks)

    for handler in generator, coroutine, catching, refusing, failing:
        with serving(application(handler)) as host:
            host.answers = handler not in (refusing, failing)
            for number in range(6):
                work(host)
                if number < 2:
                    gc.collect()
            assert garbage() == [], handler


def garbage():
    """Name what only the collector could free of ours."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return sorted({type(each).__name__ for each in gc.garbage
                       if type(each).__module__.startswith('tremolo')
                       or type(each).__name__ in ('generator', 'Context', 'traceback', 'frame')})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()


def test_a_request_after_a_refused_handshake_is_answered():
    def handler(websocket=None):
        if websocket is not None:
            raise Forbidden
        yield 'a page'

    with serve(handler) as host:
        client = host.connect(handshake() + request('/') + handshake())
        assert [client.take().status for _ in range(3)] == [403, 200, 403]


def test_a_handshake_that_comes_while_the_server_stops_is_refused():
    def handler(websocket):
        yield websocket.accept()

    with serve(handler, shutdown_timeout=10) as host:
        client = host.connect(request('/nothing'))
        client.take()
        host.server.drain()
        client.send(handshake())
        answer = client.take()
        assert answer.status == 503
        assert (answer.headers['retry-after'], answer.headers['connection']) == ('1', 'close')


def test_a_spawned_task_whose_socket_is_over_is_no_fault():
    def handler(websocket):
        def ticks():
            while True:
                yield sleep(1)
                yield websocket.send('tick')

        yield websocket.accept()
        tremolo.spawn(ticks())
        while True:
            yield websocket.receive()

    with serve(handler) as host:
        socket = connect(host)
        assert socket.take() == 'tick'
        socket.client.reset()
        host.advance(3)
        assert not host.reactor.tasks
        gc.collect()


@pytest.mark.parametrize('kind', ['generator', 'async'])
def test_what_was_sent_right_after_accept_arrives_though_the_handler_fails(kind, logged):
    def generator(websocket):
        websocket.accept()
        websocket.send('hello')
        raise ValueError('broken')
        yield

    async def coroutine(websocket):
        websocket.accept()
        websocket.send('hello')
        raise ValueError('broken')

    with serve(coroutine if kind == 'async' else generator) as host:
        socket = connect(host)
        assert socket.take() == 'hello'
        assert socket.closed() == (1011, '')
    assert logged.count('failed on GET') == 1


def test_whoever_waits_is_told_at_once_that_the_client_has_left():
    told = []

    def wait(future):
        try:
            yield future
        except WebSocketClosed:
            told.append(host.now)

    def handler(websocket):
        yield websocket.accept()
        for call in websocket.receive, websocket.receive, websocket.ping:
            tremolo.spawn(wait(call()))
        yield websocket.disconnected
        told.append(host.now)

    with serve(handler) as host:
        socket = connect(host)
        host.advance(3)
        socket.client.reset()
        host.until(lambda: len(told) == 4)
        assert [round(each, 1) for each in told] == [3.0] * 4

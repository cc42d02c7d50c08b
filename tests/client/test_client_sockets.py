"""WebSockets of a test client."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback

import pytest

from tremolo import Forbidden, Tremolo, WebSocketClosed, run_in_thread
from tremolo.asgi_app import AsgiApplication
from tremolo.client.socket import ServerFrames
from tremolo.exceptions import AnswerError, FrameError, WebSocketRefused


def generators() -> Tremolo:
    app = Tremolo()

    @app.route('/echo')
    def echo(websocket):
        yield websocket.accept('v2' if 'v2' in websocket.subprotocols else None)
        while True:
            message = yield websocket.receive()
            command = message if isinstance(message, str) else ''
            if command == 'fail':
                raise KeyError('mine')
            if command == 'close':
                yield websocket.close(3001, 'enough')
                return
            if command == 'ping':
                yield websocket.ping()
            yield websocket.send(message)

    @app.route('/refused')
    def refused(websocket):
        yield run_in_thread(int)
        raise Forbidden('not you')

    @app.route('/fails')
    def fails(websocket):
        yield run_in_thread(int)
        raise KeyError('mine')

    return app


def threads() -> Tremolo:
    app = Tremolo()

    @app.route('/echo')
    def echo(websocket, thread=True):
        websocket.accept('v2' if 'v2' in websocket.subprotocols else None).result()
        while True:
            message = websocket.receive().result()
            command = message if isinstance(message, str) else ''
            if command == 'fail':
                raise KeyError('mine')
            if command == 'close':
                websocket.close(3001, 'enough').result()
                return
            if command == 'ping':
                websocket.ping().result()
            websocket.send(message).result()

    @app.route('/refused')
    def refused(websocket, thread=True):
        raise Forbidden('not you')

    @app.route('/fails')
    def fails(websocket, thread=True):
        raise KeyError('mine')

    return app


def coroutines() -> Tremolo:
    app = Tremolo()

    @app.route('/echo')
    async def echo(websocket):
        await websocket.accept('v2' if 'v2' in websocket.subprotocols else None)
        async for message in websocket:
            command = message if isinstance(message, str) else ''
            if command == 'fail':
                raise KeyError('mine')
            if command == 'close':
                await websocket.close(3001, 'enough')
                return
            if command == 'ping':
                await websocket.ping()
            await websocket.send(message)

    @app.route('/refused')
    async def refused(websocket):
        raise Forbidden('not you')

    @app.route('/fails')
    async def fails(websocket):
        raise KeyError('mine')

    return app


async def asgi_app(scope, receive, send):
    if scope['type'] == 'lifespan':
        raise RuntimeError
    await receive()
    if scope['path'] == '/fails':
        raise KeyError('mine')
    if scope['path'] == '/refused':
        for message in ({'type': 'websocket.http.response.start', 'status': 403, 'headers': []},
                        {'type': 'websocket.http.response.body', 'body': b'not you'}):
            await send(message)
        return
    await send({'type': 'websocket.accept',
                'subprotocol': 'v2' if 'v2' in scope['subprotocols'] else None})
    while True:
        message = await receive()
        if message['type'] == 'websocket.disconnect':
            return
        text = message.get('text')
        if text == 'fail':
            raise KeyError('mine')
        if text == 'close':
            await send({'type': 'websocket.close', 'code': 3001, 'reason': 'enough'})
            return
        await send({**message, 'type': 'websocket.send'})


def asgi() -> AsgiApplication:
    return AsgiApplication(asgi_app)


KINDS = [generators, threads, coroutines, asgi]


@pytest.mark.parametrize('kind', KINDS)
def test_messages_go_and_come(kind):
    with kind().client() as client:
        with client.websocket('/echo') as ws:
            for message in 'hello', b'bytes', '', b'', 'ü' * 300, b'x' * 200_000, 'ping':
                ws.send(message)
                assert ws.receive() == message
            assert ws.subprotocol is None
            assert 'sec-websocket-extensions' not in ws.answer.headers
        assert ws.close_code == 1000
        with client.websocket('/echo', protocols=['v1', 'v2']) as ws, \
                client.websocket('ws://localhost/echo') as other:
            other.send('b')
            ws.send('a')
            assert (ws.receive(), other.receive(), ws.subprotocol) == ('a', 'b', 'v2')


@pytest.mark.parametrize('kind', KINDS)
def test_a_close_of_the_server_is_told(kind):
    client = kind().client()
    with client.websocket('/echo') as ws:
        ws.send('a')
        ws.send('close')
        assert ws.receive() == 'a'
        for _ in range(2):
            with pytest.raises(WebSocketClosed, match='3001, enough') as closed:
                ws.receive()
        assert (closed.value.code, ws.close_code, ws.close_reason) == (3001, 3001, 'enough')
        with pytest.raises(WebSocketClosed, match='3001'):
            ws.send('b')
        ws.close()
        assert list(ws) == []


@pytest.mark.parametrize('kind', KINDS)
def test_a_close_of_ours_has_its_code(kind):
    client = kind().client()
    with client.websocket('/echo') as ws:
        ws.send('left unread')
        ws.close(4000, 'bye')
        assert ws.close_code == 4000
        with pytest.raises(WebSocketClosed):
            ws.send('b')
    for bad in (1005, ''), (1000, 'x' * 124):
        with client.websocket('/echo') as ws, pytest.raises(ValueError, match='close'):
            ws.close(*bad)
    with client.websocket('/echo') as ws, pytest.raises(TypeError, match=r'json.dumps'):
        ws.send({})


@pytest.mark.parametrize('kind', KINDS)
def test_the_error_of_a_handler_is_raised(kind, logged):
    with kind().client() as client:
        with pytest.raises(KeyError, match='mine') as raised, client.websocket('/fails'):
            pytest.fail('it is not open')
        lines = traceback.format_exception(KeyError, raised.value, raised.value.__traceback__)
        assert "raise KeyError('mine')" in ''.join(lines)
        with pytest.raises(KeyError, match='mine'), client.websocket('/echo') as ws:
            ws.send('fail')
            ws.receive()
    # (A thread may notice only after the close: then the client's block raises it.)
    with pytest.raises(KeyError, match='mine'), kind().client() as client, \
            client.websocket('/echo') as ws:
        ws.send('fail')
    with kind().client(raise_errors=False) as client, client.websocket('/echo') as ws:
        ws.send('fail')
        with pytest.raises(WebSocketClosed, match='1011'):
            ws.receive()


def test_the_error_of_a_thread_that_ends_when_all_ends_is_raised(logged):
    """It was told to nobody: the last turn had begun when it came (2 of 100 on a busy machine)."""
    goes_on = threading.Event()
    app = Tremolo()

    @app.route('/fails')
    def fails(websocket, thread=True):
        websocket.accept().result()
        goes_on.wait(30)
        raise KeyError('mine')

    with pytest.raises(KeyError, match='mine'), app.client() as client, \
            client.websocket('/fails') as ws:
        reactor = client._session.server.reactor
        left = ending_of(client).left

        def ends_when_looked_at():
            (found := left()) and goes_on.set()
            while reactor.pool is not None and reactor.pool.busy:
                time.sleep(0.001)
            return found and left()

        ending_of(client).left = ends_when_looked_at
        ws.close()


def ending_of(client):
    return client._door._service.tested.running._ending


@pytest.mark.parametrize('kind', KINDS)
def test_a_refusal_has_its_answer(kind):
    client = kind().client()
    with pytest.raises(WebSocketRefused, match='403 Forbidden') as refused, \
            client.websocket('/refused'):
        pytest.fail('it is not open')
    assert (refused.value.answer.status, refused.value.answer.text) == (403, 'not you')


def test_a_path_without_a_websocket_is_refused():
    app = Tremolo()

    @app.route('/plain')
    def plain():
        return 'plain'

    with app.client() as client:
        for path, status in ('/plain', 200), ('/none', 404):
            with pytest.raises(WebSocketRefused) as refused, client.websocket(path):
                pass
            assert refused.value.answer.status == status


def test_origins_and_cookies_go_with_the_handshake():
    app = Tremolo(origins=['https://good.example'])

    @app.route('/')
    async def talk(websocket, request):
        await websocket.accept()
        await websocket.send(str(request.cookies))

    with app.client(cookies={'a': '1'}) as client:
        good = {'Origin': 'https://good.example'}
        with client.websocket('/', headers=good, cookies={'b': '2'}) as ws:
            assert ws.receive() == "{'a': '1', 'b': '2'}"
        with pytest.raises(WebSocketRefused, match='403'), \
                client.websocket('/', headers={'Origin': 'https://bad.example'}):
            pass


def test_pings_of_the_server_are_answered_and_a_silent_one_times_out():
    app = Tremolo()

    @app.route('/')
    async def talk(websocket):
        await websocket.accept()
        for _ in range(3):
            await websocket.ping()
        await websocket.send('pinged')
        await websocket.receive()

    with app.client() as client:
        with client.websocket('/') as ws:
            assert ws.receive() == 'pinged'
        with client.websocket('/', timeout=0.02) as ws:
            ws.receive()
            with pytest.raises(TimeoutError, match=r"GET '/'.*test_client_sockets.py:\d+$"):
                ws.receive()


@pytest.mark.parametrize('kind', KINDS)
def test_the_same_in_a_running_loop(kind, logged):
    async def main():
        async with kind().client() as client:
            async with client.websocket('/echo', protocols='v2') as ws:
                await asyncio.gather(*(ws.send(f'{number}') for number in range(5)))
                assert sorted([await ws.receive() for _ in range(5)]) == list('01234')
                await ws.send('close')
                assert [message async for message in ws] == []
                assert (ws.close_code, ws.subprotocol) == (3001, 'v2')
            with pytest.raises(WebSocketRefused):
                async with client.websocket('/refused'):
                    pass
            with pytest.raises(KeyError):
                async with client.websocket('/echo') as ws:
                    await ws.send('fail')
                    await ws.receive()

    asyncio.run(main())


def test_sockets_end_with_their_block_also_by_an_error():
    app = coroutines()
    with app.client() as client:
        with pytest.raises(ZeroDivisionError), client.websocket('/echo'):
            raise ZeroDivisionError
        assert client.get('/none').status == 404


# What a server may not send

@pytest.mark.parametrize('data, code', [
    ('8105', None), ('810548656c6c6f', 'Hello'), ('010348656c80026c6f', 'Hello'),
    ('0103c3bc', None), ('8102c3bc', 'ü'), ('8201ff', b'\xff'),
    ('818500000000' + '00' * 5, 1002), ('c10100', 1002), ('8301', 1002), ('8f00', 1002),
    ('8001', 1002), ('01008100', 1002), ('0900', 1002), ('897e007e' + '00' * 126, 1002),
    ('817e0005' + '61' * 5, 1002), ('827f0000000000000001', 1002), ('827fffffffffffffffff', 1002),
    ('8101ff', 1007), ('880103', 1002), ('88020000', 1002), ('880203e8', (1000, '')),
    ('8800', (1005, '')), ('880303e8ff', 1007), ('8903616263', b'abc'),
])
def test_frames_of_a_server_are_read_strictly(data, code):
    for size in 1, len(data) // 2:
        frames, event = ServerFrames(), None
        pieces = bytes.fromhex(data)
        try:
            for place in range(0, len(pieces), size):
                frames.feed(pieces[place:place + size])
                event = event or frames.next_event()
            assert (event and event[1]) == code
        except FrameError as error:
            assert error.code == code


def test_a_server_that_breaks_websocket_is_told():
    app = Tremolo()

    @app.route('/')
    async def talk(websocket, request):
        await websocket.accept()
        request.connection.stream.write(b'\x83\x00')
        await websocket.receive()

    with pytest.raises(AnswerError, match='1002: a frame has a reserved opcode'), \
            app.client().websocket('/') as ws:
        ws.receive()


@pytest.mark.parametrize('fields, words', [
    ({}, 'Upgrade'), ({'Upgrade': 'websocket'}, 'Connection|Accept')])
def test_a_101_that_opens_no_websocket_is_told(fields, words):
    app = Tremolo()

    @app.route('/')
    def wrong(request):
        lines = ''.join(f'{name}: {value}\r\n' for name, value in fields.items())
        stream = request.connection.stream
        stream.write(f'HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n'.encode())
        stream.close()

    with pytest.raises(AnswerError, match=f'opens no WebSocket: its ({words})'), \
            app.client().websocket('/'):
        pass
